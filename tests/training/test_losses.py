"""Losses: by hand, blind to what is masked, and the projected one equal to the real projection."""

from __future__ import annotations

import numpy as np
import pytest

from decametric.degradation import Degradation
from decametric.superres.consistency import project
from decametric.training.losses import masked_loss, unseen


def example(seed=0):
    rng = np.random.default_rng(seed)
    values, output = rng.normal(size=(2, 2, 12, 12, 3)).astype("f4")
    weights = (rng.random(values.shape) < 0.7).astype("f4")
    return values, weights, output


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_the_loss_is_the_mean_over_known_pixels(kind):
    values, weights, output = example()
    error = (output - values)[weights == 1]
    expected = np.abs(error).mean() if kind == "l1" else (error**2).mean()
    found = masked_loss(kind, 2, project=False)(np.concatenate([values, weights], -1), output)
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


@pytest.mark.parametrize(("kind", "counted"), [("rmse", np.asarray), ("log", np.log)])
def test_the_rmse_is_that_of_each_band_of_each_patch_that_is_known(kind, counted):
    values, weights, output = example()
    weights[1, ..., 2] = 0
    roots = [
        np.sqrt(np.mean((output - values)[n, ..., band][weights[n, ..., band] == 1] ** 2))
        for n, band in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    ]
    found = masked_loss(kind, 2, project=False)(np.concatenate([values, weights], -1), output)
    np.testing.assert_allclose(float(found), np.mean(counted(roots)), rtol=1e-5)


def test_by_the_logarithm_a_share_of_the_error_counts_the_same_on_any_land():
    values, weights, output = example()
    output[1] = values[1] + (output[1] - values[1]) / 50  # land of little contrast
    target, loss = np.concatenate([values, weights], -1), masked_loss("log", 2, project=False)
    for patch in range(2):
        better = output.copy()
        better[patch] += (values[patch] - output[patch]) / 10
        gain = float(loss(target, output)) - float(loss(target, better))
        assert gain == pytest.approx(-np.log(0.9) / 2, rel=0.01)


def test_by_the_logarithm_what_is_right_already_has_an_end():
    values, weights, _ = example()
    loss = masked_loss("log", 2, project=False)
    found = float(loss(np.concatenate([values, weights], -1), values))
    assert found == pytest.approx(np.log(1e-3))


@pytest.mark.parametrize("kind", ["l1", "rmse", "log"])
@pytest.mark.parametrize("projected", [False, True])
def test_what_is_masked_does_not_matter(kind, projected):
    values, weights, output = example()
    target = np.concatenate([values, weights], -1)
    loss = masked_loss(kind, 2, project=projected)
    other = np.where(weights == 0, output + 7, output)
    assert float(loss(target, output)) == pytest.approx(float(loss(target, other)), rel=1e-6)
    assert float(loss(target, output + 7 * weights)) != pytest.approx(float(loss(target, output)))


@pytest.mark.parametrize("ratio", [2, 6])
def test_the_projected_error_is_that_of_the_projected_output(ratio):
    values, _, output = example()
    operator = Degradation(ratio)
    truth, made = np.moveaxis(values, -1, 1), np.moveaxis(output, -1, 1)
    expected = project(made, operator.forward(truth), operator) - truth
    found = np.moveaxis(np.asarray(unseen(output - values, operator)), -1, 1)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert np.abs(operator.forward(np.ascontiguousarray(found))).max() < 2e-3


@pytest.mark.parametrize("kind", ["l1", "l2", "rmse", "log"])
def test_nothing_known_is_no_loss(kind):
    values, weights, output = example()
    target = np.concatenate([values, 0 * weights], -1)
    assert float(masked_loss(kind, 2, project=False)(target, output)) == 0
