"""Batches: every patch once, in an order that the seed decides; augmentation keeps pairs true."""

from __future__ import annotations

import numpy as np
import pytest

from decametric.bands import NETWORK_BANDS
from decametric.degradation import Degradation
from decametric.errors import DecametricError
from decametric.store.packing import pack
from decametric.superres.predictor import upsample
from decametric.training import batches
from decametric.training.batches import PatchSet, arrays, augmented, reflectance
from decametric.training.config import TrainConfig

PLAIN = TrainConfig(ratio=2, level="L1C", orientations=False)


def order(path, seed, size=8):
    rng = np.random.default_rng(seed)
    return [each["target"] for each in PatchSet(path).batches(size, rng)]


@pytest.mark.parametrize("pool", [1, 2, 16])
def test_every_patch_comes_once(patch_sets, pool, monkeypatch):
    monkeypatch.setattr(batches, "POOL", pool)
    found = np.concatenate(order(patch_sets[0], 0))
    everything = np.concatenate([g["target"][:] for g in PatchSet(patch_sets[0]).groups])
    assert len(PatchSet(patch_sets[0])) == len(found) == len(everything)
    sums = [sorted(map(int, images.sum(axis=(1, 2, 3)))) for images in (found, everything)]
    assert sums[0] == sums[1]


def test_the_seed_decides_the_order(patch_sets):
    first, again, other = (order(patch_sets[0], seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (np.array(first) != np.array(other)).any()


def test_a_last_short_batch_is_left_out(patch_sets):
    assert [len(batch) for batch in order(patch_sets[1], 0, size=20)] == [20, 20]


def test_a_folder_without_patches_is_refused(tmp_path):
    with pytest.raises(DecametricError, match="holds no patches"):
        len(PatchSet(tmp_path))


def pairs(seed=0, count=6, size=12):
    """Patches whose 20 m inputs are exactly the degraded target."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.1, 0.5, (count, 6, size, size)).astype("f4")
    fine = rng.uniform(0.1, 0.5, (count, 4, size, size)).astype("f4")
    return {"b10": fine, "b20": Degradation(2).forward(target), "target": target}


def as_stored(patches):
    return {name: pack(array) for name, array in patches.items()}


@pytest.mark.parametrize(
    "options",
    [{"orientations": True}, {"gain": 0.2, "brightness": 0.3, "offset": 0.05}, {"foreign": 1.0}],
)
def test_augmented_inputs_are_still_the_degraded_target(options):
    config = TrainConfig(ratio=2, level="L1C", **{"orientations": False, **options})
    stored = as_stored(pairs())
    made = augmented(stored, config, np.random.default_rng(1))
    assert np.abs(made["target"] - reflectance(stored)["target"]).max() > 0.02
    np.testing.assert_allclose(made["b20"], Degradation(2).forward(made["target"]), atol=2e-4)


def test_all_eight_orientations_come_and_are_the_same_for_every_array():
    image = np.arange(16, dtype="f4").reshape(1, 4, 4)
    seen = {batches.turned(image, kind).tobytes() for kind in range(8)}
    assert len(seen) == 8
    patches = pairs(count=64)
    patches["b10"] = np.repeat(patches["target"][:, :1], 4, axis=1)
    config = TrainConfig(ratio=2, level="L1C")
    made = augmented(as_stored(patches), config, np.random.default_rng(0))
    np.testing.assert_array_equal(made["b10"][:, 0], made["target"][:, 0])


def test_foreign_spectra_turn_every_second_band_over_in_their_share_of_the_patches():
    patches = pairs(count=400)
    config = TrainConfig(ratio=2, level="L1C", foreign=0.25, orientations=False)
    made = augmented(as_stored(patches), config, np.random.default_rng(0))
    before, after = (reflectance(as_stored(patches))["target"], made["target"])
    changed = np.abs(after - before).max(axis=(1, 2, 3)) > 0.001
    assert 0.15 < changed.mean() < 0.35
    before, after = (
        each[changed] - each[changed].mean((2, 3), keepdims=True) for each in (before, after)
    )
    slope = (before * after).sum((2, 3)) / (before**2).sum((2, 3))
    assert 0.4 < (slope < 0).mean() < 0.6
    assert 0.4 < np.log(np.abs(slope)).std() < 0.6


def test_unknown_stays_unknown():
    patches = pairs()
    patches["target"][:, :, :3] = np.nan
    config = TrainConfig(ratio=2, level="L1C", gain=0.1, offset=0.1, orientations=False)
    made = augmented(as_stored(patches), config, np.random.default_rng(0))
    np.testing.assert_array_equal(np.isnan(made["target"]), np.isnan(patches["target"]))
    inputs, target = arrays(made)
    values, weights = np.split(target, 2, axis=-1)
    np.testing.assert_array_equal(weights == 0, np.moveaxis(np.isnan(patches["target"]), 1, -1))
    assert all(np.isfinite(each).all() for each in (*inputs, values))


def test_inputs_are_what_a_predictor_gives_its_network():
    patches = augmented(as_stored(pairs()), PLAIN, np.random.default_rng(0))
    (b10, b20), _ = arrays(patches)
    np.testing.assert_array_equal(b10[3, ..., 1], patches["b10"][3, 1] / np.float32(0.2))
    one = upsample(patches["b20"][3], 2, "bilinear") / np.float32(0.2)
    np.testing.assert_allclose(b20[3], np.moveaxis(one, 0, -1), rtol=1e-6)
    assert b20.shape[-1] == len(NETWORK_BANDS[20])
