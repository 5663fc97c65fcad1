"""What all metrics of windows share: chunks, gaps, weights, types, no reading in advance."""

from __future__ import annotations

from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from decametric.errors import UsageError
from decametric.metrics import pyramid
from decametric.metrics.detail import scc
from decametric.metrics.pyramid import ms_ssim, vif
from decametric.metrics.sliding import filtered, gaussian, window_moments
from decametric.metrics.window import ssim, uiq

SMALL = {
    "ssim": partial(ssim, data_range=1.0),
    "ssim uniform": partial(ssim, data_range=1.0, window="uniform", size=7, sample_covariance=True),
    "ssim partial": partial(ssim, data_range=1.0, min_valid=0.5),
    "uiq": uiq,
    "uiq 5": partial(uiq, window=5),
    "scc": scc,
    "scc sobel": partial(scc, method="sobel"),
}
LARGE = {"ms_ssim": partial(ms_ssim, data_range=1.0), "vif": partial(vif, data_range=1.0)}
SHAPE = {**dict.fromkeys(SMALL, (3, 24, 31)), **dict.fromkeys(LARGE, (2, 192, 208))}
METRICS = SMALL | LARGE
EVERY = pytest.mark.parametrize("name", METRICS)


def image(*shape, seed=0, dtype="float32"):
    values = np.random.default_rng(seed).random(shape).astype(dtype)
    return xr.DataArray(values, dims=("band", "y", "x")[-len(shape) :])


def two(name, dtype="float32"):
    """Two images that are alike, so that no score is zero but for rounding."""
    x = image(*SHAPE[name], dtype=dtype)
    return x, x + 0.5 * image(*SHAPE[name], seed=1, dtype=dtype)


@EVERY
def test_an_image_is_like_itself(name):
    x, _ = two(name)
    assert (METRICS[name](x, x) == 1).all()
    assert (METRICS[name](x.chunk(y=50, x=70), x) == 1).all()


@EVERY
def test_without_contrast_images_are_alike_or_there_is_no_number(name):
    x = xr.full_like(two(name)[0], 0.1)
    found = METRICS[name](x, x)
    # What looks at detail only has nothing to say; Sobel's border of zeros makes some.
    assert np.isnan(found).all() if name in ("scc", "vif") else (found == 1).all()


@pytest.mark.parametrize("name", [name for name in METRICS if name != "vif"])
def test_symmetric(name):
    x, y = two(name)
    np.testing.assert_allclose(METRICS[name](x, y), METRICS[name](y, x), rtol=1e-13)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.filterwarnings("ignore:Increasing number of chunks")  # that is the point
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_the_chunks_do_not_matter(name, data):
    x, y = (image[:2, :17, :21] for image in two(name))
    whole = SMALL[name](x, y)
    sizes = st.fixed_dictionaries(
        {"band": st.integers(1, 2), "y": st.integers(1, 17), "x": st.integers(1, 21)}
    )
    pieces = SMALL[name](x.chunk(data.draw(sizes)), y.chunk(data.draw(sizes)))
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(pieces, whole, rtol=1e-12)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("chunks", [{"y": 1}, {"y": (100, 77), "x": 64}])
@pytest.mark.parametrize("masked", [False, True])
def test_the_chunks_do_not_matter_to_pyramids(name, chunks, masked, monkeypatch):
    x, y = image(177, 301), image(177, 301) + 0.5 * image(177, 301, seed=1)
    if masked:
        x[5, 7] = np.nan
    weights = image(177, 301, seed=2) + 1 if masked else None
    whole = LARGE[name](x, y, weights=weights)
    monkeypatch.setattr(pyramid, "BLOCK", 64)
    pieces = LARGE[name](x.chunk(chunks), y.chunk(y=50), weights=weights)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(pieces, whole, rtol=1e-12)


