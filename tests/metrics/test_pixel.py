"""Metrics of single pixels: oracle values, properties, gaps, types, and what is refused."""

from __future__ import annotations

import math

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from decametric import metrics
from decametric.errors import UsageError
from decametric.metrics import bias, cc, ergas, mae, psnr, rase, rmse, sre
from metrics import oracle

NEEDS = {"psnr": {"data_range": oracle.L}, "ergas": {"ratio": 2}}
"""What a metric requires."""

PER_BAND = ("rmse", "mae", "bias", "psnr", "sre", "cc")
OF_BANDS = ("ergas", "rase")

CHUNKS = [
    {"band": 1, "y": 60, "x": 75},
    {"band": 4, "y": (7, 100, 69), "x": (1, 223)},
    {"band": 3, "y": (1, 1, 1, 173), "x": 224},
]


def image(*shape, seed=0, **coords):
    values = np.random.default_rng(seed).random(shape, dtype="float32")
    return xr.DataArray(values, coords, dims=("band", "y", "x")[-len(shape) :])


def score(name, reference, test, **options):
    return getattr(metrics, name)(reference, test, **NEEDS.get(name, {}), **options)


# Values of other people's making


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("pair", oracle.PAIRS)
def test_oracle(shared_data, pair, dtype):
    known = oracle.pair(shared_data, pair)
    x, y = known.reference.astype(dtype), known.test.astype(dtype)
    for name in PER_BAND:
        found = score(name, x, y)
        np.testing.assert_allclose(found, known.pixelwise[name], rtol=1e-9, err_msg=name)
    pooled = {"rmse_pooled": rmse, "psnr_pooled": psnr}
    for name, metric in pooled.items():
        found = score(metric.__name__, x, y, dim=...)
        np.testing.assert_allclose(found, known.pixelwise[name], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(sre(x, y, signal="power"), known.pixelwise["sre_power"], rtol=1e-9)
    for ratio in (2, 6):
        found = ergas(x, y, ratio=ratio)
        np.testing.assert_allclose(found, known.pixelwise[f"ergas_ratio{ratio}"], rtol=1e-9)
    np.testing.assert_allclose(rase(x, y), known.pixelwise["rase"], rtol=1e-9)


@pytest.mark.parametrize("chunks", [None, *CHUNKS])
def test_oracle_of_masked_images(shared_data, chunks):
    known = oracle.pair(shared_data, "synth_a")
    values = oracle.expected(shared_data, "masked", "synth_a", "values")
    x, y, mask = known.reference, known.test, oracle.mask(shared_data)
    if chunks:
        x, y = x.chunk(chunks), y.chunk(dict.fromkeys(chunks, 50))
    for name in PER_BAND:
        found = score(name, x, y, mask=mask)
        np.testing.assert_allclose(found, values[name], rtol=1e-9, err_msg=name)
    assert float(rmse(x, y, dim=..., mask=mask)) == pytest.approx(values["rmse_pooled"], rel=1e-9)
    assert float(rase(x, y, mask=mask)) == pytest.approx(values["rase"], rel=1e-9)
    found = ergas(x, y, ratio=6, mask=mask)
    assert float(found) == pytest.approx(values["ergas_ratio6"], rel=1e-9)


def test_the_two_example_pairs(shared_data):
    for name, decibels in (("lafayette", 20.88), ("singapore", 18.01)):
        known = oracle.pair(shared_data, name)
        found = sre(known.reference, known.test).mean()
        assert float(found) == pytest.approx(decibels, abs=0.005)


# Properties


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
def test_an_image_is_like_itself(name):
    best = {"psnr": math.inf, "sre": math.inf, "cc": 1}.get(name, 0)
    assert (score(name, image(3, 8, 9), image(3, 8, 9)) == best).all()


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_the_chunks_do_not_matter(name, data):
    x, y = image(3, 6, 7), image(3, 6, 7, seed=1)
    whole = score(name, x, y, dim=("y", "x"))
    sizes = st.fixed_dictionaries(
        {"band": st.integers(1, 3), "y": st.integers(1, 6), "x": st.integers(1, 7)}
    )
    pieces = score(name, x.chunk(data.draw(sizes)), y.chunk(data.draw(sizes)))
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(pieces, whole, rtol=1e-12)


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
@settings(deadline=None, max_examples=15)
@given(rows=st.permutations(range(8)), bands=st.permutations(range(3)))
def test_the_order_of_pixels_and_bands_does_not_matter(name, rows, bands):
    x, y = image(3, 8, 9), image(3, 8, 9, seed=1)
    moved = score(name, x[list(bands), list(rows)], y[list(bands), list(rows)])
    expected = score(name, x, y)
    if "band" in expected.dims:
        expected = expected[list(bands)]
    np.testing.assert_allclose(moved, expected, rtol=1e-12)


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
def test_masking_equals_cropping(name):
    x, y = image(3, 20, 30), image(3, 20, 30, seed=1)
    inside = xr.DataArray(np.zeros((20, 30), bool), dims=("y", "x"))
    inside[3:11, 5:25] = True
    cropped = score(name, x[:, 3:11, 5:25], y[:, 3:11, 5:25])
    np.testing.assert_allclose(score(name, x, y, mask=inside), cropped, rtol=1e-12)
    np.testing.assert_allclose(score(name, x.where(inside), y), cropped, rtol=1e-12)
    np.testing.assert_allclose(score(name, x, y.where(inside, np.inf)), cropped, rtol=1e-12)


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
def test_a_weight_of_two_is_a_pixel_twice(name):
    x, y = image(3, 6, 7), image(3, 6, 7, seed=1)
    weights = xr.DataArray(np.random.default_rng(2).integers(0, 3, (6, 7)), dims=("y", "x"))
    index = np.repeat(np.arange(42), weights.values.ravel())
    repeated = [
        data.stack(pixel=("y", "x")).drop_vars(["y", "x", "pixel"])[:, index] for data in (x, y)
    ]
    expected = score(name, *repeated, dim="pixel")
    np.testing.assert_allclose(score(name, x, y, weights=weights), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["rmse", "mae", "psnr", "cc"])
def test_symmetric_metrics(name):
    x, y = image(3, 8, 9), image(3, 8, 9, seed=1)
    np.testing.assert_allclose(score(name, x, y), score(name, y, x), rtol=1e-14)


def test_the_sign_of_bias_is_test_minus_reference():
    x = image(8, 9)
    assert float(bias(x, x + 1)) == pytest.approx(1)


def test_dimensions_named_together_are_pooled():
    x, y = image(3, 8, 9), image(3, 8, 9, seed=1)
    pooled = np.sqrt((rmse(x, y) ** 2).mean())
    assert float(rmse(x, y, dim=("x", "band", "y"))) == pytest.approx(float(pooled), rel=1e-12)
    assert float(rmse(x, y, dim=None)) == pytest.approx(float(pooled), rel=1e-12)
    assert rmse(x, y, dim="y").dims == ("band", "x")


def test_datasets_are_scored_variable_by_variable():
    x = xr.Dataset({"B05": image(8, 9), "B11": image(8, 9, seed=1)})
    y = xr.Dataset({"B05": image(8, 9, seed=2), "B11": image(8, 9, seed=3)})
    mask = xr.Dataset({"B05": x.B05 > 0.2, "B11": x.B11 > 0.4})
    found = rmse(x, y, mask=mask)
    for band in ("B05", "B11"):
        assert float(found[band]) == float(rmse(x[band], y[band], mask=mask[band]))
    stacked = [data.to_dataarray("band") for data in (x, y, mask)]
    assert float(ergas(x, y, ratio=2, mask=mask)) == float(
        ergas(*stacked[:2], ratio=2, mask=stacked[2])
    )


def test_a_mask_may_come_from_one_band():
    x, y = image(3, 8, 9, band=["B05", "B06", "B11"]), image(3, 8, 9, seed=1)
    y = y.assign_coords(band=x.band)
    mask = x.sel(band="B06") > 0.5
    bare = mask.drop_vars("band")
    xr.testing.assert_identical(rmse(x, y, mask=mask), rmse(x, y, mask=bare))
    unlabelled = rmse(x.drop_vars("band"), y.drop_vars("band"), mask=mask)
    np.testing.assert_array_equal(unlabelled, rmse(x, y, mask=bare))


# Numbers that break a careless sum


def test_integers_do_not_wrap():
    for dtype in ("uint8", "uint16", "int16"):
        x, y = (
            xr.DataArray(np.full((3, 4, 4), v, dtype), dims=("band", "y", "x")) for v in (20, 10)
        )
        assert (bias(x, y) == -10).all()
        assert (mae(x, y) == 10).all()
        assert (rmse(x, y) == 10).all()
    x, y = (xr.DataArray(np.full((4, 4), v, "uint16"), dims=("y", "x")) for v in (60000, 50000))
    assert float(rmse(x, y)) == 10000


def test_single_precision_is_summed_in_double():
    truth = xr.DataArray(np.full((2000, 2000), 1e-4, "f4"), dims=("y", "x"))
    assert float(rmse(truth, truth * 0)) == pytest.approx(float(np.float32(1e-4)), rel=1e-12)


@pytest.mark.parametrize("chunk", [200, 37])
def test_correlation_beside_a_large_mean(chunk):
    y, x = np.mgrid[:200, :200]
    values = xr.DataArray(1e8 + 0.01 * (-1.0) ** (y + x), dims=("y", "x")).chunk(chunk)
    assert float(cc(values, 2e8 - values)) == pytest.approx(-1, abs=1e-4)


def test_constant_images():
    x = xr.DataArray(np.full((3, 64, 64), 100), dims=("band", "y", "x"))
    y = x + 10
    assert (rmse(x, y) == 10).all()
    assert (bias(x, y) == 10).all()
    np.testing.assert_allclose(sre(x, y), 20)
    np.testing.assert_allclose(psnr(x, y, data_range=10000), 60)
    assert float(ergas(x, y, ratio=2)) == pytest.approx(5)
    assert np.isnan(cc(x, y)).all()
    assert np.isnan(cc(x * 0.1, y * 0.1)).all()  # 0.1 is not a binary number: its mean is rounded


def test_pure_gain():
    x = image(3, 30, 40).astype("f8") + 0.1
    np.testing.assert_allclose(cc(x, 2 * x), 1, rtol=1e-12)
    shares = (x**2).mean(("y", "x")) / x.mean(("y", "x")) ** 2
    expected = 50 * np.sqrt(float(shares.mean()))
    assert float(ergas(x, 2 * x, ratio=2)) == pytest.approx(expected, rel=1e-12)


# Nothing valid, nothing computed


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
def test_without_a_valid_pixel_there_is_no_number(name):
    x = image(3, 8, 9)
    assert np.isnan(score(name, x.where(x > 2), x)).all()
    assert np.isnan(score(name, x, x, mask=x > 2)).all()
    assert np.isnan(score(name, x, x, weights=x * 0)).all()
    assert np.isnan(score(name, x.where(x > 2).chunk(y=3), x)).all()


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
def test_skipna_false_lets_gaps_through(name):
    x = image(3, 8, 9).astype("f8")
    gap = x.copy()
    gap[:, 2, 3] = np.nan
    assert np.isnan(score(name, gap, x, skipna=False)).all()
    assert np.isnan(score(name, gap.fillna(np.inf), x, skipna=False)).all()
    away = xr.ones_like(x[0], bool)
    away[2, 3] = False
    expected = score(name, gap, x + 0.1)
    np.testing.assert_allclose(score(name, gap, x + 0.1, mask=away, skipna=False), expected)


def explosive(shape=(3, 8, 9), chunks=(1, 4, 4)):
    """A lazy image that fails when it is read."""

    def fail(_):
        message = "computed"
        raise AssertionError(message)

    values = da.zeros(shape, chunks=chunks, dtype="f4").map_blocks(
        fail, dtype="f4", meta=np.empty(0, "f4")
    )
    return xr.DataArray(values, dims=("band", "y", "x"))


@pytest.mark.parametrize("name", PER_BAND + OF_BANDS)
def test_nothing_is_computed_before_it_is_asked_for(name):
    lazy = explosive()
    found = score(name, lazy, lazy, mask=lazy > 0, weights=lazy)
    assert isinstance(found.data, da.Array)
    with pytest.raises(AssertionError, match="computed"):
        found.compute(scheduler="synchronous")


def test_numpy_in_numpy_out():
    x = image(3, 8, 9)
    assert isinstance(rmse(x, x).data, np.ndarray)
    assert isinstance(rmse(x, x.chunk()).data, da.Array)


# What a score says of itself


def test_names_units_and_coordinates():
    x = image(3, 8, 9, band=["B05", "B06", "B11"], time=0).assign_attrs(units="DN", sensor="MSI")
    found = psnr(x, x, data_range="12bit", keep_attrs=True)
    assert found.name == "psnr"
    assert found.dtype == "float64"
    assert found.attrs == {
        "units": "dB",
        "sensor": "MSI",
        "long_name": "peak signal-to-noise ratio",
        "data_range": 4095,
    }
    assert found.sel(band="B06").time == 0
    assert rmse(x, x).attrs == {"units": "DN", "long_name": "root mean square error"}
    assert mae(x, x, "x").attrs["units"] == "DN"


# What is refused


def test_grids_must_agree():
    x = image(8, 9, y=np.arange(8.0))
    with pytest.raises(UsageError, match=r"test has 8 pixels along 'x' and reference has 9"):
        rmse(x, x[:, 1:])
    with pytest.raises(
        UsageError, match=r"coordinate 'y' of test .* by up to 1e-09.*assign_coords"
    ):
        rmse(x, x.assign_coords(y=x.y + 1e-9))
    with pytest.raises(UsageError, match="coordinate 'y' of mask"):
        rmse(x, x, mask=(x > 0).assign_coords(y=x.y + 10))
    assert float(rmse(x, x.drop_vars("y"))) == 0


def test_what_is_missing_is_named():
    x = image(3, 8, 9)
    with pytest.raises(UsageError, match="no dimension 'time' to reduce; the images have"):
        rmse(x, x, dim="time")
    with pytest.raises(UsageError, match=r"data_range=None: give the span"):
        psnr(x, x)
    for wrong in (0, -1, math.nan, "uint12"):
        with pytest.raises(UsageError, match="data_range="):
            psnr(x, x, data_range=wrong)
    for wrong in (None, 0.5, math.nan):
        with pytest.raises(UsageError, match="at least 1"):
            ergas(x, x, ratio=wrong)
    with pytest.raises(UsageError, match="no dimension 'band'"):
        ergas(x[0], x[0], ratio=2)
    with pytest.raises(UsageError, match="signal='peak'"):
        sre(x, x, signal="peak")


def test_kinds_that_do_not_go_together_are_refused():
    x = image(8, 9)
    with pytest.raises(UsageError, match="mask must be a DataArray of bool"):
        rmse(x, x, mask=x)
    with pytest.raises(UsageError, match="test must be one of numbers, not Dataset"):
        rmse(x, x.to_dataset(name="B05"))
    with pytest.raises(UsageError, match="only one of the Datasets has: B11"):
        rmse(x.to_dataset(name="B05"), xr.Dataset({"B05": x, "B11": x}))
    with pytest.raises(UsageError, match="both Datasets"):
        rmse(x.to_dataset(name="B05"), x)
    with pytest.raises(UsageError, match="at least 0"):
        rmse(x, x, weights=-x)
