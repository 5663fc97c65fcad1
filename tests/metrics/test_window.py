"""SSIM and UIQ: oracle values, scikit-image, every window by hand, and what is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import xarray as xr
from skimage.metrics import structural_similarity

from decametric.errors import UsageError
from decametric.metrics.window import ssim, uiq
from metrics import oracle

CHUNKS = [{}, {"band": 1, "y": 60, "x": 75}, {"band": 4, "y": 1, "x": -1}, {"y": (100, 7, 69)}]
UNIFORM = {"window": "uniform", "size": 7, "sample_covariance": True}


def image(*shape, seed=0):
    return xr.DataArray(
        np.random.default_rng(seed).random(shape), dims=("band", "y", "x")[-len(shape) :]
    )


def constant(value, dtype="float64"):
    return xr.DataArray(np.full((3, 64, 64), value, dtype), dims=("band", "y", "x"))


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("pair", oracle.PAIRS)
def test_oracle(shared_data, pair, dtype):
    known = oracle.pair(shared_data, pair)
    x, y, values = known.reference.astype(dtype), known.test.astype(dtype), known.windowed
    found = {
        "ssim_gauss11": ssim(x, y, data_range=oracle.L),
        "ssim_uniform7_samplecov": ssim(x, y, data_range=oracle.L, **UNIFORM),
        "uiq_8": uiq(x, y),
        "uiq_32": uiq(x, y, window=32),
    }
    for name, score in found.items():
        np.testing.assert_allclose(score, values[name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_oracle_of_masked_images(shared_data, chunks):
    known = oracle.pair(shared_data, "synth_a")
    values = oracle.expected(shared_data, "masked", "synth_a", "values")
    x, y, mask = known.reference.chunk(chunks), known.test, oracle.mask(shared_data)
    found = {
        "ssim_gauss11_strict": ssim(x, y, data_range=oracle.L, mask=mask),
        "ssim_gauss11_weighted_centre": ssim(x, y, data_range=oracle.L, mask=mask, min_valid=0),
        "uiq_8_strict": uiq(x, y, mask=mask),
    }
    for name, score in found.items():
        np.testing.assert_allclose(score, values[name], rtol=1e-9, err_msg=name)


def test_bright_flat_images_in_single_precision():
    random = np.random.RandomState(0)
    first, second = random.standard_normal((2, 600, 600))
    x = (9000 + 2 * first).astype("f4")
    y = (x + second).astype("f4")
    assert hashlib.sha256(x.tobytes()).hexdigest().startswith("36e3904c9fdc71e3")
    assert hashlib.sha256(y.tobytes()).hexdigest().startswith("a4fa2216c140ee61")
    images = [xr.DataArray(values, dims=("y", "x")) for values in (x, y)]
    assert float(uiq(*images)) == pytest.approx(0.8859730394781402, rel=1e-9)


@pytest.mark.parametrize("shape", [(11, 11), (30, 41)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}),
        (UNIFORM, {"win_size": 7}),
        (UNIFORM | {"sample_covariance": False}, {"win_size": 7, "use_sample_covariance": False}),
    ],
)
def test_it_is_that_of_scikit_image(shape, ours, theirs):
    x, y = image(*shape), image(*shape, seed=1)
    expected = structural_similarity(x.values, y.values, data_range=1.0, **theirs)
    assert float(ssim(x, y, data_range=1.0, **ours)) == pytest.approx(expected, rel=1e-11)


def test_every_window_by_hand():
    x, y = image(14, 15), image(14, 15) + image(14, 15, seed=1)
    weights = xr.DataArray(np.random.default_rng(2).integers(0, 40, (14, 15)), dims=("y", "x"))
    scores, counts = [], []
    for row in range(14 - 4):
        for column in range(15 - 4):
            window = (slice(row, row + 5), slice(column, column + 5))
            a, b, w = (data.values[window] for data in (x, y, weights))
            if not w.all():
                continue
            mixed = 2 * np.cov(a.ravel(), b.ravel())[0, 1] / (a.var(ddof=1) + b.var(ddof=1))
            light = 2 * a.mean() * b.mean() / (a.mean() ** 2 + b.mean() ** 2)
            scores.append(mixed * light)
            counts.append(w.mean())
    assert 10 < len(scores) < 110
    expected = np.average(scores, weights=counts)
    assert float(uiq(x, y, window=5, weights=weights)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("min_valid", [0, 0.6, 0.9])
def test_partial_windows_by_hand(min_valid):
    x, y = image(14, 15), image(14, 15, seed=1)
    mask = image(14, 15, seed=2) > 0.25
    scores = []
    for row in range(14 - 4):
        for column in range(15 - 4):
            window = (slice(row, row + 5), slice(column, column + 5))
            a, b, valid = (data.values[window] for data in (x, y, mask))
            if not valid[2, 2] or valid.mean() < min_valid:
                continue
            a, b = a[valid], b[valid]
            light = (2 * a.mean() * b.mean() + 1e-4) / (a.mean() ** 2 + b.mean() ** 2 + 1e-4)
            mixed = 2 * np.cov(a, b, ddof=0)[0, 1] + 9e-4
            scores.append(light * mixed / (a.var() + b.var() + 9e-4))
    options = {"data_range": 1.0, "window": "uniform", "size": 5, "min_valid": min_valid}
    found = float(ssim(x, y, mask=mask, **options))
    assert found == pytest.approx(np.mean(scores), rel=1e-12)


def test_constant_images():
    np.testing.assert_allclose(uiq(constant(100), constant(110)), 0.995475113122172, rtol=1e-12)
    found = ssim(constant(100), constant(110), data_range=10000)
    np.testing.assert_allclose(found, 0.9968847352024922, rtol=1e-12)
    assert (uiq(constant(0), constant(0)) == 1).all()
    assert (uiq(constant(0.1), constant(0.1)) == 1).all()
    assert (uiq(constant(0), constant(5)) == 0).all()


def test_rounding_is_no_contrast():
    noise = 1e-9 * image(64, 64)
    np.testing.assert_allclose(uiq(1 + noise, 1 - noise), 1, rtol=1e-8)


def test_pure_gain():
    x = image(3, 30, 40) + 0.1
    np.testing.assert_allclose(uiq(x, 2 * x), 0.64, rtol=1e-12)


def test_scaling_the_range_with_the_data_changes_nothing():
    x, y = image(30, 40), image(30, 40, seed=1)
    expected = float(ssim(x, y, data_range="reflectance"))
    assert float(ssim(1e4 * x, 1e4 * y, data_range=1e4)) == pytest.approx(expected, rel=1e-12)


def test_an_image_smaller_than_the_window_has_no_number():
    x = image(10, 40)
    assert np.isnan(ssim(x, x, data_range=1.0))
    assert np.isnan(ssim(x.chunk(x=7), x, data_range=1.0))
    assert np.isnan(uiq(x[:, :7], x[:, :7]))
    assert float(uiq(x[:8, :8], x[:8, :8])) == 1


def test_the_result_says_what_it_is():
    x = image(3, 12, 12)
    found = ssim(x, x, data_range="12bit")
    assert found.name == "ssim"
    assert found.dims == ("band",)
    assert found.attrs["data_range"] == 4095
    assert uiq(x, x).attrs["window"] == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "data_range=None"),
        ({"data_range": 0}, "data_range=0"),
        ({"data_range": 1, "window": "round"}, "'round'"),
        ({"data_range": 1, "size": 8}, "size=8"),
        ({"data_range": 1, "size": 1}, "size=1"),
        ({"data_range": 1, "sigma": 0}, "sigma=0"),
        ({"data_range": 1, "min_valid": 1.5}, "min_valid=1.5"),
    ],
)
def test_refused(options, message):
    x = image(20, 20)
    with pytest.raises(UsageError, match=message):
        ssim(x, x, **options)


@pytest.mark.parametrize("window", [1, 0, 2.5])
def test_refused_windows(window):
    with pytest.raises(UsageError, match="window="):
        uiq(image(20, 20), image(20, 20), window=window)
