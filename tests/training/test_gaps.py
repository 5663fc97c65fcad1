"""Gaps: what was measured stays, polynomials and mixtures come back exactly, wide gaps stay."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from decametric.degradation import Degradation
from decametric.training.gaps import closed

RNG = np.random.default_rng(0)
ROWS, COLS = np.indices((48, 60)).astype(np.float32)


def scene(ten, twenty=None):
    """Bands by resolution; a 20 m grid of half the size where none is given."""
    half = [size // 2 for size in ten.shape[1:]]
    return {10: ten, 20: np.ones((1, *half), np.float32) if twenty is None else twenty}


def lacking(array, *, rows=(), cols=()):
    array = array.copy()
    array[:, list(rows)] = np.nan
    array[:, :, list(cols)] = np.nan
    return array


def test_a_scene_without_gaps_stays_as_it_is():
    whole = scene(RNG.random((4, 48, 60), np.float32), RNG.random((6, 24, 30), np.float32))
    for res, bands in closed(whole).items():
        np.testing.assert_array_equal(bands, whole[res])


def test_what_was_measured_stays():
    ten = RNG.random((4, 48, 60), np.float32)
    twenty = RNG.random((6, 24, 30), np.float32)
    ten[RNG.random(ten.shape) < 0.2] = np.nan
    twenty[RNG.random(twenty.shape) < 0.2] = np.nan
    for res, bands in closed(scene(ten, twenty)).items():
        before = scene(ten, twenty)[res]
        known = np.isfinite(before)
        np.testing.assert_array_equal(bands[known], before[known])
        assert np.isfinite(bands).mean() > known.mean()


@pytest.mark.parametrize("gaps", [{"rows": (5, 11, 20)}, {"cols": (7, 30, 41)}])
def test_a_cubic_comes_back_across_one_row_or_column(gaps):
    cubic = (0.1 + 1e-3 * ROWS + 2e-5 * COLS**2 - 1e-6 * ROWS**3 + 1e-6 * COLS**3)[None]
    found = closed(scene(lacking(cubic, **gaps)))[10]
    np.testing.assert_allclose(found, cubic, atol=1e-6)


def test_a_slope_comes_back_across_two_rows_and_where_rows_and_columns_cross():
    slope = (0.1 + 1e-3 * ROWS - 2e-3 * COLS)[None]
    found = closed(scene(lacking(slope, rows=(5, 6, 20), cols=(30,))))[10]
    np.testing.assert_allclose(found, slope, atol=1e-6)


def test_wide_gaps_and_edges_stay():
    lacks = lacking(RNG.random((1, 48, 60), np.float32), rows=(0, 47))
    lacks[:, 10:13, 20:23] = np.nan
    found = np.isnan(closed(scene(lacks))[10][0])
    assert found[11, 21]
    assert found[[0, 47]].all()
    assert found.sum() == 2 * 60 + 9


def test_a_coarse_band_takes_its_detail_from_the_fine_ones():
    ten = RNG.random((4, 96, 120), np.float32)
    means = ten.reshape(4, 48, 2, 60, 2).mean((2, 4))
    twenty = np.stack([0.3 * means[0] + 0.7 * means[3], 0.2 - 0.1 * means[1]])
    lacks = lacking(twenty, rows=range(3, 44, 6), cols=(20, 40))
    lacks[1] = lacking(twenty[1:], rows=range(4, 44, 6))[0]
    found = closed({10: ten, 20: lacks})[20]
    np.testing.assert_allclose(found, twenty, atol=1e-4)


def test_a_band_with_too_few_pixels_is_interpolated():
    ten = RNG.random((4, 24, 24), np.float32)
    slope = np.broadcast_to(np.arange(12, dtype=np.float32)[:, None], (1, 12, 12))
    found = closed({10: ten, 20: lacking(slope, rows=(5,))})[20]
    np.testing.assert_allclose(found, slope, atol=1e-5)


@pytest.mark.parametrize("ratio", [2, 6])
def test_inputs_are_nearer_to_those_of_a_whole_scene_than_means_of_what_is_known(ratio):
    whole = gaussian_filter(RNG.random((2, 96, 96)), (0, 1.5, 1.5)).astype(np.float32)
    lacks = lacking(whole, rows=range(4, 96, 6))
    operator = Degradation(ratio)
    truth = operator.forward(whole)
    known_only, weight = operator.weighted(lacks, np.isfinite(lacks))
    filled = operator.forward(closed(scene(lacks))[10])
    errors = [np.std((each - truth)[weight > 0.5]) for each in (filled, known_only)]
    assert errors[0] < errors[1] / 3
