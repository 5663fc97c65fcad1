"""Consistency of a sharpened image with what was measured: oracle values, gaps, grids, chunks."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from decametric.degradation import OPERATORS, degrade_image
from decametric.errors import UsageError
from decametric.metrics import ergas, scales
from decametric.metrics.consistency import consistency_bias, consistency_rmse
from decametric.metrics.spectral import sam
from metrics import two_scales
from metrics.two_scales import broken, made, triple

CHUNKS = [
    ({"band": 1, "y": 20, "x": 17}, {"y": 31}),
    ({"band": (2, 1), "y": (7, 41), "x": (1, 47)}, {"band": 2, "y": (1, 60, 35), "x": 50}),
    ({"band": 3, "y": 1, "x": 48}, {"band": 3, "y": 96, "x": 5}),
]
"""Of the coarse and of the fine image."""

BOTH = pytest.mark.parametrize("metric", [consistency_rmse, consistency_bias])


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_oracle(shared_data, dtype):
    coarse, fine, *_ = triple(shared_data, dtype)
    found = {
        "consistency_mtf_rmse": consistency_rmse(coarse, fine, ratio=2, operator="mtf"),
        "consistency_blockmean_rmse": consistency_rmse(coarse, fine, ratio=2, operator="mean"),
        "consistency_blockmean_bias": consistency_bias(coarse, fine, ratio=2, operator="mean"),
    }
    for name, value in found.items():
        known = two_scales.expected(shared_data, name)
        np.testing.assert_allclose(value, known, rtol=1e-10, err_msg=name)


def test_oracle_of_compositions(shared_data):
    coarse, fine, *_ = triple(shared_data)
    again = degrade_image(fine, 2, "mtf")
    found = {
        "consistency_mtf_ergas": ergas(coarse, again, ratio=2),
        "consistency_mtf_sam_deg": sam(coarse, again),
    }
    for name, value in found.items():
        assert float(value) == pytest.approx(two_scales.expected(shared_data, name), rel=1e-12)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunks_do_not_show(chunks, operator, monkeypatch):
    monkeypatch.setattr(scales, "CHUNK", (1, 32))
    coarse, fine, _ = made()
    gaps = fine.where(np.random.default_rng(0).random((96, 96)) > 0.1)
    whole = consistency_rmse(coarse, gaps, ratio=2, operator=operator)
    pair = (coarse.chunk(chunks[0]), gaps.chunk(chunks[1]))
    lazy = consistency_rmse(*pair, ratio=2, operator=operator)
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_allclose(lazy, whole, rtol=1e-12)


@BOTH
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("ratio", [2, 6])
def test_what_is_degraded_the_same_way_is_consistent(metric, operator, ratio):
    _, fine, _ = made(ratio=ratio)
    measured = degrade_image(fine, ratio, operator)
    found = metric(measured, fine, ratio=ratio, operator=operator)
    np.testing.assert_array_equal(found, 0)
    brighter = metric(measured - 0.25, fine, ratio=ratio, operator=operator)
    np.testing.assert_allclose(brighter, 0.25, rtol=1e-12)


@BOTH
def test_gaps_masks_and_weights_leave_coarse_pixels_out(metric):
    coarse, fine, _ = made()
    mask = np.random.default_rng(1).random((48, 48)) > 0.3
    kept = xr.DataArray(mask, dims=("y", "x"))
    difference = (degrade_image(fine, 2, "mean") - coarse).values[:, mask]
    expected = {
        consistency_rmse: np.sqrt((difference**2).mean(1)),
        consistency_bias: difference.mean(1),
    }[metric]
    options = {"ratio": 2, "operator": "mean"}
    blocky = xr.DataArray(mask.repeat(2, 0).repeat(2, 1), dims=("y", "x"))
    for found in (
        metric(coarse, fine, mask=kept, **options),
        metric(coarse, fine, weights=kept * 1.5, **options),
        metric(coarse.where(kept), fine, **options),
        metric(coarse, fine.where(blocky), **options),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-11)
    assert np.isnan(metric(coarse, fine, mask=kept & False, **options)).all()


@BOTH
@pytest.mark.parametrize("operator", OPERATORS)
def test_one_gap_of_the_fine_image_that_is_not_skipped_is_nan(metric, operator):
    coarse, fine, _ = made()
    fine[1, 30, 31] = np.nan
    found = metric(coarse, fine, ratio=2, operator=operator, skipna=False)
    assert np.isnan(found).values.tolist() == [False, True, False]


@BOTH
def test_datasets_are_scored_variable_by_variable(metric):
    coarse, fine, _ = made()
    names = [str(name) for name in coarse.band.values]
    sets = [xr.Dataset({n: part.sel(band=n, drop=True) for n in names}) for part in (coarse, fine)]
    options = {"ratio": 2, "operator": "mtf"}
    found = metric(*sets, **options)
    expected = metric(coarse, fine, **options)
    for name in names:
        assert float(found[name]) == float(expected.sel(band=name))


@BOTH
def test_nothing_is_computed_until_asked(metric):
    coarse, fine, _ = made()
    for images in ((broken(coarse), fine), (coarse, broken(fine))):
        lazy = metric(*images, ratio=2)
        with pytest.raises(AssertionError, match="must not be read"):
            lazy.compute()


@BOTH
def test_it_says_what_it_is(metric):
    coarse, fine, _ = made()
    found = metric(coarse.assign_attrs(history="measured"), fine, ratio=2, keep_attrs=True)
    assert found.name == metric.__name__
    words = {"consistency_rmse": "root mean square error", "consistency_bias": "mean error"}
    assert found.attrs["long_name"] == f"{words[found.name]} (degraded)"
    both = (image.assign_attrs(units="DN") for image in (coarse, fine))
    assert metric(*both, ratio=2).attrs["units"] == "DN"
    assert {key: found.attrs[key] for key in ("operator", "ratio", "history")} == {
        "operator": "dsen2",
        "ratio": 2,
        "history": "measured",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "ratio=None: give coarse pixel size over fine"),
        ({"ratio": 0.5}, "ratio=0.5: give coarse pixel size over fine"),
        ({"ratio": 6}, "test has 96 pixels along 'y' and reference 48; with ratio=6"),
        ({"ratio": 2, "operator": "box"}, "operator='box' is not known; use one of dsen2, mtf"),
        ({"ratio": 2, "operator": "mtf", "nyquist": 1.5}, "nyquist=1.5: a modulation transfer"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    coarse, fine, _ = made()
    with pytest.raises(UsageError, match=words):
        consistency_rmse(coarse, fine, **options)


def test_grids_that_are_not_nested_are_refused():
    coarse, fine, _ = made()
    with pytest.raises(UsageError, match="reference along 'y' are off the middle"):
        consistency_bias(coarse.assign_coords(y=coarse.y + 10), fine, ratio=2)