@EVERY
def test_a_chunk_of_many_strips_is_one_image(name, monkeypatch):
    x, y = two(name)
    whole = METRICS[name](x, y)
    monkeypatch.setattr("decametric.metrics.sliding.STRIP", 100)
    monkeypatch.setattr("decametric.metrics.reduction.SLAB", 300)
    np.testing.assert_allclose(METRICS[name](x, y), whole, rtol=1e-12)


@EVERY
def test_the_order_of_the_axes_does_not_matter(name):
    x, y = two(name)
    found = METRICS[name](x.transpose("x", "band", "y"), y.transpose("y", "x", "band"))
    np.testing.assert_allclose(found, METRICS[name](x, y), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "vif"])
@pytest.mark.parametrize("dim", ["y", "x"])
def test_a_flipped_image_scores_the_same(name, dim):
    x, y = two(name)
    flipped = METRICS[name](
        x.isel({dim: slice(None, None, -1)}), y.isel({dim: slice(None, None, -1)})
    )
    np.testing.assert_allclose(flipped, METRICS[name](x, y), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ("scc", "scc sobel")])
def test_bands_named_together_are_averaged(name):
    x, y = two(name)
    mean = SMALL[name](x, y).mean()
    assert float(SMALL[name](x, y, dim=...)) == pytest.approx(float(mean), rel=1e-12)


# Gaps and weights


@pytest.mark.parametrize(
    "name", [name for name in METRICS if name not in ("scc sobel", "ssim partial")]
)
def test_masking_equals_cropping(name):
    _, rows, columns = SHAPE[name]
    x, y = (
        image(2, rows + 48, columns + 40, seed=seed) + image(2, rows + 48, columns + 40, seed=9)
        for seed in (0, 1)
    )
    crop = {"y": slice(16, 16 + rows), "x": slice(32, 32 + columns)}
    inside = xr.zeros_like(x[0], bool)
    inside[crop] = True
    cropped = METRICS[name](x[:, crop["y"], crop["x"]], y[:, crop["y"], crop["x"]])
    np.testing.assert_allclose(METRICS[name](x, y, mask=inside), cropped, rtol=1e-12)
    np.testing.assert_allclose(METRICS[name](x.where(inside), y), cropped, rtol=1e-12)
    np.testing.assert_allclose(METRICS[name](x, y.where(inside, np.inf)), cropped, rtol=1e-12)
    lazy = METRICS[name](x.chunk(y=30, x=300), y, mask=inside, skipna=False)
    np.testing.assert_allclose(lazy, cropped, rtol=1e-12)


@EVERY
def test_equal_weights_change_nothing(name):
    x, y = two(name)
    for weight in (1, 0.3):
        found = METRICS[name](x, y, weights=xr.full_like(x, weight))
        np.testing.assert_allclose(found, METRICS[name](x, y), rtol=1e-12)


@EVERY
def test_a_weight_of_zero_is_a_mask(name):
    x, y = two(name)
    away = image(*SHAPE[name], seed=3) > 0.005
    found = METRICS[name](x, y, weights=5 * away.astype("uint8"))
    np.testing.assert_allclose(found, METRICS[name](x, y, mask=away), rtol=1e-12)
    np.testing.assert_allclose(found, METRICS[name](x.where(away), y), rtol=1e-12)


@EVERY
def test_a_window_counts_with_the_mean_weight_of_its_pixels(name):
    # Two halves far apart: their windows weigh 1 and 3, those between are masked.
    _, rows, columns = SHAPE[name]
    x, y = image(2 * rows + 16, columns), image(2 * rows + 16, columns, seed=1)
    y = x + xr.concat([0.2 * y[: rows + 8], 0.9 * y[rows + 8 :]], "y")
    weights = xr.concat([xr.ones_like(x[:rows]), 0 * x[:16], 3 + 0 * x[:rows]], "y")
    first, second = (
        METRICS[name](x, y, weights=weights * keep) for keep in (weights == 1, weights == 3)
    )
    found = float(METRICS[name](x, y, weights=weights))
    if name.startswith(("ssim", "uiq")):
        assert found == pytest.approx(float(0.25 * first + 0.75 * second), rel=1e-12)
    else:
        assert float(first) > found > float(second)


