"""Metrics of small windows: SSIM and UIQ, averaged over all windows inside the image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import UsageError
from decametric.metrics.pairs import (
    SPATIAL,
    Data,
    Dims,
    Options,
    by_variable,
    data_range_of,
    documented,
    pair,
)
from decametric.metrics.reduction import Floats, finish
from decametric.metrics.sliding import (
    filtered,
    gaussian,
    reduce_windows,
    share,
    sum_and_difference,
    total,
    window_moments,
    window_weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

FLAT = 1e-10
"""A variance below this share of the squared mean is rounding, not contrast."""


@documented
def ssim(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    data_range: float | str | None = None,
    window: str = "gaussian",
    size: int = 11,
    sigma: float = 1.5,
    sample_covariance: bool = False,
    min_valid: float = 1.0,
) -> Data:
    r"""Structural similarity: whether windows agree in brightness, contrast and pattern.

    .. math:: \frac{1}{n} \sum
              \frac{2 \bar x \bar y + C_1}{\bar x^2 + \bar y^2 + C_1} \cdot
              \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}

    with :math:`C_1 = (0.01 L)^2`, :math:`C_2 = (0.03 L)^2` and the data range L, over all windows
    inside the image (Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861; the
    defaults are theirs). Between -1 and 1, best 1. Windows that touch a pixel which does not count
    are left out; the others count with the mean weight of their pixels.

    Parameters
    ----------
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values, L; required, because a wrong one shifts every score.
    window : {"gaussian", "uniform"}
        Weights inside the window.
    size : int
        Edge of the window in pixels, odd.
    sigma : float
        Of the Gaussian, in pixels.
    sample_covariance : bool
        Variances for n - 1 instead of n; with ``window="uniform", size=7`` the default of
        scikit-image.
    min_valid : float
        Keep a window if its centre is valid and this share of its pixels, with the moments of
        those; all of them unless told otherwise. Lower it for scenes full of small gaps.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no window is valid, as in an image
        smaller than the window.

    Raises
    ------
    UsageError
        If `data_range` is missing, the window cannot be, or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> truth = xr.DataArray(np.full((16, 16), 100), dims=("y", "x"))
    >>> float(ssim(truth, truth + 10, data_range=10000).round(6))
    0.996885
    """
    edge = int(size)
    if edge != size or edge % 2 == 0 or edge < 3 or sigma <= 0:  # noqa: PLR2004
        message = f"size={size}, sigma={sigma}: a window has an odd edge from 3 pixels and a width."
        raise UsageError(message)
    if not 0 <= min_valid <= 1:
        message = f"min_valid={min_valid}: give a share of the pixels of a window, 0 to 1."
        raise UsageError(message)
    span = data_range_of(data_range)
    local = partial(
        _ssim,
        taps=taps_of(window, edge, sigma),
        span=span,
        sample=sample_covariance,
        min_valid=min_valid,
    )
    names = {"name": "ssim", "long_name": "structural similarity", "units": "1"}
    parameters = {"data_range": span, "window": window, "size": edge, "min_valid": min_valid}
    options = Options(dim, mask, weights, skipna, keep_attrs)
    return _score(reference, test, options, local, edge, **names, **parameters)


@documented
def uiq(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    window: int = 8,
) -> Data:
    r"""Universal image quality index: like `ssim` without constants, whatever the data range.

    .. math:: \frac{1}{n} \sum
              \frac{2 \bar x \bar y}{\bar x^2 + \bar y^2} \cdot
              \frac{2 \sigma_{xy}}{\sigma_x^2 + \sigma_y^2}

    over all windows inside the image (Wang and Bovik 2002, doi:10.1109/97.995823). A quotient of
    zero over zero counts as 1: two flat windows differ in their means only. Between -1 and 1, best
    1. Sensitive where there is little contrast, as over water. Windows that touch a pixel which
    does not count are left out; the others count with the mean weight of their pixels.

    Parameters
    ----------
    window : int
        Edge of the windows in pixels; 8 as its authors, 32 as usual for pansharpening.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no window is valid, as in an image
        smaller than the window.

    Raises
    ------
    UsageError
        If `window` is below 2 or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> truth = xr.DataArray(np.arange(100.0).reshape(10, 10), dims=("y", "x"))
    >>> float(uiq(truth, 2 * truth).round(9))
    0.64
    """
    edge = int(window)
    if edge != window or edge < 2:  # noqa: PLR2004
        message = f"window={window}: give the edge of the windows, 2 pixels or more."
        raise UsageError(message)
    local = partial(_uiq, size=edge)
    names = {"name": "uiq", "long_name": "universal image quality index", "units": "1"}
    options = Options(dim, mask, weights, skipna, keep_attrs)
    return _score(reference, test, options, local, edge, **names, window=edge)


def taps_of(window: str, size: int, sigma: float) -> tuple[float, ...]:
    """Weights of the pixels of a window along one axis.

    Raises
    ------
    UsageError
        If the window is unknown.
    """
    if window == "gaussian":
        return gaussian(size, sigma)
    if window == "uniform":
        return (1 / size,) * size
    message = f"window={window!r}: use 'gaussian' or 'uniform'."
    raise UsageError(message)


def similarity(
    x: Floats,
    y: Floats,
    present: Floats | None,
    *,
    taps: tuple[float, ...],
    span: float,
    sample: bool,
) -> tuple[Floats, Floats]:
    """Luminance and contrast-structure term of SSIM in every window.

    Parameters
    ----------
    x, y : float64 arrays (y, x)
        0 where a pixel does not count.
    present : float64 array or None
        Share of each window, by `taps`, that counts; None: all of all.
    taps : tuple of float
        Weights of the window along one axis.
    span : float
        Data range.
    sample : bool
        Whether variances are for n - 1.
    """
    both = sum_and_difference(x, y)
    mean, square = filtered(both, taps), filtered(both * both, taps)
    if present is not None:
        mean, square = mean / present, square / present
    variance = square - mean * mean
    if sample:
        variance *= len(taps) ** 2 / (len(taps) ** 2 - 1)
    return _alike(mean * mean, 0.01 * span), _alike(variance, 0.03 * span)


def _alike(powers: Floats, constant: float) -> Floats:
    """2 xy + C over x^2 + y^2 + C, from the powers of u and v (see `sum_and_difference`)."""
    u, v = powers
    likeness: Floats = (u - v + 2 * constant**2) / (u + v + 2 * constant**2)
    return likeness


def _ssim(
    x: Floats,
    y: Floats,
    w: Floats | None,
    *,
    taps: tuple[float, ...],
    span: float,
    sample: bool,
    min_valid: float,
) -> Floats:
    """State of the windows of a plane."""
    if w is None or min_valid == 1:
        present, counts = None, window_weights(w, len(taps))
    else:
        present, counts = _partial_windows(w, taps, min_valid)
    luminance, structure = similarity(x, y, present, taps=taps, span=span, sample=sample)
    return total(luminance * structure, counts)


def _partial_windows(w: Floats, taps: tuple[float, ...], min_valid: float) -> tuple[Floats, Floats]:
    """Share of each window that is valid by its taps (1 where it is left out), and its weight."""
    valid = w > 0
    present = filtered(valid, taps)
    pixels, weight = filtered(np.stack([valid, w]), (1,) * len(taps))
    inner = len(taps) // 2
    kept = valid[inner:-inner, inner:-inner] & (pixels >= min_valid * len(taps) ** 2)
    return np.where(kept, present, 1), np.where(kept, weight, 0) / np.maximum(pixels, 1)


def _uiq(x: Floats, y: Floats, w: Floats | None, *, size: int) -> Floats:
    """State of the windows of a plane."""
    sums, squares = window_moments(sum_and_difference(x, y), size)
    sums *= sums
    brightness, contrast = sums[0] + sums[1], squares[0] + squares[1]
    contrast[size**2 * contrast <= FLAT * brightness] = 0
    quality = _ratio(sums[0] - sums[1], brightness)
    quality *= _ratio(squares[0] - squares[1], contrast)
    return total(quality, window_weights(w, size))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, 1 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.ones_like(numerator), where=denominator != 0)


def _score(
    reference: Data,
    test: Data,
    options: Options,
    local: Callable[..., Floats],
    edge: int,
    **facts: Any,  # noqa: ANN401  (attributes of the result)
) -> Data:
    """Mean over the windows of one band, for every band."""

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        both = pair(x, y, each)
        return finish(reduce_windows(both, local, edge), share, both, each, **facts)

    return by_variable(metric, reference, test, options)
