"""MS-SSIM and VIF: oracle values, single scales by hand, and images too small."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from decametric.errors import UsageError
from decametric.metrics.pyramid import EXPONENTS, ms_ssim, vif
from decametric.metrics.sliding import gaussian
from decametric.metrics.window import ssim
from metrics import oracle


def image(*shape, seed=0):
    return xr.DataArray(
        np.random.default_rng(seed).random(shape), dims=("band", "y", "x")[-len(shape) :]
    )


def crop16(data):
    rows, columns = (data.sizes[name] // 16 * 16 for name in ("y", "x"))
    return data.isel(y=slice(rows), x=slice(columns))


@pytest.mark.parametrize(("dtype", "chunk"), [("uint16", None), ("float32", 100)])
@pytest.mark.parametrize("pair", oracle.PAIRS)
def test_oracle(shared_data, pair, dtype, chunk):
    known = oracle.pair(shared_data, pair)
    x, y = known.reference.astype(dtype), known.test.astype(dtype)
    if chunk:
        x, y = x.chunk(band=1, y=chunk, x=chunk), y.chunk(y=chunk)
    found = ms_ssim(crop16(x), crop16(y), data_range=oracle.L)
    np.testing.assert_allclose(found, known.windowed["ms_ssim_crop16"], rtol=1e-9)
    found = vif(x, y, data_range=oracle.L)
    np.testing.assert_allclose(found, known.windowed["vifp_255"], rtol=1e-9)


def test_every_scale_of_ms_ssim_by_hand():
    x, y = image(191, 178), image(191, 178) + 0.5 * image(191, 178, seed=1)
    a, b, expected = x, y, 1.0
    for exponent in EXPONENTS:
        last = exponent == EXPONENTS[-1]
        expected *= (ssim(a, b, data_range=1.0) if last else structure(a, b)) ** exponent
        a, b = (data.coarsen(y=2, x=2, boundary="trim").mean() for data in (a, b))
    assert float(ms_ssim(x, y, data_range=1.0)) == pytest.approx(float(expected), rel=1e-12)


def structure(x, y):
    """Mean of the contrast-structure term of SSIM, written out."""
    taps = np.outer(*2 * [gaussian(11, 1.5)])

    def mean(values):
        windows = np.lib.stride_tricks.sliding_window_view(values, (11, 11))
        return np.einsum("yxij,ij->yx", windows, taps)

    a, b = x.values, y.values
    mixed = mean(a * b) - mean(a) * mean(b)
    powers = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    return ((2 * mixed + 9e-4) / (powers + 9e-4)).mean()


def test_equal_but_for_brightness():
    x = xr.full_like(image(176, 176), 100)
    light = float(ssim(x, x + 10, data_range=10000))
    expected = light ** EXPONENTS[-1]
    assert float(ms_ssim(x, x + 10, data_range=10000)) == pytest.approx(expected, rel=1e-12)


def test_opposite_structure_counts_as_none():
    x = image(176, 176)
    assert float(ms_ssim(x, 1 - x, data_range=1.0)) == 0


def test_contrast_is_information():
    x = image(64, 64)
    blurred = x.rolling(y=3, x=3, center=True, min_periods=1).mean()
    assert float(vif(x, blurred, data_range=1.0)) < 0.5
    assert float(vif(x, 2 * x, data_range=1.0)) > 1
    assert float(vif(x, 1 - x, data_range=1.0)) == 0
    assert float(vif(x, x + 5, data_range=1.0)) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(("metric", "smallest"), [(ms_ssim, 176), (vif, 41)])
def test_images_too_small_for_the_coarsest_scale_are_refused(metric, smallest):
    x = image(smallest, smallest + 3)
    assert float(metric(x, x, data_range=1.0)) == 1
    assert float(metric(x.chunk(y=5, x=9), x, data_range=1.0)) == 1
    with pytest.raises(UsageError, match=f"needs {smallest} x {smallest}"):
        metric(x[1:], x[1:], data_range=1.0)


@pytest.mark.parametrize("metric", [ms_ssim, vif])
def test_the_data_range_is_required(metric):
    x = image(176, 176)
    with pytest.raises(UsageError, match="data_range=None"):
        metric(x, x)
