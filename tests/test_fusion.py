"""Of many lazy images with long names, each gets its own pixels."""

from __future__ import annotations

import subprocess
import sys

import dask

import made_scenes as made
from decametric.fusion import fused_key

COUNT = 1000


def test_each_image_gets_its_own_pixels():
    found = dask.compute(*made.images_with_long_names(COUNT), scheduler="synchronous")
    assert [round(float(image.mean())) for image in found] == list(range(COUNT))


def test_keys_of_blocks_differ_as_those_of_arrays():
    names = [[(f"{made.LONG}-{n}", 0, 1), (f"{made.LONG}_too-{n}", 0, 1)] for n in range(COUNT)]
    keys = [fused_key(chain) for chain in names]
    assert len(set(keys)) == COUNT
    assert {key[1:] for key in keys} == {(0, 1)}
    assert max(len(key[0]) for key in keys) == 120


def test_short_names_stay_as_dask_makes_them():
    code = (
        "from dask.optimization import default_fused_keys_renamer as given\n"
        "from decametric.fusion import fused_key\n"
        "chains = [['a-1', 'b-2'], [('a-1', 0), ('b-2', 0)], [1, 2]]\n"
        "assert [given(chain) for chain in chains] == [fused_key(chain) for chain in chains]\n"
        "assert given(['x' * 200, 'y']) != fused_key(['x' * 200, 'y'])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
