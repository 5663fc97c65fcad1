"""On a real scene: what is written does not depend on how the scene was cut, and is consistent."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from decametric.bands import BANDS, SHARPENED
from decametric.degradation import MIN_WEIGHT, Degradation
from decametric.store import write
from decametric.store.packing import pack
from decametric.superres.inference import sharpen
from decametric.superres.presets import load_predictor

HALF_DN = 0.5e-4
HALF = ((0, 600), (0, 300))
"""Half of the Malmo scene: enough seams, half of the time."""


def written(scene, predictor, folder, **options):
    """The integers (band, y, x) of the sharpened bands as they lie in the store."""
    result = sharpen(scene, predictor, **options)
    write(result, folder / "out.zarr")
    group = zarr.open_group(folder / "out.zarr" / result.attrs["tile"], mode="r")
    return np.stack([group[band][0] for band in result.data_vars if band in SHARPENED])


def with_gaps(scene):
    """The scene with a wedge without data in all bands, and odd gaps in some."""
    result = {"/": scene.to_dataset()}
    for name, step in (("r10m", 1), ("r20m", 2), ("r60m", 6)):
        child = scene[name].to_dataset()
        rows, cols = (step * xr.DataArray(np.arange(child.sizes[a]), dims=a) for a in ("y", "x"))
        odd = (rows // 12 * 7 + cols // 12 * 13) % 101 == step
        result[name] = child.where(~((3 * rows + cols < 500) | odd))
    return xr.DataTree.from_dict(result)


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("network", ["aesr", "small_dsen2"])
def test_written_integers_do_not_depend_on_the_chunks(real_scene, network, gaps, tmp_path, request):
    predictor = load_predictor(request.getfixturevalue(network))
    found = []
    # Windows of 150 pixels: with the default of 1098 there would be only one, and no seam.
    for chunk in (300, 510, 600):
        scene = real_scene(chunk=chunk, window=HALF)
        scene = with_gaps(scene) if gaps else scene
        folder = tmp_path / str(chunk)
        found.append(written(scene, predictor, folder, window=150))
    assert found[0].shape == (8, 600, 300)
    assert gaps == bool((found[0] == 0).any())
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    # Not the bilinear bands, not clipped to a limit: a network was at work.
    assert found[0].std(axis=(1, 2)).min() > 50
    assert (found[0] == 1).mean() < 1e-3


def test_the_default_window_knows_no_chunks_either(real_scene, small_dsen2, tmp_path):
    bands = ["B8A", "B09"]
    one, other = (
        written(real_scene(chunk=chunk), small_dsen2, tmp_path / str(chunk), bands=bands)
        for chunk in (306, 1098)
    )
    np.testing.assert_array_equal(one, other)


def test_a_ragged_last_window_makes_no_seam(real_scene, small_dsen2, tmp_path):
    bands = ["B8A", "B09"]
    one, other = (
        written(real_scene(chunk=c), small_dsen2, tmp_path / str(c), bands=bands, window=132)
        for c in (300, 600)
    )
    np.testing.assert_array_equal(one, other)


def test_a_dsen2_of_full_size_gives_the_same_integers(real_scene, full_dsen2, tmp_path):
    area = {"window": ((240, 336), (120, 216))}
    one, other = (
        written(
            real_scene(chunk=c, **area), full_dsen2, tmp_path / str(c), bands=["B11"], window=48
        )
        for c in (48, 96)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("network", ["aesr", "small_dsen2"])
def test_another_window_changes_next_to_nothing(real_scene, network, request):
    """A backend may add up in another order in another window: 1 DN on 1 pixel of 100,000."""
    predictor = load_predictor(request.getfixturevalue(network))
    small, whole = (
        sharpen(real_scene(window=HALF), predictor, window=window).compute()
        for window in (150, 600)
    )
    off = np.concatenate(
        [pack(small[b].values).astype(int) - pack(whole[b].values) for b in SHARPENED]
    )
    assert np.abs(off).max() <= 1
    assert (off != 0).mean() <= 1e-5


def residual(values, measured, ratio, known=1):
    """Where most of a coarse pixel is known: the result degraded, less what was measured."""
    value, weight = Degradation(ratio).weighted(values, np.isfinite(values))
    known = (weight >= MIN_WEIGHT) & np.isfinite(measured) & (known != 0)
    assert known.mean() > 0.5
    return np.abs(value - measured)[known].max()


@pytest.mark.parametrize("name", ["S2A_33UUB_20170527_L1C_malmo", "oscd-milano-2"])
@pytest.mark.parametrize("network", ["aesr", "small_dsen2"])
def test_degraded_again_every_coarse_pixel_is_the_measured_one(real_scene, network, name, request):
    """Milano has gaps in every fifth row, and glints of some thousand DN beside them."""
    scene = real_scene(name)
    result = sharpen(scene, request.getfixturevalue(network), window=300).compute()
    for band in SHARPENED:
        ratio = BANDS[band].resolution // 10
        measured = scene[f"r{10 * ratio}m"][band].values
        values = result[band].values
        assert residual(values, measured, ratio) <= HALF_DN
        # What is stored is rounded, and cannot be darker than -0.1: beside a glint that loses.
        stored = pack(values)
        clipped = Degradation(ratio).forward((stored == 1).astype("f4")) > 0
        assert clipped.mean() < 1e-3
        decoded = np.where(stored == 0, np.nan, stored * 1e-4 - 0.1).astype("f4")
        assert residual(decoded, measured, ratio, ~clipped) <= HALF_DN
