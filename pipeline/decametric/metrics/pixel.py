"""Metrics of single pixels: sums and moments in one pass, no window, no halo.

All of them stand on the same eight numbers for each band, so that several asked for together read
the images once (`decametric.metrics.scores`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import UsageError
from decametric.metrics.moments import (
    ABSOLUTE,
    CONTRAST,
    DIFFERENCE,
    MEAN_X,
    MEAN_Y,
    SQUARED,
    WEIGHT,
    XX,
    XY,
    YY,
    moments_of,
)
from decametric.metrics.pairs import (
    SPATIAL,
    Data,
    Dims,
    Options,
    by_variable,
    data_range_of,
    documented,
    pair,
    stacked,
)
from decametric.metrics.reduction import OF_DATA, Floats, finish

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr


@documented
def rmse(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
) -> Data:
    r"""Root mean square error: how far pixels are off, large errors above all.

    .. math:: \sqrt{\frac{1}{n} \sum (y - x)^2}

    In the units of the data, at least 0, best 0. Over ``("band", "y", "x")`` the squares of all
    bands are pooled, which is not the mean of the errors of the bands.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Raises
    ------
    UsageError
        If the grids differ, by however little, or a dimension is missing.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[0.0, 0.0]], dims=("y", "x"))
    >>> float(rmse(truth, truth + 0.5))
    0.5
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    facts = {"name": "rmse", "long_name": "root mean square error", "units": OF_DATA}
    return _score(reference, test, options, _rmse, **facts)


@documented
def mae(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
) -> Data:
    r"""Mean absolute error: how far pixels are off, without weighing outliers up.

    .. math:: \frac{1}{n} \sum |y - x|

    In the units of the data, at least 0, best 0; never above `rmse`.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[0.0, 0.0]], dims=("y", "x"))
    >>> float(mae(truth, xr.DataArray([[0.5, 0.0]], dims=("y", "x"))))
    0.25
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    facts = {"name": "mae", "long_name": "mean absolute error", "units": OF_DATA}
    return _score(reference, test, options, _mae, **facts)


@documented
def bias(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
) -> Data:
    r"""Mean error, test minus reference: whether the image is too bright or too dark.

    .. math:: \frac{1}{n} \sum (y - x)

    In the units of the data, best 0.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[0.0, 1.0]], dims=("y", "x"))
    >>> float(bias(truth, truth - 0.25))
    -0.25
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    facts = {"name": "bias", "long_name": "mean error", "units": OF_DATA}
    return _score(reference, test, options, _bias, **facts)


@documented
def psnr(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    data_range: float | str | None = None,
) -> Data:
    r"""Peak signal-to-noise ratio.

    .. math:: 10 \log_{10} \frac{L^2}{\frac{1}{n} \sum (y - x)^2}

    with the data range L. In dB, best :math:`+\infty`. It tells no more than `rmse`; use it where
    others report it, and `sre` to compare bands of different brightness.

    Parameters
    ----------
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values, L; required, because a wrong one shifts every score.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Raises
    ------
    UsageError
        If `data_range` is missing or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[0.0, 1.0]], dims=("y", "x"))
    >>> float(psnr(truth, truth + 0.1, data_range="reflectance").round(9))
    20.0
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    span = data_range_of(data_range)

    def decibels(state: Floats) -> Floats:
        return _decibels(span**2 / _mse(state))

    facts = {"name": "psnr", "long_name": "peak signal-to-noise ratio", "units": "dB"}
    return _score(reference, test, options, decibels, **facts, data_range=span)


@documented
def cc(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
) -> Data:
    r"""Pearson's correlation coefficient: whether the patterns agree, whatever gain and offset.

    .. math:: \frac{\sum (x - \bar x)(y - \bar y)}
              {\sqrt{\sum (x - \bar x)^2 \sum (y - \bar y)^2}}

    Between -1 and 1, best 1; NaN for an image without contrast.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[0.0, 1.0, 3.0]], dims=("y", "x"))
    >>> float(cc(truth, 5 - 2 * truth))
    -1.0
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    facts = {"name": "cc", "long_name": "correlation coefficient", "units": "1"}
    return _score(reference, test, options, correlation, **facts)


