"""Patches: the right pixels, honest about gaps, the same for the same seed, even over scenes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import zarr

import made_scenes as made
from decametric.bands import NETWORK_BANDS
from decametric.degradation import Degradation
from decametric.errors import SceneError, UsageError
from decametric.scenes.items import describe
from decametric.scenes.sources import read_items
from decametric.testing import synthetic_scene
from decametric.training import patches
from decametric.training.batches import PatchSet, reflectance
from decametric.training.config import Sampling

RATIOS = pytest.mark.parametrize("ratio", [2, 6])
HALF_STEP = 0.51e-4
SIZE = 12


def native(rows=144, cols=144, *, gaps=False, seed=0):
    """Bands (band, y, x) of each resolution."""
    bands = made.random_bands(rows, cols, seed=seed)
    bands = made.with_gaps(bands, seed=seed) if gaps else bands
    return {res: np.stack([bands[b][0] for b in names]) for res, names in NETWORK_BANDS.items()}


def drawn(scene, ratio, count=8, **options):
    sampling = Sampling(size=SIZE, **{"min_valid": 0.3, "max_cloud": 1, **options})
    rng = np.random.default_rng(0)
    return list(patches._draw(scene, ratio, sampling, count, rng))


@RATIOS
def test_inputs_are_the_degraded_scene_and_the_target_is_the_scene_itself(ratio):
    scene = native()
    operator = Degradation(ratio)
    for patch in drawn(scene, ratio):
        row, col = patch["position"]
        found = reflectance({name: patch[name] for name in patch if name != "position"})
        target = scene[10 * ratio][:, row : row + SIZE, col : col + SIZE]
        np.testing.assert_allclose(found["target"], target, atol=HALF_STEP)
        for res in patches._resolutions(ratio):
            # The whole scene, cut so that the patch begins with a coarse pixel, then degraded.
            starts = [start * 10 * ratio // res for start in (row, col)]
            phase = [start % ratio for start in starts]
            array = scene[res][:, phase[0] :, phase[1] :]
            ends = [size // ratio * ratio for size in array.shape[1:]]
            coarse = operator.forward(array[:, : ends[0], : ends[1]])
            edge = SIZE * 10 // res
            top, left = (s // ratio for s in starts)
            expected = coarse[:, top : top + edge, left : left + edge]
            inner = (..., slice(1, -1), slice(1, -1))  # at the scene's edge the context differs
            assert found[f"b{res}"].shape == (len(NETWORK_BANDS[res]), edge, edge)
            np.testing.assert_allclose(found[f"b{res}"][inner], expected[inner], atol=HALF_STEP)


@RATIOS
def test_every_phase_of_the_coarse_grid_is_drawn(ratio):
    phases = {tuple(p["position"] % ratio) for p in drawn(native(), ratio, count=400)}
    assert len(phases) == ratio**2


@RATIOS
def test_no_loss_where_the_target_or_its_10_m_pixels_are_unknown(ratio):
    scene = native(gaps=True)
    found = drawn(scene, ratio)
    lost = 0
    for patch in found:
        row, col = patch["position"]
        target = scene[10 * ratio][:, row : row + SIZE, col : col + SIZE]
        known = patch["target"] > 0
        assert not (known & np.isnan(target)).any()
        fine = scene[10][:, row * ratio : (row + SIZE) * ratio, col * ratio : (col + SIZE) * ratio]
        share = np.isfinite(fine).reshape(4, SIZE, ratio, SIZE, ratio).mean((2, 4)).min(0)
        assert not known[:, share < 0.6].any()
        assert known[:, share == 1][np.isfinite(target)[:, share == 1]].mean() > 0.95
        lost += (~known).sum()
        assert all((patch[name] > 0).all() for name in patch if name.startswith("b"))
    assert lost


@RATIOS
def test_narrow_gaps_are_closed_for_the_inputs_and_carry_no_loss(ratio):
    whole = {
        res: np.float32(0.1) + np.float32(1e-3 / ratio) * np.indices(bands.shape, np.float32)[1]
        for res, bands in native().items()
    }
    lacking = {res: bands.copy() for res, bands in whole.items()}
    for bands in lacking.values():
        bands[:, 4:-1:9] = np.nan
    for expected, found in zip(drawn(whole, ratio), drawn(lacking, ratio), strict=True):
        np.testing.assert_array_equal(found["position"], expected["position"])
        for name in ("b10", "b20"):
            np.testing.assert_allclose(found[name].astype(int), expected[name], atol=1)
        row, col = found["position"]
        unknown = np.isnan(lacking[10 * ratio][:, row : row + SIZE, col : col + SIZE])
        assert unknown.any()
        assert (found["target"][unknown] == 0).all()
        known = found["target"] > 0
        np.testing.assert_array_equal(found["target"][known], expected["target"][known])


def test_mostly_unknown_and_cloudy_patches_are_rejected():
    scene = native(gaps=True)
    assert all((p["target"] > 0).mean() >= 0.9 for p in drawn(scene, 2, min_valid=0.9))
    clear = native()
    bright = {res: bands + np.float32(0.5) for res, bands in native().items()}
    assert drawn(clear, 2, max_cloud=0.5)
    assert not drawn(bright, 2, max_cloud=0.5)
    snow = dict(bright)
    snow[20] = snow[20].copy()
    snow[20][NETWORK_BANDS[20].index("B11")] = 0.05
    assert drawn(snow, 2, max_cloud=0.5)


def test_scales_share_the_patches_by_the_pixels_that_are_left():
    found = drawn(native(288, 288), 2, count=50, scales=(1, 2))
    scales = [int(patch["scale"]) for patch in found]
    assert (scales.count(1), scales.count(2)) == (40, 10)


def test_a_coarser_scene_is_degraded_before_it_is_cut():
    scene = native(288, 288)
    twice = patches._coarser(scene, scene, 2).bands
    np.testing.assert_allclose(twice[20], Degradation(2).forward(scene[20]), atol=1e-6)
    assert {res: bands.shape[1] * res for res, bands in twice.items()} == dict.fromkeys(scene, 1440)


@pytest.mark.parametrize(("level", "share"), [("L1C", 1 / 3), ("L2A", 1)])
def test_b09_of_the_other_level_is_brought_to_this_one(places, tmp_path, level, share):
    surface = read_items(synthetic_scene(tmp_path / "scene", size=240, dates=1, level="L2A"))
    items = [places[0][0], surface[0]]
    sampling = Sampling(size=12, count=4)
    kept, brought = (
        PatchSet(patches.build_patches(items, tmp_path / str(each.as_level), 6, each))
        for each in (sampling, replace(sampling, as_level=level))
    )
    factors = {describe(item).level: factor(item, share) for item in items} | {level: 1}
    assert max(abs(each - 1) for each in factors.values()) > 0.01
    for before, after in zip(kept.groups, brought.groups, strict=True):
        its = factors.pop(before.attrs["level"])
        for name in ("b60", "target"):
            own, found = (reflectance({name: group[name][:]})[name] for group in (before, after))
            np.testing.assert_array_equal(found[:, 0], own[:, 0])
            np.testing.assert_allclose(found[:, 1], its * own[:, 1], atol=(1 + its) * HALF_STEP)
    assert not factors


def test_b09_of_a_black_scene_is_not_learned_from():
    bands = native()
    bands[60][1] = 0
    brought = patches._at_level(bands, "L1C")
    np.testing.assert_array_equal(brought[60][0], bands[60][0])
    found = drawn(brought, 6)
    assert len(found) == 8
    assert all((patch["target"][1] == 0).all() for patch in found)


def factor(item, share):
    """What makes B09 of an item `share` of its B8A."""
    bands = patches.read_bands(item)
    b8a, b09 = NETWORK_BANDS[20].index("B8A"), NETWORK_BANDS[60].index("B09")
    return share * np.nanmedian(bands[20][b8a]) / np.nanmedian(bands[60][b09])


def test_a_scene_smaller_than_a_patch_gives_none():
    assert not drawn(native(12, 12), 2)


def test_sets_are_seeded_and_even_over_items(places, patch_sets, tmp_path):
    sampling = Sampling(size=24, count=48)
    again = patches.build_patches(places[0], tmp_path / "again", 2, sampling)
    first, second = PatchSet(patch_sets[0]), PatchSet(again)
    assert [g["target"].shape[0] for g in first.groups] == [48, 48]
    for one, other in zip(first.groups, second.groups, strict=True):
        np.testing.assert_array_equal(one["target"][:], other["target"][:])
    positions = [group["position"][:] for group in first.groups]
    assert (positions[0] != positions[1]).any()
    other = patches.build_patches(places[0], tmp_path / "x", 2, replace(sampling, seed=1))
    assert (PatchSet(other).groups[0]["position"][:] != positions[0]).any()


def test_some_items_count_more(places, tmp_path):
    name = places[0][0].id
    sampling = Sampling(size=24, count=10, weights={name: 3.0})
    found = PatchSet(patches.build_patches(places[0], tmp_path, 2, sampling))
    assert sorted(group["target"].shape[0] for group in found.groups) == [10, 30]


def test_small_items_give_fewer():
    sampling = Sampling(size=24, count=100, repeats=2.0, weights={"rural-*": 3.0})
    assert sampling.wanted("town", 1e6) == 100
    assert sampling.wanted("town", 24**2 * 10) == 20  # every pixel twice, on average
    assert sampling.wanted("rural-1", 24**2 * 10) == 60


def test_a_set_tells_where_it_comes_from(places, patch_sets):
    group = PatchSet(patch_sets[0]).groups[0]
    item = min(places[0], key=lambda item: item.id)
    assert group.attrs["item"] == item.id
    assert group.attrs["target"] == list(NETWORK_BANDS[20])
    assert group.attrs["bands"] == {"10": list(NETWORK_BANDS[10]), "20": list(NETWORK_BANDS[20])}
    assert "Copernicus" in group.attrs["licence"]


def test_finished_items_are_kept_and_unfinished_ones_done_again(places, tmp_path, monkeypatch):
    sampling = Sampling(size=24, count=4)
    patches.build_patches(places[0], tmp_path, 2, sampling)
    one, other = sorted(item.id for item in places[0])
    (tmp_path / other / "done.json").unlink()  # as if it had been stopped
    read = []
    real = patches.read_bands
    monkeypatch.setattr(patches, "read_bands", lambda item: read.append(item.id) or real(item))
    patches.build_patches(places[0], tmp_path, 2, sampling)
    assert read == [other]
    patches.build_patches(places[0], tmp_path, 2, replace(sampling, count=5))
    assert sorted(read) == sorted([other, one, other])
    assert json.loads((tmp_path / one / "done.json").read_text())["count"] == 5


def test_what_cannot_be_cut_is_said(places, tmp_path):
    with pytest.raises(UsageError, match="size=32 is not a multiple of 6"):
        patches.build_patches(places[0], tmp_path, 2, Sampling(size=32))
    with pytest.raises(SceneError, match="None of the 2 items yields a patch"):
        patches.build_patches(places[0], tmp_path, 6, Sampling(size=120))
    assert not any("target" in zarr.open_group(f) for f in tmp_path.glob("*/"))


def test_a_scene_that_is_too_small_for_a_patch_is_named(places, tmp_path):
    small = read_items(synthetic_scene(tmp_path / "small", size=120, dates=1, level="L1C", seed=9))
    small[0].id = "islet"
    sampling = Sampling(size=30, count=4)
    with pytest.warns(UserWarning, match="No patch from islet: smaller than 30 pixels of 60 m"):
        found = patches.build_patches([*places[0][:1], *small], tmp_path / "set", 6, sampling)
    assert PatchSet(found).items == [places[0][0].id]
