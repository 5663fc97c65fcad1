"""Spectral angle and Q2n: oracle values, blocks by hand, gaps, chunks, and what is refused."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from decametric.errors import UsageError
from decametric.metrics.spectral import q2n, sam
from metrics import oracle

METRICS = pytest.mark.parametrize("metric", [sam, q2n])
CHUNKS = [
    ({"band": 1, "y": 60, "x": 75}, {"y": 31}),
    ({"band": (3, 1), "y": (7, 100, 69), "x": (1, 223)}, {}),
    ({"band": 4, "y": 1, "x": 224}, {"band": 2}),
]


def image(*shape, seed=0):
    values = 0.2 + np.random.default_rng(seed).random(shape)
    return xr.DataArray(values, dims=("time", "band", "y", "x")[-len(shape) :])


def constant(*spectrum, dtype="float64"):
    values = np.broadcast_to(np.array(spectrum, dtype)[:, None, None], (len(spectrum), 64, 64))
    return xr.DataArray(values, dims=("band", "y", "x"))


# Values of other people's making


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("pair", oracle.PAIRS)
def test_oracle(shared_data, pair, dtype):
    known = oracle.pair(shared_data, pair)
    x, y = known.reference.astype(dtype), known.test.astype(dtype)
    assert float(sam(x, y)) == pytest.approx(known.pixelwise["sam_deg"], rel=1e-11)
    found = {
        "q2n_32_fullblocks": q2n(x, y),
        "q2n_32_reflectpad": q2n(x, y, pad="symmetric"),
        "q2n_32_fullblocks_unnormalised": q2n(x, y, normalise=False),
    }
    for name, score in found.items():
        assert float(score) == pytest.approx(known.windowed[name], rel=1e-11), name


def test_oracle_of_a_masked_image(shared_data):
    known = oracle.pair(shared_data, "synth_a")
    values = oracle.expected(shared_data, "masked", "synth_a", "values")
    mask = oracle.mask(shared_data)
    found = sam(known.reference, known.test, mask=mask)
    assert float(found) == pytest.approx(values["sam_deg"], rel=1e-11)
    gaps = sam(known.reference.where(mask), known.test)
    assert float(gaps) == float(found)


@pytest.mark.parametrize(
    ("x", "y", "dtype", "degrees"),
    [
        ((1, 0), (0, 1), "float64", 90),
        ((1, 0), (-2, 0), "float64", 180),
        ((100, 100, 100), (110, 110, 110), "float64", 0),
        ((10, 10, 10), (20, 20, 20), "uint16", 0),
        ((60000, 60000, 60000), (50000, 50000, 50000), "uint16", 0),
    ],
)
def test_known_angles(x, y, dtype, degrees):
    found = sam(constant(*x, dtype=dtype), constant(*y, dtype=dtype))
    assert float(found) == pytest.approx(degrees, abs=1e-9)


def test_a_small_angle_keeps_its_digits():
    x = np.array([0.1, 0.2, 0.3, 0.4])
    y = x + 1e-9 * np.array([1, -1, 1, -1])
    radians = np.deg2rad(float(sam(constant(*x), constant(*y))))
    assert radians == pytest.approx(3.5901099299860728e-09, rel=1e-6)


def test_a_spectrum_of_zeros_has_no_angle(shared_data):
    known = oracle.pair(shared_data, "synth_a")
    x, y = known.reference.copy(deep=True), known.test.copy(deep=True)
    x[:, 3, 4] = y[:, 3, 4] = 0
    there = np.ones((176, 224), bool)
    there[3, 4] = False
    found = float(sam(x, y))
    assert found == float(sam(x, y, mask=xr.DataArray(there, dims=("y", "x"))))
    assert 0 < found != known.pixelwise["sam_deg"]


# Q2n, whose value for two bands can be written with complex numbers


def complex_quality(x, y):
    """Index of one block of two bands (2, pixels), without normalisation."""
    a, b = (part[0] + 1j * part[1] for part in (x, y))
    covariance = np.abs(((a - a.mean()) * (b - b.mean()).conj()).mean())
    light = 2 * np.abs(a.mean()) * np.abs(b.mean())
    light /= np.abs(a.mean()) ** 2 + np.abs(b.mean()) ** 2
    return 2 * covariance / (a.var() + b.var()) * light


def test_blocks_of_two_bands_are_complex_numbers():
    x, y = image(2, 10, 14), image(2, 10, 14) + 0.3 * image(2, 10, 14, seed=1)
    expected = [
        complex_quality(*(part.values[:, r : r + 4, c : c + 4].reshape(2, -1) for part in (x, y)))
        for r in (0, 4)
        for c in (0, 4, 8)
    ]
    found = float(q2n(x, y, block=4, normalise=False))
    assert found == pytest.approx(np.mean(expected), rel=1e-12)


def test_blocks_count_with_their_weight_or_not_at_all():
    x, y = image(2, 8, 12), image(2, 8, 12) + 0.3 * image(2, 8, 12, seed=1)
    weights = xr.DataArray(np.random.default_rng(2).integers(1, 5, (8, 12)), dims=("y", "x"))
    weights[5, 6] = 0
    scores, counts = [], []
    for r, c in [(0, 0), (0, 4), (0, 8), (4, 0), (4, 8)]:
        inside = {"y": slice(r, r + 4), "x": slice(c, c + 4)}
        part = [image.isel(inside).values.reshape(2, -1) for image in (x, y)]
        scores.append(complex_quality(*part))
        counts.append(weights.isel(inside).mean())
    found = q2n(x, y, block=4, normalise=False, weights=weights)
    assert float(found) == pytest.approx(np.average(scores, weights=counts), rel=1e-12)


def test_blocks_with_a_share_of_valid_pixels_may_be_kept():
    x, y = image(2, 4, 8), image(2, 4, 8) + 0.3 * image(2, 4, 8, seed=1)
    mask = np.ones((4, 8), bool)
    mask[0, :3], mask[1:, 4:] = False, False
    kept = [part.values[:, :, :4][:, mask[:, :4]] for part in (x, y)]
    options = {"block": 4, "normalise": False, "mask": xr.DataArray(mask, dims=("y", "x"))}
    for least in (0.5, 13 / 16):
        found = float(q2n(x, y, min_valid=least, **options))
        assert found == pytest.approx(complex_quality(*kept), rel=1e-12)
    assert np.isnan(q2n(x, y, min_valid=0.9, **options))
    both = float(q2n(x, y, min_valid=0.25, **options))
    other = complex_quality(*(part.values[:, 0, 4:] for part in (x, y)))
    assert both == pytest.approx(np.average([complex_quality(*kept), other], weights=[13, 4]))


def test_where_bands_are_normalised_their_gain_does_not_matter():
    x, y = image(3, 64, 64), image(3, 64, 64) + 0.2 * image(3, 64, 64, seed=1)
    gain = xr.DataArray([1.0, 1000.0, 1e-3], dims="band")
    assert float(q2n(gain * x, gain * y)) == pytest.approx(float(q2n(x, y)), rel=1e-12)
    assert float(q2n(gain * x, gain * y, normalise=False)) != pytest.approx(
        float(q2n(x, y, normalise=False)), rel=1e-6
    )


@pytest.mark.parametrize("normalise", [True, False])
def test_constant_blocks_differ_by_their_brightness_alone(normalise):
    x, y = constant(100, 100), constant(110, 110)
    found = float(q2n(x, y, normalise=normalise))
    assert found == pytest.approx(2 * 110 * 100 / (110**2 + 100**2), rel=1e-12)
    assert float(q2n(x, x, normalise=normalise)) == 1


def test_an_image_smaller_than_a_block_has_none_unless_it_is_mirrored():
    x, y = image(3, 10, 40), image(3, 10, 40, seed=1)
    assert np.isnan(q2n(x, y))
    whole = [np.pad(part, ((0, 0), (0, 22), (0, 24)), mode="symmetric") for part in (x, y)]
    expected = q2n(*(xr.DataArray(part, dims=x.dims) for part in whole))
    assert float(q2n(x, y, pad="symmetric")) == float(expected)


@pytest.mark.parametrize("bands", [1, 3, 5, 8, 13])
def test_any_number_of_bands(bands):
    x = image(bands, 32, 32)
    assert float(q2n(x, x)) == pytest.approx(1, abs=1e-12)
    worse = [float(q2n(x, x + step * image(bands, 32, 32, seed=1))) for step in (0.2, 0.4, 0.8)]
    assert 1 > worse[0] > worse[1] > worse[2] > 0


# Properties of both


@METRICS
@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunks_do_not_show(metric, chunks):
    x, y = image(4, 176, 224), image(4, 176, 224) + image(4, 176, 224, seed=1)
    mask = image(176, 224, seed=2) > 0.2001
    whole = float(metric(x, y, mask=mask))
    lazy = metric(x.chunk(chunks[0]), y.chunk(chunks[1]), mask=mask)
    assert isinstance(lazy.data, da.Array)
    assert float(lazy) == pytest.approx(whole, rel=1e-12)


@METRICS
@given(seed=st.integers(0, 2**32 - 1), bands=st.integers(2, 5))
@settings(max_examples=10, deadline=None)
def test_identity_is_best_and_places_do_not_matter(metric, seed, bands):
    x, y = image(bands, 64, 64, seed=seed), image(bands, 64, 64, seed=seed + 1)
    best = {sam: 0, q2n: 1}[metric]
    assert float(metric(x, x)) == pytest.approx(best, abs=1e-9)
    found = float(metric(x, y))
    assert min(found, 180 - found) > 0 if metric is sam else 0 <= found < 1
    moved = [part.roll(y=32, x=32) for part in (x, y)]
    assert float(metric(*moved)) == pytest.approx(found, rel=1e-12)
    if metric is sam:
        assert float(sam(y, x)) == pytest.approx(found, rel=1e-12)
        assert float(sam(x, 3 * y)) == pytest.approx(found, rel=1e-12)
        other = [part.isel(band=slice(None, None, -1)) for part in (x, y)]
        assert float(sam(*other)) == pytest.approx(found, rel=1e-12)


@METRICS
def test_a_mask_is_a_crop(metric):
    x, y = image(3, 64, 96), image(3, 64, 96, seed=1)
    mask = xr.DataArray(np.arange(96) < 64, dims="x")
    cropped = metric(x.isel(x=slice(64)), y.isel(x=slice(64)))
    assert float(metric(x, y, mask=mask)) == pytest.approx(float(cropped), rel=1e-12)
    gaps = metric(x.where(mask), y)
    assert float(gaps) == pytest.approx(float(cropped), rel=1e-12)
    weights = mask * 2.5
    assert float(metric(x, y, weights=weights)) == pytest.approx(float(cropped), rel=1e-12)


@METRICS
def test_a_pixel_needs_all_its_bands(metric):
    x, y = image(3, 64, 64), image(3, 64, 64, seed=1)
    one_band = x.copy(deep=True)
    one_band[1, 5, 6] = np.nan
    all_bands = x.copy(deep=True)
    all_bands[:, 5, 6] = np.inf
    assert float(metric(one_band, y)) == float(metric(all_bands, y)) != float(metric(x, y))


@METRICS
def test_nothing_valid_is_nan_and_so_is_a_gap_that_is_not_skipped(metric):
    x, y = image(3, 64, 64), image(3, 64, 64, seed=1)
    assert np.isnan(metric(x.where(x > 9), y))
    assert np.isnan(metric(x, y, mask=xr.zeros_like(x[0], bool)))
    y[1, 2, 3] = np.nan
    assert np.isfinite(metric(x, y))
    assert np.isnan(metric(x, y, skipna=False))


@METRICS
def test_dimensions_stay_and_datasets_are_bands(metric):
    x, y = image(2, 3, 64, 64), image(2, 3, 64, 64, seed=1)
    found = metric(x, y)
    assert found.dims == ("time",)
    np.testing.assert_allclose(found, [float(metric(x[n], y[n])) for n in range(2)], rtol=1e-12)
    pooled = metric(x, y, dim=("time", "y", "x"))
    assert float(pooled) == pytest.approx(float(found.mean()), rel=1e-12)
    names = {0: "B05", 1: "B06", 2: "B07"}
    sets = [xr.Dataset({name: part[:, n] for n, name in names.items()}) for part in (x, y)]
    np.testing.assert_allclose(metric(*sets), found, rtol=1e-12)


@METRICS
def test_nothing_is_computed_until_asked(metric):
    def fail(_):
        raise AssertionError

    x = image(3, 64, 64).chunk(y=40)
    broken = x.copy(data=da.map_blocks(fail, x.data, dtype=float, meta=np.empty((0, 0, 0))))
    lazy = metric(broken, image(3, 64, 64), mask=(broken[0] > 0), weights=broken[0])
    with pytest.raises(AssertionError):
        lazy.compute()


def test_equal_calls_are_equal_graphs():
    x, y = image(3, 64, 64).chunk(y=32), image(3, 64, 64, seed=1).chunk(y=32)
    for metric in (sam, q2n):
        assert metric(x, y).data.name == metric(x, y).data.name


def test_it_says_what_it_is():
    x = image(3, 64, 64).assign_attrs(units="1", history="made")
    assert sam(x, x).name == "sam"
    assert sam(x, x).attrs == {"long_name": "spectral angle", "units": "degree"}
    attrs = q2n(x, x, block=16, keep_attrs=True).attrs
    assert (attrs["block"], attrs["history"]) == (16, "made")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"block": 1}, "block=1: give the edge"),
        ({"pad": "reflect"}, "pad='reflect': use None"),
        ({"min_valid": 1.5}, r"min_valid=1.5: give a share"),
        ({"dim": "y"}, "lacks x"),
        ({"band_dim": "wavelength"}, "has no dimension 'wavelength'"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    x = image(3, 64, 64)
    with pytest.raises(UsageError, match=words):
        q2n(x, x, **options)