@documented
def sre(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    signal: str = "mean",
) -> Data:
    r"""Signal-to-reconstruction error, which can be compared between bright and dark bands.

    .. math:: 10 \log_{10} \frac{\bar x^2}{\frac{1}{n} \sum (y - x)^2}

    as in Lanaras et al. 2018 (doi:10.1016/j.isprsjprs.2018.09.018). In dB, best
    :math:`+\infty`. An offset that was not removed flatters it: use reflectance.

    Parameters
    ----------
    signal : {"mean", "power"}
        Numerator: the squared mean of the reference, or the mean of its squares
        :math:`\overline{x^2}` (the unmixing literature), which is never smaller.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Raises
    ------
    UsageError
        If `signal` is unknown or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[1.0, 1.0]], dims=("y", "x"))
    >>> float(sre(truth, truth + 0.1).round(9))
    20.0
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    if signal not in ("mean", "power"):
        message = f"signal={signal!r}: use 'mean' (Lanaras et al. 2018) or 'power'."
        raise UsageError(message)

    def decibels(state: Floats) -> Floats:
        power = state[..., MEAN_X] ** 2
        if signal == "power":
            power = power + state[..., XX] / state[..., WEIGHT]
        return _decibels(power / _mse(state))

    facts = {"name": "sre", "long_name": "signal-to-reconstruction error", "units": "dB"}
    return _score(reference, test, options, decibels, **facts, signal=signal)


@documented
def ergas(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    ratio: float | None = None,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Relative dimensionless global error in synthesis: one number for all bands.

    .. math:: \frac{100}{r} \sqrt{\frac{1}{B} \sum_b \frac{\mathrm{MSE}_b}{\bar x_b^2}}

    with the ratio r of pixel sizes (Wald 2000, "Quality of high resolution synthesised images:
    is there a simple criterion?"). At least 0, best 0. Each band is valid where it is itself.

    Parameters
    ----------
    ratio : float
        Coarse pixel size over fine pixel size, at least 1; 2 for 20 m to 10 m, 6 for 60 m to
        10 m. Required.
    band_dim : str
        Dimension of the bands, which is reduced too.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where a band has no valid pixel.

    Raises
    ------
    UsageError
        If `ratio` is missing or below 1, there is no band dimension, or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[[1.0, 1.0]]], dims=("band", "y", "x"))
    >>> float(ergas(truth, truth + 0.1, ratio=2).round(9))
    5.0
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    scale = ratio_of(ratio)

    def relative(state: Floats) -> Floats:
        mean: Floats = (_mse(state) / state[..., MEAN_X] ** 2).mean(axis=-1)
        return np.sqrt(mean) * (100 / scale)

    facts = {"name": "ergas", "long_name": "relative global error in synthesis", "units": "1"}
    return _of_bands(reference, test, options, band_dim, relative, **facts, ratio=scale)


@documented
def rase(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Relative average spectral error: one number for all bands, in per cent.

    .. math:: \frac{100}{\frac{1}{B} \sum_b \bar x_b}
              \sqrt{\frac{1}{B} \sum_b \mathrm{MSE}_b}

    of the whole image (Ranchin and Wald 2000, "Fusion of high spatial and spectral resolution
    images: the ARSIS concept and its implementation"). At least 0, best 0. Bright bands
    dominate; `ergas` weighs bands alike.

    Parameters
    ----------
    band_dim : str
        Dimension of the bands, which is reduced too.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where a band has no valid pixel.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[[1.0, 1.0]]], dims=("band", "y", "x"))
    >>> float(rase(truth, truth + 0.1).round(9))
    10.0
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)

    def relative(state: Floats) -> Floats:
        mean: Floats = state[..., MEAN_X].mean(axis=-1)
        pooled: Floats = _mse(state).mean(axis=-1)
        return np.sqrt(pooled) / mean * 100

    facts = {"name": "rase", "long_name": "relative average spectral error", "units": "%"}
    return _of_bands(reference, test, options, band_dim, relative, **facts)


def ratio_of(ratio: float | None) -> float:
    """Ratio of pixel sizes.

    Raises
    ------
    UsageError
        If it is missing or below 1: half of the literature gives its inverse.
    """
    if ratio is None or not 1 <= ratio < np.inf:
        message = (
            f"ratio={ratio!r}: give coarse pixel size over fine pixel size, at least 1; "
            "2 for 20 m to 10 m, 6 for 60 m to 10 m."
        )
        raise UsageError(message)
    return float(ratio)


def correlation(state: Floats) -> Floats:
    """Pearson's coefficient of moments; NaN where there is no contrast but that of rounding."""
    contrast = [
        state[..., square] > state[..., WEIGHT] * (CONTRAST * state[..., mean]) ** 2
        for square, mean in ((XX, MEAN_X), (YY, MEAN_Y))
    ]
    # One root of the product: an image with itself gives exactly 1.
    product = np.sqrt(state[..., XX] * state[..., YY])
    return np.where(contrast[0] & contrast[1], state[..., XY] / product, np.nan)


def _score(
    reference: Data,
    test: Data,
    options: Options,
    function: Callable[[Floats], Floats],
    **facts: Any,  # noqa: ANN401  (attributes of the result)
) -> Data:
    """A metric of the moments of one band, for every band."""

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        both = pair(x, y, each)
        return finish(moments_of(both), function, both, each, **facts)

    return by_variable(metric, reference, test, options)


def _of_bands(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    options: Options,
    band_dim: str,
    function: Callable[[Floats], Floats],
    **facts: Any,  # noqa: ANN401  (attributes of the result)
) -> xr.DataArray:
    """A metric of the moments of all bands."""
    x, y, options = stacked(reference, test, options, band_dim)
    both = pair(x, y, options)
    return finish(moments_of(both), function, both, options, core=(band_dim,), **facts)


def _mse(state: Floats) -> Floats:
    mean: Floats = state[..., SQUARED] / state[..., WEIGHT]
    return mean


def _rmse(state: Floats) -> Floats:
    return np.sqrt(_mse(state))


def _mae(state: Floats) -> Floats:
    mean: Floats = state[..., ABSOLUTE] / state[..., WEIGHT]
    return mean


def _bias(state: Floats) -> Floats:
    mean: Floats = state[..., DIFFERENCE] / state[..., WEIGHT]
    return mean


def _decibels(power: Floats) -> Floats:
    return 10 * np.log10(power)
