"""Quality of a sharpened image at its own resolution, where no truth is known.

The measured image is coarse, the sharpened one fine, and what is compared is how bands relate to
each other, or to a sharp guide, at the two scales. The indices are known to favour plain
interpolation: report them, but do not optimise them. `consistency_rmse` is firmer ground.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.degradation import degrade_image
from decametric.errors import UsageError
from decametric.metrics.blocks import in_blocks, uiq_of_blocks
from decametric.metrics.pairs import (
    SPATIAL,
    Data,
    Dims,
    Options,
    by_variable,
    check_grids,
    documented,
    is_lazy,
    pair,
)
from decametric.metrics.reduction import Floats, finish, reduce
from decametric.metrics.scales import (
    Scales,
    complete,
    documented_at_two_scales,
    finite,
    in_chunks_of,
    spectra,
)
from decametric.metrics.sliding import reduce_windows, share, total, window_moments, window_weights
from decametric.metrics.window import FLAT, uiq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

SLIDING = 8
"""Edge of sliding windows, in pixels of either grid."""


@documented_at_two_scales
def d_lambda(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    ratio: float | None = None,
    windows: str = "block",
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Spectral distortion: whether the bands still relate to each other as they were measured.

    .. math:: \frac{1}{B (B - 1)} \sum_{i \ne j} |Q(y_i, y_j) - Q(x_i, x_j)|

    with the quality index Q of `uiq` (Alparone, Aiazzi, Baronti, Garzelli, Nencini and Selva 2008,
    doi:10.14358/PERS.74.2.193). Between 0 and 2, best 0.

    Parameters
    ----------
    ratio : float
        Coarse pixel size over fine pixel size, a whole number; required.
    windows : {"block", "sliding"}
        Blocks side by side that cover the same ground at both scales, 32 fine pixels wide or as
        many more as the ratio divides; or sliding windows of 8 pixels at either scale.
    band_dim : str
        Dimension of the bands, which is reduced too.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no window is valid.

    Raises
    ------
    UsageError
        If `ratio` is missing or no whole number, there are fewer than two bands, or the grids are
        not nested.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(0).random((3, 64, 64))
    >>> sharpened = xr.DataArray(values, dims=("band", "y", "x"))
    >>> measured = sharpened.coarsen(y=2, x=2).mean()
    >>> 0 < float(d_lambda(measured, sharpened, ratio=2)) < 0.1
    True
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    both = spectra(reference, test, ratio, options, band_dim)
    pairs = np.triu_indices(both.coarse.sizes[band_dim], 1)
    if not len(pairs[0]):
        message = f"d_lambda compares pairs of bands; there is one along {band_dim!r}."
        raise UsageError(message)
    left, right = (
        [image.drop_vars(band_dim, errors="ignore").isel({band_dim: bands}) for bands in pairs]
        for image in (both.fine, both.coarse)
    )
    change = _change(both, left, right, windows)
    facts = {"name": "d_lambda", "long_name": "spectral distortion", "units": "1"}
    return both.label(
        change.mean(band_dim, skipna=False), **facts, ratio=both.ratio, windows=windows
    )


@documented_at_two_scales
def d_s(
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
    r"""Spatial distortion: whether each band relates to a sharp guide as it did when measured.

    .. math:: \frac{1}{B} \sum_b |Q(y_b, p) - Q(x_b, D p)|

    with the quality index Q of `uiq` and a guide p, which is the panchromatic band elsewhere
    (Alparone, Aiazzi, Baronti, Garzelli, Nencini and Selva 2008, doi:10.14358/PERS.74.2.193).
    Sentinel-2 has none: take a 10 m band or the mean of all four. Between 0 and 2, best 0.

    Parameters
    ----------
    guide : xarray.DataArray
        The sharp image on the grid of `test`, one for all bands, or one for each with a dimension
        `band_dim`.
    guide_low : xarray.DataArray, optional
        The guide on the grid of `reference`; by default it is degraded here.
    operator, nyquist
        How it is degraded, see `decametric.degradation.degrade_image`.
    ratio : float
        Coarse pixel size over fine pixel size, a whole number; required.
    windows : {"block", "sliding"}
        As in `d_lambda`.
    band_dim : str
        Dimension of the bands, which is reduced too.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no window is valid.

    Raises
    ------
    UsageError
        If `ratio` is missing or no whole number, or the grids are not nested.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(0).random((3, 64, 64))
    >>> sharpened = xr.DataArray(values, dims=("band", "y", "x"))
    >>> measured = sharpened.coarsen(y=2, x=2).mean()
    >>> guide = sharpened.mean("band")
    >>> 0 < float(d_s(measured, sharpened, guide=guide, operator="mean", ratio=2)) < 0.1
    True
    """
    options = Options(dim, mask, weights, skipna, keep_attrs)
    both = spectra(reference, test, ratio, options, band_dim)
    both = replace(both, lazy=both.lazy or is_lazy(guide, guide_low))
    check_grids(both.fine, guide, "guide", "test")
    fine = in_chunks_of(both.fine, guide).astype(np.float64)
    if guide_low is None:
        guide_low = degrade_image(fine, both.ratio, operator, nyquist=nyquist, band_dim=band_dim)
    check_grids(both.coarse, guide_low, "guide_low")
    low = in_chunks_of(both.coarse, guide_low)
    both = _where_guided(both, fine, low, band_dim)
    change = _change(both, (both.fine, fine), (both.coarse, low), windows)
    facts = {"name": "d_s", "long_name": "spatial distortion", "units": "1"}
    return both.label(
        change.mean(band_dim, skipna=False), **facts, ratio=both.ratio, windows=windows
    )


@documented
def d_rho(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    window: int | None = None,
) -> Data:
    r"""One minus the local correlation with a sharp guide: whether detail is where it should be.

    .. math:: 1 - \frac{1}{n} \sum \frac{\sigma_{xy}}{\sigma_x \sigma_y}

    over all windows inside the image (Scarpa and Ciotola 2022, "Full-resolution quality assessment
    for pansharpening", doi:10.3390/rs14081808), where `reference` is the guide and `test` the
    sharpened image, on one grid. Between 0 and 2, best 0, which no band that tells something of
    its own reaches. Of several guides along a dimension of their own, take the best:
    ``d_rho(guides, sharpened, window=6).min("guide")``. Windows without contrast, or with a pixel
    that does not count, are left out.

    Parameters
    ----------
    window : int
        Edge of the windows in pixels; required. Its authors take the ratio of the pixel sizes.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no window is valid.

    Raises
    ------
    UsageError
        If `window` is missing or below 2, or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> guide = xr.DataArray(np.arange(100.0).reshape(10, 10), dims=("y", "x"))
    >>> float(d_rho(guide, 5 - 2 * guide, window=6).round(9))
    2.0
    """
    if window is None or window != int(window) or window < 2:  # noqa: PLR2004
        message = (
            f"window={window!r}: give the edge of the windows, 2 pixels or more; the usual one is "
            "the ratio of the pixel sizes, 2 or 6."
        )
        raise UsageError(message)
    size = int(window)
    facts: dict[str, Any] = {"long_name": "lack of local correlation", "units": "1"}

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        both = pair(x, y, each)
        states = reduce_windows(both, partial(_correlation, size=size), size)
        return finish(states, _lack, both, each, name="d_rho", **facts, window=size)

    return by_variable(metric, reference, test, Options(dim, mask, weights, skipna, keep_attrs))


def _change(
    both: Scales, fine: Sequence[xr.DataArray], coarse: Sequence[xr.DataArray], windows: str
) -> xr.DataArray:
    """By how much the quality index of two images differs between the scales."""
    there = _quality(fine, both.fine_options, windows, both.block)
    here = _quality(coarse, both.options, windows, both.block // both.ratio)
    change: xr.DataArray = abs(there - here)
    return change


def _quality(
    images: Sequence[xr.DataArray], options: Options, windows: str, edge: int
) -> xr.DataArray:
    """Quality index of two images in blocks or sliding windows."""
    first, second = images
    if windows == "sliding":
        given: dict[str, Any] = {"mask": options.mask, "weights": options.weights}
        given |= {"window": SLIDING, "skipna": options.skipna}
        sliding: xr.DataArray = uiq(first, second, options.dim, **given)
        return sliding
    if windows == "block":
        blocks = in_blocks(pair(first, second, options), edge)
        return finish(reduce(blocks, uiq_of_blocks, 2), share, blocks, options, name="uiq")
    message = f"windows={windows!r}: use 'block' or 'sliding'."
    raise UsageError(message)


def _where_guided(
    both: Scales, guide: xr.DataArray, guide_low: xr.DataArray, band_dim: str
) -> Scales:
    """The same images, valid only where the guide is too."""
    if not both.options.skipna:
        return both
    known = finite(guide_low) & complete(guide, both.ratio)
    return both.where(known.all(band_dim) if band_dim in known.dims else known)


def _correlation(x: Floats, y: Floats, w: Floats | None, *, size: int) -> Floats:
    """State of the windows of a plane; those without contrast have no correlation."""
    sums, squares = window_moments(np.stack([x, y, x + y]), size)
    square_x, square_y = squares[:2]
    contrast = (size**2 * squares[:2] > FLAT * sums[:2] ** 2).all(0)
    product = np.where(contrast, np.sqrt(square_x) * np.sqrt(square_y), 1)
    rho: Floats = (squares[2] - square_x - square_y) / 2 / product
    counts = window_weights(w, size)
    kept: Floats = contrast * np.ones_like(rho) if counts is None else contrast * counts
    return total(rho, kept)


def _lack(state: Floats) -> Floats:
    return 1 - share(state)
