"""Several metrics of one pair of images at once, in one pass over the data."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import xarray as xr

from decametric.errors import UsageError
from decametric.metrics.detail import scc
from decametric.metrics.edges import issm
from decametric.metrics.pairs import SPATIAL, Dims, Options, checked, chunked, documented, stacked
from decametric.metrics.pixel import bias, cc, ergas, mae, psnr, rase, rmse, sre
from decametric.metrics.pyramid import ms_ssim, vif
from decametric.metrics.spectral import q2n, sam
from decametric.metrics.structure import fsim
from decametric.metrics.window import ssim, uiq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PER_BAND: tuple[Callable[..., xr.DataArray], ...] = (
    rmse,
    mae,
    bias,
    psnr,
    sre,
    cc,
    ssim,
    fsim,
    uiq,
    scc,
    ms_ssim,
    vif,
    issm,
)
OF_BANDS: tuple[Callable[..., xr.DataArray], ...] = (sam, ergas, q2n, rase)

REGISTRY = {metric.__name__: metric for metric in (*PER_BAND, *OF_BANDS)}
"""Every metric of a reference and a test image, by name."""

SPECTRAL = frozenset(metric.__name__ for metric in OF_BANDS)
"""Metrics that have one value for all bands together."""

DEFAULT = ("rmse", "mae", "bias", "psnr", "sre", "cc", "ssim", "fsim", "uiq", "sam", "ergas")
"""What `scores` gives unless asked otherwise."""


@documented
def scores(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    metrics: Iterable[str] | None = None,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    data_range: float | str | None = None,
    ratio: float | None = None,
    band_dim: str = "band",
) -> xr.Dataset:
    """Several metrics at once: metrics of single pixels share one pass over the data.

    Parameters
    ----------
    metrics : iterable of str, optional
        Names of `REGISTRY`. By default `DEFAULT`: those of all bands only if there is a band
        dimension, ``ergas`` only if a ratio is given.
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values, for the metrics that need it.
    ratio : float
        Coarse pixel size over fine pixel size, for ``ergas``.
    band_dim : str
        Dimension of the bands; the variables of Datasets become one of this name.

    Returns
    -------
    xarray.Dataset
        One variable for each metric, over the dimensions that are left; those of all bands lack
        the band. Lazy if any image is.

    Raises
    ------
    UsageError
        If a metric is unknown or lacks what it needs, or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[0.2, 0.4]], dims=("y", "x"))
    >>> found = scores(truth, truth + 0.1, ["rmse", "bias"])
    >>> {name: round(float(value), 9) for name, value in found.items()}
    {'rmse': 0.1, 'bias': 0.1}
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    if isinstance(reference, xr.Dataset) or isinstance(test, xr.Dataset):
        reference, test, options = stacked(reference, test, options, band_dim)
    given = checked(reference, test, options)
    names = _names(metrics, has_bands=band_dim in reference.dims, has_ratio=ratio is not None)
    # Cut in blocks here, once: equal blocks have equal names, and Dask does equal work once.
    inputs: dict[str, Any] = {name: chunked(array) for name, array in given.items()}
    inputs |= {"dim": dim, "skipna": skipna, "keep_attrs": keep_attrs}
    special = {"data_range": data_range, "ratio": ratio, "band_dim": band_dim}
    found = xr.Dataset({name: _apply(REGISTRY[name], inputs, special) for name in names})
    lazy = any(array.chunks is not None for array in given.values())
    return found if lazy else found.compute(scheduler="threads")


def _names(metrics: Iterable[str] | None, *, has_bands: bool, has_ratio: bool) -> list[str]:
    """Metrics to compute, without doubles."""
    if metrics is None:
        left_out = set() if has_bands else SPECTRAL
        left_out |= set() if has_ratio else {"ergas"}
        return [name for name in DEFAULT if name not in left_out]
    wanted = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
    if unknown := [name for name in wanted if name not in REGISTRY]:
        message = f"Unknown metric {unknown[0]!r}; choose from {', '.join(sorted(REGISTRY))}."
        raise UsageError(message)
    return wanted


def _apply(
    metric: Callable[..., xr.DataArray], inputs: dict[str, Any], special: dict[str, Any]
) -> xr.DataArray:
    """One metric, given what its signature asks for."""
    wanted = signature(metric).parameters
    return metric(**inputs, **{name: special[name] for name in special if name in wanted})
