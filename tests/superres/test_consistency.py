"""The projection: consistent with the measurement, never away from the truth, local."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decametric.bands import BANDS_10M, BANDS_20M, BANDS_60M, SHARPENED
from decametric.degradation import MIN_WEIGHT, Degradation
from decametric.superres.consistency import Consistent, project
from decametric.superres.predictor import Bicubic, Bilinear, Predictor

RATIOS = pytest.mark.parametrize("ratio", [2, 6])
HALF_DN = 0.5e-4
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(2, 8).map(lambda n: 6 * n)


def truth(rows, cols, seed):
    """Fine detail of every kind: noise over steps over a slope."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((rows, cols))
    steps = rng.random((2, rows // 6, cols // 6)).repeat(6, 1).repeat(6, 2)
    noise = rng.normal(0, 0.03, (2, rows, cols))
    return (0.1 + 0.3 * steps + noise + 0.001 * (x - y)).astype("float32")


def error(values, reference):
    return np.sqrt(((values.astype("f8") - reference) ** 2).mean())


def prediction(fine, seed, spread=0.02):
    """What a fair network makes: the truth with errors of some hundred DN, and a bias."""
    rng = np.random.default_rng(seed + 1)
    off = rng.normal(0.005, spread, fine.shape)
    return (fine + off).astype("float32")


@RATIOS
@given(seed=SEEDS, rows=SIZES, cols=SIZES)
@settings(max_examples=40, deadline=None)
def test_degraded_again_the_result_equals_the_measurement(ratio, seed, rows, cols):
    operator, fine = Degradation(ratio), truth(rows, cols, seed)
    measured = operator.forward(fine)
    result = project(prediction(fine, seed), measured, operator)
    assert np.abs(operator.forward(result) - measured).max() < HALF_DN


@RATIOS
@given(seed=SEEDS, rows=SIZES, cols=SIZES, share=st.floats(0.01, 0.6))
@settings(max_examples=40, deadline=None)
def test_residual_near_gaps_stays_below_half_a_dn(ratio, seed, rows, cols, share):
    operator, fine = Degradation(ratio), truth(rows, cols, seed)
    valid = np.random.default_rng(seed).random(fine.shape) >= share
    valid[:, : rows // 3, : cols // 2] = False
    measured = operator.forward(fine)
    result = project(prediction(fine, seed), measured, operator, valid)
    value, weight = operator.weighted(result, valid)
    known = weight >= MIN_WEIGHT
    assert np.abs(value - measured)[known].max(initial=0) < HALF_DN


@RATIOS
@given(seed=SEEDS, rows=SIZES, cols=SIZES, spread=st.floats(0.0001, 0.2))
@settings(max_examples=60, deadline=None)
def test_never_farther_from_the_truth_than_before(ratio, seed, rows, cols, spread):
    operator, fine = Degradation(ratio), truth(rows, cols, seed)
    before = prediction(fine, seed, spread)
    after = project(before, operator.forward(fine), operator)
    # Band by band; the slack is what single precision rounds, far below a hundredth of a DN.
    for band in range(len(fine)):
        assert error(after[band], fine[band]) <= error(before[band], fine[band]) + 1e-7


@RATIOS
@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_what_is_consistent_already_stays(ratio, seed):
    operator, fine = Degradation(ratio), truth(36, 48, seed)
    result = project(fine, operator.forward(fine), operator)
    np.testing.assert_allclose(result, fine, rtol=0, atol=1e-6)


@RATIOS
def test_pixels_that_are_not_valid_are_left_alone(ratio):
    operator, fine = Degradation(ratio), truth(36, 48, 3)
    valid = np.ones(fine.shape, bool)
    valid[:, 7:20, 5:23] = False
    before = prediction(fine, 3)
    after = project(before, operator.forward(fine), operator, valid)
    np.testing.assert_array_equal(after[~valid], before[~valid])
    assert (after[valid] != before[valid]).mean() > 0.9


@RATIOS
def test_values_without_weight_do_not_matter(ratio):
    operator, fine = Degradation(ratio), truth(36, 48, 4)
    valid = np.random.default_rng(4).random(fine.shape) > 0.2
    before = prediction(fine, 4)
    wild = np.where(valid, before, np.float32(50))
    measured = operator.forward(fine)
    one, other = (project(values, measured, operator, valid) for values in (before, wild))
    np.testing.assert_array_equal(one[valid], other[valid])


def inputs(edge=72, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(
        (0.3 * rng.random((count, edge // step, edge // step)) + 0.05).astype("float32")
        for count, step in ((4, 1), (6, 2), (2, 6))
    )


def test_wrapped_predictor_projects_every_band_with_its_own_operator():
    predictor = Consistent(Bicubic(("B09", "B11", "B01", "B05")))
    assert isinstance(predictor, Predictor)
    b10, b20, b60 = inputs()
    b20, b60 = b20[[4, 0]], b60[[1, 0]]  # in the order of bands_in: B11, B05 and B09, B01
    result = predictor(b10[:0], b20, b60)
    twenty, sixty = result[[1, 3]], result[[0, 2]]
    assert np.abs(Degradation(2).forward(twenty) - b20).max() < HALF_DN
    assert np.abs(Degradation(6).forward(sixty) - b60).max() < HALF_DN
    plain = predictor.predictor(b10[:0], b20, b60)
    assert np.abs(Degradation(2).forward(plain[[1, 3]]) - b20).max() > 100 * HALF_DN


def test_bands_of_one_resolution_may_be_read_in_another_order_than_returned():
    class Swapped:
        bands_in, bands_out, halo = ("B05", "B12"), ("B12", "B05"), 12

        def __call__(self, _b10, b20, _b60):
            return np.zeros((2, 2 * b20.shape[1], 2 * b20.shape[2]), "f4")

    b10, b20, b60 = inputs()
    result = Consistent(Swapped())(b10[:0], b20[:2], b60[:0])
    np.testing.assert_allclose(Degradation(2).forward(result), b20[[1, 0]], atol=HALF_DN)


@pytest.mark.parametrize(
    ("bands", "halo"), [(BANDS_20M, 24), (BANDS_60M, 12), (SHARPENED, 24)], ids=["2x", "6x", "all"]
)
def test_the_halo_counts_the_support_of_the_projection(bands, halo):
    predictor = Consistent(Bilinear(bands))
    assert predictor.halo == halo
    of = {"b20": sum(b in BANDS_20M for b in bands), "b60": sum(b in BANDS_60M for b in bands)}
    b10, b20, b60 = inputs(120)
    b20, b60 = b20[: of["b20"]], b60[: of["b60"]]
    core = np.s_[:, halo:-halo, halo:-halo]
    whole = predictor(b10, b20, b60)[core]
    wide = [np.pad(b, [(0, 0), (n, n), (n, n)], constant_values=9) for b, n in ((b20, 6), (b60, 2))]
    other = predictor(np.pad(b10, [(0, 0), (12, 12), (12, 12)]), *wide)[:, 12:-12, 12:-12][core]
    np.testing.assert_array_equal(whole, other)


def test_it_passes_for_the_wrapped_predictor():
    class Facts:
        bands_in, bands_out, halo = (*BANDS_10M, "B11"), ("B11",), 18
        name, level, flops = "facts", "L2A", 7

        def __call__(self, b10, _b20, _b60):
            return b10[:1]

    predictor = Consistent(Facts())
    assert (predictor.bands_in, predictor.bands_out) == (Facts.bands_in, ("B11",))
    assert (predictor.name, predictor.level, predictor.flops) == ("facts", "L2A", 7)
    assert predictor.provenance["name"] == "facts"
    assert predictor.provenance["consistency"].startswith("projection")
    assert not hasattr(predictor, "nothing")
    again = pickle.loads(pickle.dumps(Consistent(Bicubic())))  # noqa: S301  (our own bytes)
    assert again == Consistent(Bicubic())
