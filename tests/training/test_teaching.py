"""Teaching: the mean over orientations is what is taught, and a network comes nearer to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decametric.errors import UsageError
from decametric.superres import networks
from decametric.superres.orientations import mean_output
from decametric.superres.presets import BANDS_OF_RATIO, open_network, read_card
from decametric.training import fit
from decametric.training.batches import PatchSet, arrays, reflectance
from decametric.training.config import TrainConfig
from decametric.training.fit import train
from decametric.training.teaching import taught

ALL = range(8)
RNG = np.random.default_rng(0)
LEARNER = TrainConfig(
    ratio=2, level="L1C", network="fast", blocks=1, features=16, batch=8, steps=12, epochs=6,
    learning_rate=3e-3, brightness=0.1, loss="rmse",
)  # fmt: skip


@pytest.fixture(scope="module")
def network():
    """A network whose output is not its input: the last layer of `fast` starts at nothing."""
    model = networks.fast(*BANDS_OF_RATIO[2], blocks=1, features=8)
    tail = model.get_layer("tail")
    tail.set_weights([RNG.normal(0, 0.1, weight.shape) for weight in tail.get_weights()])
    return model


@pytest.fixture(scope="module")
def inputs():
    return tuple(RNG.random((2, 12, 12, bands), np.float32) for bands in (4, 6))


def test_the_mean_is_taught_everywhere_with_the_weight_of_the_band(network, inputs):
    target = np.zeros((2, 12, 12, 12), np.float32)
    target[..., 6:] = 0.5 + np.arange(6)
    target[0, :6, :, 6:] = 0  # unknown
    target[1, ..., 11] = 0  # all of this band is unknown
    found = taught(network, inputs, target, 8, np.random.default_rng(1))
    values, weights = np.split(found, 2, axis=-1)
    np.testing.assert_allclose(values, mean_output(network, inputs, ALL), atol=1e-6)
    expected = np.broadcast_to(0.5 + np.arange(6), weights.shape).copy()
    expected[1, ..., 5] = 0
    np.testing.assert_array_equal(weights, expected)


def test_every_batch_draws_its_orientations(network, inputs):
    target = np.ones((2, 12, 12, 12), np.float32)
    singles = [mean_output(network, inputs, [kind]) for kind in ALL]
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(60):
        values = taught(network, inputs, target, 1, rng)[..., :6]
        seen |= {kind for kind in ALL if np.array_equal(values, singles[kind])}
    assert seen == set(ALL)


def test_a_taught_network_comes_nearer_to_the_mean_of_its_teacher(patch_sets, tmp_path):
    learn, choose = patch_sets
    train(learn, LEARNER, validation=choose, output=tmp_path / "teacher")
    config = replace(LEARNER, teachers=4, learning_rate=1e-3)
    card = train(
        learn, config, validation=choose, output=tmp_path / "taught", fine_tune=tmp_path / "teacher"
    )
    assert card.training["teachers"] == 4
    teacher, pupil = (
        open_network((tmp_path / name).resolve(), read_card(tmp_path / name).sha256)
        for name in ("teacher", "taught")
    )
    patches = PatchSet(choose)
    images = arrays(reflectance(patches.read(*patches.chunks()[0])))[0]
    mean = mean_output(teacher, images, ALL)
    before, after = (
        np.sqrt(np.mean((networks.run(model, list(images)) - mean) ** 2))
        for model in (teacher, pupil)
    )
    assert after < 0.9 * before


@pytest.mark.parametrize(("teachers", "epoch"), [(0, "1 of 3"), (1, "3 of 3")])
def test_a_taught_network_keeps_its_last_epoch(patch_sets, tmp_path, monkeypatch, teachers, epoch):
    short = replace(LEARNER, features=4, steps=1, epochs=1)
    sides = {"patches": patch_sets[0], "validation": patch_sets[1]}
    train(**sides, config=short, output=tmp_path / "start")
    errors = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(fit, "validate", lambda *_: ({"B05": next(errors)}, {"B05": 9.0}))
    config = replace(short, teachers=teachers, epochs=3)
    card = train(**sides, config=config, output=tmp_path / "x", fine_tune=tmp_path / "start")
    assert card.scores["epoch"] == epoch


def test_teaching_needs_a_teacher_and_at_most_eight_orientations(patch_sets, tmp_path):
    learn, choose = patch_sets
    with pytest.raises(UsageError, match="teachers=2 needs a start, which is"):
        train(learn, replace(LEARNER, teachers=2), validation=choose, output=tmp_path)
    train(learn, replace(LEARNER, steps=1, epochs=1), validation=choose, output=tmp_path / "start")
    other = replace(LEARNER, teachers=2, context=3)
    with pytest.raises(UsageError, match="context=3 is not that of the teacher, 0"):
        train(learn, other, validation=choose, output=tmp_path / "x", fine_tune=tmp_path / "start")
    with pytest.raises(UsageError, match="teachers=9 must be from 0 to 8"):
        replace(LEARNER, teachers=9)
