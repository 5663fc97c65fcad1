"""SCC: oracle values, SciPy's filters, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import correlate, sobel

from decametric.errors import UsageError
from decametric.metrics.detail import scc
from metrics import oracle

ALL = ("band", "y", "x")


def image(*shape, seed=0):
    return xr.DataArray(np.random.default_rng(seed).random(shape), dims=ALL[-len(shape) :])


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("pair", oracle.PAIRS)
def test_oracle(shared_data, pair, dtype):
    known = oracle.pair(shared_data, pair)
    x, y = known.reference.astype(dtype), known.test.astype(dtype).chunk(y=70, x=90)
    np.testing.assert_allclose(scc(x, y), known.windowed["scc_laplacian_global"], rtol=1e-9)
    found = scc(x, y, dim=ALL, method="sobel")
    np.testing.assert_allclose(found, known.windowed["scc_sobel_uncentred"], rtol=1e-9)


def test_it_is_the_correlation_of_filtered_images():
    x, y = image(12, 15), image(12, 15) + image(12, 15, seed=1)
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8
    a, b = (correlate(data.values, kernel)[1:-1, 1:-1].ravel() for data in (x, y))
    assert float(scc(x, y)) == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-12)


def test_sobel_looks_at_an_image_with_a_border_of_zeros():
    x, y = image(12, 15), image(12, 15, seed=1)
    a, b = (
        np.hypot(*(sobel(data.values[1:-1, 1:-1], axis, mode="constant") for axis in (0, 1)))
        for data in (x, y)
    )
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert float(scc(x, y, method="sobel")) == pytest.approx(expected, rel=1e-12)


def test_gain_and_offset_do_not_matter():
    x = image(12, 15)
    assert float(scc(x, 3 * x + 7)) == pytest.approx(1, rel=1e-12)
    assert float(scc(x, 7 - 3 * x)) == pytest.approx(-1, rel=1e-12)


@pytest.mark.parametrize("gain", [1.1, 0.3, -7.0])
def test_planes_have_no_detail(gain):
    rows, cols = np.indices((40, 50))
    plane = xr.DataArray(0.1 * rows + 0.03 * cols + 1000, dims=("y", "x"))
    assert np.isnan(scc(plane, gain * plane))
    assert np.isnan(scc(plane, image(40, 50)))


def test_the_values_of_the_border_do_not_matter_to_sobel():
    x, y = image(12, 15), image(12, 15, seed=1)
    other = x.copy()
    other[0], other[:, -1] = 7, -7
    assert float(scc(other, y, method="sobel")) == float(scc(x, y, method="sobel"))


def test_an_unknown_method_is_refused():
    with pytest.raises(UsageError, match="'laplacian' or 'sobel'"):
        scc(image(9, 9), image(9, 9), method="canny")
