"""Whether a sharpened image, degraded again, is what was measured: no ground truth needed.

More of the kind are compositions of the same two steps:
``sam(measured, degrade_image(sharpened, 2, "mtf"))``, and `ergas` and `q2n` alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decametric.metrics.pairs import SPATIAL, Data, Dims, Options, by_variable
from decametric.metrics.pixel import bias, rmse
from decametric.metrics.scales import degraded, documented_at_two_scales, scales, whole_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import xarray as xr


@documented_at_two_scales
def consistency_rmse(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    ratio: float | None = None,
    operator: str = "dsen2",
    nyquist: float | Mapping[str, float] | None = None,
    band_dim: str = "band",
) -> Data:
    r"""Root mean square error between what was measured and the sharpened image degraded again.

    .. math:: \sqrt{\frac{1}{n} \sum (D y - x)^2}

    with the forward model D: Wald's property of consistency. In the units of the data, at least 0,
    best 0 (below the noise of the sensor it means no more). It says nothing of the detail that was
    added, only that it does not contradict the measurement.

    Parameters
    ----------
    ratio : float
        Coarse pixel size over fine pixel size, a whole number; required.
    operator : {"dsen2", "mtf", "mean"}
        The forward model, see `decametric.degradation.degrade_image`.
    nyquist : float or dict of str to float, optional
        Modulation transfer for ``"mtf"``; by default that of Sentinel-2's bands, by name.
    band_dim : str
        Dimension of the bands, if there is one.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Raises
    ------
    UsageError
        If `ratio` is missing or no whole number, or the grids are not nested.

    Examples
    --------
    >>> import xarray as xr
    >>> sharpened = xr.DataArray([[1.0, 2.0], [3.0, 6.0]], dims=("y", "x"))
    >>> measured = xr.DataArray([[2.5]], dims=("y", "x"))
    >>> float(consistency_rmse(measured, sharpened, ratio=2, operator="mean"))
    0.5
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    model: dict[str, Any] = {"operator": operator, "nyquist": nyquist, "band_dim": band_dim}
    return _score(reference, test, options, ratio, rmse, **model)


@documented_at_two_scales
def consistency_bias(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    ratio: float | None = None,
    operator: str = "dsen2",
    nyquist: float | Mapping[str, float] | None = None,
    band_dim: str = "band",
) -> Data:
    r"""Mean of the sharpened image degraded again, minus that of what was measured.

    .. math:: \frac{1}{n} \sum (D y - x)

    with the forward model D. In the units of the data, best 0.

    Parameters
    ----------
    ratio : float
        Coarse pixel size over fine pixel size, a whole number; required.
    operator : {"dsen2", "mtf", "mean"}
        The forward model, see `decametric.degradation.degrade_image`.
    nyquist : float or dict of str to float, optional
        Modulation transfer for ``"mtf"``; by default that of Sentinel-2's bands, by name.
    band_dim : str
        Dimension of the bands, if there is one.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Raises
    ------
    UsageError
        If `ratio` is missing or no whole number, or the grids are not nested.

    Examples
    --------
    >>> import xarray as xr
    >>> sharpened = xr.DataArray([[1.0, 2.0], [3.0, 6.0]], dims=("y", "x"))
    >>> measured = xr.DataArray([[3.5]], dims=("y", "x"))
    >>> float(consistency_bias(measured, sharpened, ratio=2, operator="mean"))
    -0.5
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    model: dict[str, Any] = {"operator": operator, "nyquist": nyquist, "band_dim": band_dim}
    return _score(reference, test, options, ratio, bias, **model)


def _score(
    reference: Data,
    test: Data,
    options: Options,
    ratio: float | None,
    compare: Callable[..., xr.DataArray],
    **model: Any,  # noqa: ANN401  (arguments of `degrade_image`)
) -> Data:
    """A metric of single pixels, after the forward model."""
    scale = whole_ratio(ratio)

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        both = scales(x, y, scale, each)
        coarse = degraded(both, **model)
        given = {"mask": each.mask, "weights": each.weights, "skipna": each.skipna}
        found = compare(both.coarse, coarse, each.dim, **given)
        facts = {"long_name": f"{found.long_name} (degraded)", "operator": model["operator"]}
        facts |= {name: value for name, value in found.attrs.items() if name == "units"}
        return both.label(found, name=f"consistency_{found.name}", **facts, ratio=scale)

    return by_variable(metric, reference, test, options)