@EVERY
def test_without_a_valid_window_there_is_no_number(name):
    x, y = two(name)
    metric = METRICS[name]
    assert np.isnan(metric(x.where(x > 2), y)).all()
    assert np.isnan(metric(x, y, mask=x > 2)).all()
    assert np.isnan(metric(x, y, weights=x * 0)).all()
    assert np.isnan(metric(x.where(x > 2).chunk(y=20), y)).all()


@EVERY
def test_skipna_false_lets_gaps_through(name):
    x, y = two(name)
    gap = x.copy()
    gap[:, 20, 3] = np.nan
    assert np.isnan(METRICS[name](gap, y, skipna=False)).all()
    assert np.isnan(METRICS[name](gap.chunk(y=7), y, skipna=False)).all()
    away = xr.ones_like(x[0], bool)
    away[20, 3] = False
    expected = METRICS[name](gap, y)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(METRICS[name](gap, y, mask=away, skipna=False), expected, rtol=1e-12)


# Types and laziness


@EVERY
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_the_type_of_the_numbers_does_not_matter(name, dtype):
    x, y = ((100 * data).astype(dtype) for data in two(name))
    options = {} if name.startswith(("uiq", "scc")) else {"data_range": "uint8"}
    expected = METRICS[name](x.astype("f8"), y.astype("f8"), **options)
    np.testing.assert_array_equal(METRICS[name](x, y, **options), expected)


def explosive(shape):
    """A lazy image that fails when it is read."""

    def fail(_):
        message = "computed"
        raise AssertionError(message)

    values = da.zeros(shape, chunks=50, dtype="f4").map_blocks(
        fail, dtype="f4", meta=np.empty(0, "f4")
    )
    return xr.DataArray(values, dims=("band", "y", "x"))


@EVERY
def test_nothing_is_computed_in_advance(name):
    never = explosive(SHAPE[name])
    found = METRICS[name](never, never, mask=never > 0, weights=never)
    assert isinstance(found.data, da.Array)
    with pytest.raises(AssertionError, match="computed"):
        found.compute(scheduler="synchronous")


@EVERY
def test_equal_calls_have_equal_names(name):
    x, y = (data.chunk(y=50) for data in two(name))
    assert METRICS[name](x, y).data.name == METRICS[name](x, y).data.name


@EVERY
def test_datasets_are_scored_variable_by_variable(name):
    x, y = two(name)
    found = METRICS[name](x.to_dataset("band"), y.to_dataset("band"))
    np.testing.assert_array_equal(found.to_dataarray("band"), METRICS[name](x, y))


@EVERY
def test_windows_need_both_axes(name):
    x, y = two(name)
    with pytest.raises(UsageError, match="lacks x"):
        METRICS[name](x, y, dim="y")


# The sums over windows


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 20), offset=st.sampled_from([0.0, 1e4, 1e8]))
def test_moments_are_those_of_every_window(size, offset):
    values = np.random.default_rng(size).random((2, 21, 25)) + offset
    windows = np.lib.stride_tricks.sliding_window_view(values, (size, size), axis=(1, 2))
    centred = windows - windows.mean((-2, -1), keepdims=True)
    sums, squares = window_moments(values, size)
    np.testing.assert_allclose(sums, windows.sum((-2, -1)), rtol=1e-13)
    np.testing.assert_allclose(squares, (centred**2).sum((-2, -1)), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 8, 11])
def test_filters_look_at_whole_windows_only(size):
    taps = gaussian(size, 1.5)
    assert sum(taps) == pytest.approx(1)
    values = np.random.default_rng(0).random((3, 14, 12))
    windows = np.lib.stride_tricks.sliding_window_view(values, (size, size), axis=(1, 2))
    expected = (windows * np.outer(taps, taps)).sum((-2, -1))
    np.testing.assert_allclose(filtered(values, taps), expected, rtol=1e-12)
