"""Root mean square error: the formula, gaps, laziness, and coordinates that must agree."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from decametric.metrics import rmse


def image(*shape, seed=0, **coords):
    values = np.random.default_rng(seed).random(shape, dtype="float32")
    return xr.DataArray(values, coords, dims=("time", "y", "x")[-len(shape) :])


def test_it_is_the_formula():
    truth, test = image(8, 9), image(8, 9, seed=1)
    expected = np.sqrt(((test.values.astype("f8") - truth.values) ** 2).mean())
    assert float(rmse(truth, test)) == pytest.approx(expected, rel=1e-12)
    assert float(rmse(truth, truth)) == 0
    assert float(rmse(truth, truth + np.float32(0.25))) == pytest.approx(0.25, rel=1e-6)


def test_single_precision_is_summed_in_double():
    truth = xr.DataArray(np.full((2000, 2000), 1e-4, "f4"), dims=("y", "x"))
    assert float(rmse(truth, truth * 0)) == pytest.approx(float(np.float32(1e-4)), rel=1e-12)


def test_only_pixels_that_both_have_count():
    truth, test = image(8, 9), image(8, 9, seed=1)
    gaps = np.random.default_rng(2).random((2, 8, 9)) < 0.3
    expected = np.sqrt(((test - truth).values.astype("f8")[~gaps.any(0)] ** 2).mean())
    found = rmse(truth.where(~gaps[0]), test.where(~gaps[1]))
    assert float(found) == pytest.approx(expected, rel=1e-6)
    assert np.isnan(rmse(truth.where(truth > 2), test))


def test_dimensions_that_are_not_reduced_stay():
    truth, test = image(3, 8, 9), image(3, 8, 9, seed=1)
    found = rmse(truth, test)
    assert found.dims == ("time",)
    expected = [float(rmse(truth[n], test[n])) for n in range(3)]
    np.testing.assert_allclose(found, expected)
    pooled = np.sqrt((np.array(expected) ** 2).mean())
    assert float(rmse(truth, test, dim=("time", "y", "x"))) == pytest.approx(pooled)


def test_datasets_are_scored_variable_by_variable():
    truth = xr.Dataset({"B05": image(8, 9), "B11": image(8, 9, seed=1)})
    test = xr.Dataset({"B05": image(8, 9, seed=2), "B11": image(8, 9, seed=3)})
    found = rmse(truth, test)
    for band in ("B05", "B11"):
        assert float(found[band]) == float(rmse(truth[band], test[band]))


@pytest.mark.parametrize("chunks", [(3, 4), (8, 9), (1, 9)])
def test_it_is_lazy_and_the_root_comes_last(chunks):
    truth, test = image(8, 9), image(8, 9, seed=1)
    lazy = rmse(truth.copy(data=da.from_array(truth.values, chunks=chunks)), test)
    assert isinstance(lazy.data, da.Array)
    with dask.config.set(scheduler="synchronous"):
        assert float(lazy) == pytest.approx(float(rmse(truth, test)), rel=1e-12)


def test_other_coordinates_are_refused():
    truth, test = image(8, 9, y=np.arange(8)), image(8, 9, y=np.arange(8) + 1)
    with pytest.raises(ValueError, match="cannot align"):
        rmse(truth, test)
