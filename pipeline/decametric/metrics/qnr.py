"""Quality with no reference, summed up: neither the bands nor the detail went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decametric.metrics.no_reference import d_lambda, d_s
from decametric.metrics.pairs import SPATIAL, Dims, Options
from decametric.metrics.scales import degraded, documented_at_two_scales, spectra
from decametric.metrics.spectral import q2n

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr


@documented_at_two_scales
def qnr(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    guide: xr.DataArray,
    guide_low: xr.DataArray | None = None,
    operator: str = "dsen2",
    nyquist: float | Mapping[str, float] | None = None,
    ratio: float | None = None,
    windows: str = "block",
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Quality with no reference: neither spectral nor spatial distortion.

    .. math:: (1 - D_\lambda) (1 - D_s)

    of `d_lambda` and `d_s` (Alparone, Aiazzi, Baronti, Garzelli, Nencini and Selva 2008,
    doi:10.14358/PERS.74.2.193). Best 1.

    Parameters
    ----------
    guide, guide_low, operator, nyquist, ratio, windows, band_dim
        As in `d_s`.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no window is valid.

    Raises
    ------
    UsageError
        As in `d_s`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(0).random((3, 64, 64))
    >>> sharpened = xr.DataArray(values, dims=("band", "y", "x"))
    >>> measured = sharpened.coarsen(y=2, x=2).mean()
    >>> 0.9 < float(qnr(measured, sharpened, guide=sharpened[0], operator="mean", ratio=2)) < 1
    True
    """
    spectral = d_lambda(
        reference,
        test,
        dim,
        ratio=ratio,
        windows=windows,
        band_dim=band_dim,
        mask=mask,
        weights=weights,
        skipna=skipna,
        keep_attrs=keep_attrs,
    )
    spatial = d_s(
        reference,
        test,
        dim,
        guide=guide,
        guide_low=guide_low,
        operator=operator,
        nyquist=nyquist,
        ratio=ratio,
        windows=windows,
        band_dim=band_dim,
        mask=mask,
        weights=weights,
        skipna=skipna,
    )
    return _joined(spectral, spatial, "qnr", "quality with no reference")


@documented_at_two_scales
def khan_d_lambda(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    operator: str = "mtf",
    nyquist: float | Mapping[str, float] | None = None,
    ratio: float | None = None,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Spectral distortion of the sharpened image degraded again: its lack of consistency.

    .. math:: 1 - Q_{2^n}(x, D y)

    with the forward model D and the index `q2n` of blocks that are 32 fine pixels wide, or as many
    more as the ratio divides (Khan, Alparone and Chanussot 2009, doi:10.1109/TGRS.2009.2029094;
    here both images are compared on the coarse grid). Between 0 and 1, best 0.

    Parameters
    ----------
    operator : {"mtf", "dsen2", "mean"}
        The forward model, see `decametric.degradation.degrade_image`.
    nyquist : float or dict of str to float, optional
        Modulation transfer for ``"mtf"``; by default that of Sentinel-2's bands, by name.
    ratio : float
        Coarse pixel size over fine pixel size, a whole number; required.
    band_dim : str
        Dimension of the bands, which is reduced too.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no block is valid.

    Raises
    ------
    UsageError
        If `ratio` is missing or no whole number, the grids are not nested, or the modulation
        transfer of a band is not known.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from decametric.degradation import degrade_image
    >>> values = np.random.default_rng(0).random((3, 64, 64))
    >>> sharpened = xr.DataArray(values, dims=("band", "y", "x"))
    >>> measured = degrade_image(sharpened, 2, "mtf", nyquist=0.3)
    >>> round(abs(float(khan_d_lambda(measured, sharpened, nyquist=0.3, ratio=2))), 9)
    0.0
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    both = spectra(reference, test, ratio, options, band_dim)
    coarse = degraded(both, operator, nyquist, band_dim)
    similar = q2n(
        both.coarse,
        coarse,
        both.options.dim,
        block=both.block // both.ratio,
        band_dim=band_dim,
        mask=both.options.mask,
        weights=both.options.weights,
        skipna=skipna,
    )
    facts = {"name": "khan_d_lambda", "long_name": "spectral distortion (degraded)", "units": "1"}
    return both.label(1 - similar, **facts, ratio=both.ratio, operator=operator)


@documented_at_two_scales
def hqnr(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    guide: xr.DataArray,
    guide_low: xr.DataArray | None = None,
    operator: str = "mtf",
    nyquist: float | Mapping[str, float] | None = None,
    ratio: float | None = None,
    windows: str = "block",
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Hybrid quality with no reference: consistent bands, and no spatial distortion.

    .. math:: (1 - D_\lambda^K) (1 - D_s)

    of `khan_d_lambda` and `d_s` (Aiazzi, Alparone, Baronti, Carla, Garzelli and Santurri 2014,
    "Full scale assessment of pansharpening methods and data products"). Best 1.

    Parameters
    ----------
    guide, guide_low, ratio, windows, band_dim
        As in `d_s`.
    operator, nyquist
        As in `khan_d_lambda`; the guide is degraded in the same way, unless `guide_low` is given.
        For ``"mtf"`` it must bear the name of a band then.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no window is valid.

    Raises
    ------
    UsageError
        As in `d_s`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(0).random((3, 64, 64))
    >>> sharpened = xr.DataArray(values, dims=("band", "y", "x"))
    >>> measured = sharpened.coarsen(y=2, x=2).mean()
    >>> 0.9 < float(hqnr(measured, sharpened, guide=sharpened[0], operator="mean", ratio=2)) < 1
    True
    """
    spectral = khan_d_lambda(
        reference,
        test,
        dim,
        operator=operator,
        nyquist=nyquist,
        ratio=ratio,
        band_dim=band_dim,
        mask=mask,
        weights=weights,
        skipna=skipna,
        keep_attrs=keep_attrs,
    )
    spatial = d_s(
        reference,
        test,
        dim,
        guide=guide,
        guide_low=guide_low,
        operator=operator,
        nyquist=nyquist,
        ratio=ratio,
        windows=windows,
        band_dim=band_dim,
        mask=mask,
        weights=weights,
        skipna=skipna,
    )
    return _joined(spectral, spatial, "hqnr", "hybrid quality with no reference")


def _joined(
    spectral: xr.DataArray, spatial: xr.DataArray, name: str, long_name: str
) -> xr.DataArray:
    """Product of what two distortions leave."""
    left = ((1 - spectral) * (1 - spatial)).rename(name)
    return left.assign_attrs(spectral.attrs, long_name=long_name)
