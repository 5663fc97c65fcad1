"""Forward models of images: the sensor's blur against SciPy, gaps, chunks, names, coordinates."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from decametric.bands import BANDS
from decametric.degradation import MIN_WEIGHT, MTF, OPERATORS, Degradation, degrade_image
from decametric.degradation.images import nyquist_of, operator_of
from decametric.degradation.operators import BlockMean, Sensor
from decametric.errors import UsageError

ALL = pytest.mark.parametrize("operator", OPERATORS)
RATIOS = pytest.mark.parametrize("ratio", [2, 3, 6])


def image(*shape, seed=0, **coords):
    values = np.random.default_rng(seed).random(shape)
    return xr.DataArray(values, coords, dims=("time", "band", "y", "x")[-len(shape) :])


def block_mean(values, ratio):
    *lead, rows, cols = values.shape
    return values.reshape(*lead, rows // ratio, ratio, cols // ratio, ratio).mean((-3, -1))


def sensor(values, ratio, nyquist):
    """A plane (y, x) after the blur of a sensor, in the words of SciPy."""
    sigma = ratio * np.sqrt(-2 * np.log(nyquist)) / np.pi
    blurred = gaussian_filter(values, sigma, mode="reflect", radius=10 * ratio)
    if ratio % 2:
        return blurred[ratio // 2 :: ratio, ratio // 2 :: ratio]
    around = (ratio // 2 - 1, ratio // 2)
    return np.mean([blurred[r::ratio, c::ratio] for r in around for c in around], axis=0)


def oracle(values, ratio, operator, nyquist):
    """Any of the forward models, plane by plane."""
    if operator == "mtf":
        return sensor(values, ratio, nyquist)
    blurred = gaussian_filter(values, 1 / ratio, mode="reflect") if operator == "dsen2" else values
    return block_mean(blurred, ratio)


@ALL
@RATIOS
@pytest.mark.parametrize("shape", [(36, 48), (6, 12), (6, 6), (90, 18)])
def test_it_is_the_formula(operator, ratio, shape):
    fine = image(*shape)
    found = degrade_image(fine, ratio, operator, nyquist=0.3)
    expected = oracle(fine.values, ratio, operator, 0.3)
    # The network's own blur drops weights below a millionth.
    limit = 2e-6 if operator == "dsen2" else 1e-12
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@RATIOS
@pytest.mark.parametrize("nyquist", [0.205, 0.365])
def test_the_transfer_at_the_nyquist_frequency_is_that_which_was_asked_for(ratio, nyquist):
    place = np.arange(-600, 600)
    wave = np.cos(np.pi * place / ratio)
    kernel = Sensor(ratio, nyquist).kernel
    blurred = np.convolve(wave, kernel, "same")
    inside = slice(300, -300)
    transfer = (blurred * wave)[inside].sum() / (wave * wave)[inside].sum()
    assert transfer == pytest.approx(nyquist, rel=1e-3)
    assert kernel.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_array_equal(kernel, kernel[::-1])


@ALL
@RATIOS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_stay_and_so_does_the_type(operator, ratio, dtype):
    fine = image(18, 24).astype(dtype) * 0 + np.array(0.25, dtype)
    found = degrade_image(fine, ratio, operator, nyquist=0.3)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, 0.25, rtol=1e-6 if dtype == "float32" else 1e-14)
    gaps = fine.where(image(18, 24, seed=1) > 0.1).astype(dtype)
    found = degrade_image(gaps, ratio, operator, nyquist=0.3).fillna(0.25)
    np.testing.assert_allclose(found, 0.25, rtol=1e-6 if dtype == "float32" else 1e-14)


@ALL
@RATIOS
def test_gaps_carry_no_weight(operator, ratio):
    fine, there = image(36, 48), image(36, 48, seed=1).values > 0.4
    found = degrade_image(fine.where(there), ratio, operator, nyquist=0.3)
    weight = oracle(there.astype("f8"), ratio, operator, 0.3)
    total = oracle(np.where(there, fine, 0), ratio, operator, 0.3)
    valid = weight >= MIN_WEIGHT
    assert 0 < (~valid).mean() < 0.6
    expected = np.divide(total, weight, out=np.full_like(total, np.nan), where=valid)
    clear = np.abs(weight - MIN_WEIGHT) > 1e-6
    limit = 1e-4 if operator == "dsen2" else 1e-12
    np.testing.assert_allclose(found.values[clear], expected[clear], rtol=limit)


@ALL
@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    gaps=st.booleans(),
    ratio=st.sampled_from([2, 6]),
)
@settings(max_examples=15, deadline=None)
def test_chunks_do_not_show_in_a_single_bit(operator, rows, seed, gaps, ratio):
    missing = -sum(rows) % ratio
    edges = (*rows[:-1], rows[-1] + missing)
    fine = image(3, sum(edges), 72, seed=seed)
    if gaps:
        fine = fine.where(image(3, sum(edges), 72, seed=seed + 1) > 0.1)
    whole = degrade_image(fine, ratio, operator, nyquist=0.2)
    lazy = degrade_image(fine.chunk(band=2, y=edges, x=(5, 67)), ratio, operator, nyquist=0.2)
    assert isinstance(lazy.data, da.Array)
    assert lazy.sizes == whole.sizes
    np.testing.assert_array_equal(lazy, whole)


@ALL
def test_nothing_is_computed_until_asked(operator):
    def fail(_):
        message = "this image must not be read"
        raise AssertionError(message)

    some = image(2, 36, 36).chunk(y=12)
    meta = np.empty((0, 0, 0))
    some = some.copy(data=da.map_blocks(fail, some.data, dtype="f8", meta=meta))
    lazy = degrade_image(some, 2, operator, nyquist=0.3)
    with pytest.raises(AssertionError, match="must not be read"):
        lazy.compute()


def test_half_precision_becomes_single():
    fine = image(12, 12).astype("float16")
    found = degrade_image(fine, 2)
    assert found.dtype == "float32"
    xr.testing.assert_equal(found, degrade_image(fine.astype("float32"), 2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_integers_become_double_precision(dtype):
    fine = (200 * image(12, 12)).astype(dtype)
    found = degrade_image(fine, 2, "mean")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, block_mean(fine.values.astype("f8"), 2))


# Bands and their sensors


def test_each_band_has_the_blur_of_its_own_sensor():
    names = ["B05", "B11", "b4", "nir09"]
    fine = image(4, 24, 36, band=names)
    found = degrade_image(fine, 2, "mtf")
    values = [MTF[name] for name in ("B05", "B11", "B04", "B09")]
    for plane, known, value in zip(found, fine, values, strict=True):
        np.testing.assert_allclose(plane, sensor(known.values, 2, value), rtol=1e-12)
    lazy = degrade_image(fine.transpose("y", "band", "x").chunk(y=7), 2, "mtf")
    assert lazy.dims == ("y", "band", "x")
    np.testing.assert_array_equal(lazy.transpose("band", "y", "x"), found)


def test_names_of_variables_are_bands():
    fine = xr.Dataset({"B05": image(12, 12), "B12": image(12, 12, seed=1)}, attrs={"level": "L2A"})
    found = degrade_image(fine, 2, "mtf")
    for name in ("B05", "B12"):
        expected = degrade_image(fine[name], 2, "mtf", nyquist=MTF[name])
        np.testing.assert_array_equal(found[name], expected)
    assert found.attrs == {"level": "L2A"}


def test_other_values_may_be_given():
    assert set(MTF) == set(BANDS)
    assert nyquist_of("B05") == 0.365
    assert nyquist_of("B05", 0.4) == 0.4
    assert nyquist_of("B05", {"B05": 0.38}) == 0.38
    assert nyquist_of("B06", {"B05": 0.38}) == 0.33
    assert nyquist_of("pan", {"pan": 0.15}) == 0.15


def test_operators_by_name():
    assert operator_of("dsen2", 2, "B05") == Degradation(2)
    assert operator_of("mean", 6, "B01") == BlockMean(6)
    assert operator_of("mtf", 6, "B01") == Sensor(6, 0.3175)
    assert [operator_of(name, 6, "B01").radius for name in ("dsen2", "mean")] == [0, 0]


# Grids


@RATIOS
def test_coordinates_are_the_middle_of_each_coarse_pixel(ratio):
    fine = image(
        2,
        12,
        18,
        band=["B02", "B03"],
        y=600005.0 - 10 * np.arange(12),
        x=np.arange(18) * 10 + 5,
        spatial_ref=xr.DataArray(0, attrs={"crs_wkt": "...", "GeoTransform": "0 10 0 0 0 -10"}),
        latitude=(("y", "x"), np.zeros((12, 18))),
    )
    found = degrade_image(fine.assign_attrs(units="1").rename("scene"), ratio)
    assert found.x.values.tolist() == [10 * ratio * (n + 0.5) for n in range(18 // ratio)]
    assert found.y.values.tolist() == [600010 - 10 * ratio * (n + 0.5) for n in range(12 // ratio)]
    assert found.band.values.tolist() == ["B02", "B03"]
    assert "latitude" not in found.coords
    assert found.spatial_ref.attrs == {"crs_wkt": "..."}
    assert fine.spatial_ref.attrs["GeoTransform"]
    assert (found.name, found.attrs) == ("scene", {"units": "1"})


@pytest.mark.parametrize(
    ("ratio", "operator", "words"),
    [
        (0, "mean", "ratio=0: give coarse"),
        (2.5, "mean", r"ratio=2.5: give coarse .* a whole number"),
        (5, "mean", "12 pixels along 'y', no multiple of ratio=5"),
        (2, "box", "operator='box' is not known; use one of dsen2, mtf, mean"),
        (2, "mtf", "modulation transfer of band None is not known; give it by nyquist="),
    ],
)
def test_what_cannot_be_is_refused(ratio, operator, words):
    with pytest.raises(UsageError, match=words):
        degrade_image(image(12, 12), ratio, operator)


def test_an_image_without_the_axes_is_refused():
    with pytest.raises(UsageError, match="no dimension 'y'"):
        degrade_image(image(12, 12).rename(y="row"), 2)
