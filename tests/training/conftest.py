"""Two made-up countries, far apart: one to learn from, one to choose on."""

from __future__ import annotations

import pytest

from decametric.scenes.sources import read_items
from decametric.testing import synthetic_scene
from decametric.training.config import Sampling
from decametric.training.patches import build_patches


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Items of either country."""
    folder = tmp_path_factory.mktemp("places")
    here = synthetic_scene(folder / "here", size=240, dates=2, level="L1C")
    there = synthetic_scene(
        folder / "there", size=240, dates=1, level="L1C", seed=5, tile="31TCJ",
        origin=(300000, 4900020), epsg=32631,
    )  # fmt: skip
    return read_items(here), read_items(there)


@pytest.fixture(scope="session")
def patch_sets(places, tmp_path_factory):
    """Patch sets of ratio 2 of either country."""
    folder = tmp_path_factory.mktemp("patches")
    sampling = Sampling(size=24, count=48)
    return tuple(
        build_patches(items, folder / name, 2, sampling)
        for items, name in zip(places, ("training", "validation"), strict=True)
    )
