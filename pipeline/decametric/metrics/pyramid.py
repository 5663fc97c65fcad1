"""Metrics of several scales: MS-SSIM and VIF.

Each scale is made from the finer one by a blur and by leaving out every second pixel, counted from
the image's own corner. Blocks begin at multiples of `STEP`, so that every scale is made of whole
blocks, and what is reduced are the same sums of windows as at one scale.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr

from decametric.errors import UsageError
from decametric.metrics.pairs import (
    SPATIAL,
    Data,
    Dims,
    Options,
    Pair,
    by_variable,
    data_range_of,
    documented,
    pair,
)
from decametric.metrics.reduction import Floats, check_windows, finish
from decametric.metrics.sliding import (
    filtered,
    gaussian,
    reduce_windows,
    share,
    strict_weights,
    total,
    window_weights,
)
from decametric.metrics.window import similarity

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales of MS-SSIM, the finest first, by Wang, Simoncelli and Bovik 2003."""

WINDOW = 11
"""Edge of the windows of MS-SSIM in pixels, of every scale."""

WINDOWS = (17, 9, 5, 3)
"""Edges of the Gaussian windows of VIF in pixels; the finest first."""

NOISE = 2.0
"""Variance of the noise of the eye that VIF assumes, for images of 0 to 255."""

FLAT = 1e-10
"""A variance below this, on the same scale, is none."""

STEP = 16
"""Blocks begin at multiples of this, which four halvings leave whole."""

SMALLEST_BLOCK = 64
"""No block is shorter, so that the windows of no scale reach beyond the next block."""

BLOCK = 256
"""Smaller blocks than this are joined: each scale has its own tasks."""


@documented
def ms_ssim(
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
    r"""Multi-scale structural similarity: `ssim` that also sees coarse patterns.

    .. math:: \overline{l_5 c_5}^{\,0.1333} \prod_{j=1}^4 \overline{c_j}^{\,w_j},
              \qquad w = (0.0448, 0.2856, 0.3001, 0.2363)

    with the luminance term l and the contrast-structure term c of `ssim`, averaged over all
    windows of 11 x 11 pixels of the image (j = 1) and of its means over 2 x 2, 4 x 4, 8 x 8 and
    16 x 16 pixels; rows and columns that fill no whole block are dropped (Wang, Simoncelli and
    Bovik 2003, doi:10.1109/ACSSC.2003.1292216). A negative mean counts as 0. Between 0 and 1, best
    1. Blocks and windows that touch a pixel which does not count are left out.

    Parameters
    ----------
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values; required, because a wrong one shifts every score.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where a scale has no valid window.

    Raises
    ------
    UsageError
        If `data_range` is missing, the image is smaller than 176 x 176, or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> truth = xr.DataArray(np.full((176, 176), 100), dims=("y", "x"))
    >>> float(ms_ssim(truth, truth + 10, data_range=10000).round(6))
    0.999584
    """
    span = data_range_of(data_range)
    local = partial(_similarity, taps=gaussian(WINDOW, 1.5), span=span)
    levels = [
        (WINDOW, partial(local, luminance=scale == len(EXPONENTS)))
        for scale in range(1, len(EXPONENTS) + 1)
    ]
    facts: dict[str, Any] = {"name": "ms_ssim", "long_name": "multi-scale structural similarity"}
    facts |= {"units": "1", "data_range": span}
    blurs = [(0.5, 0.5)] * (len(EXPONENTS) - 1)
    options = Options(dim, mask, weights, skipna, keep_attrs)
    return _score(reference, test, options, levels, blurs, _product, **facts)


@documented
def vif(
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
    r"""Visual information fidelity: the share of the information of the reference that is left.

    .. math:: \frac{\sum \log(1 + g^2 \sigma_x^2 / (\sigma_v^2 + \sigma_n^2))}
              {\sum \log(1 + \sigma_x^2 / \sigma_n^2)}, \qquad
              g = \max(0, \sigma_{xy} / \sigma_x^2), \quad
              \sigma_v^2 = \sigma_y^2 - g \sigma_{xy}

    over all windows of four scales, in the pixel domain (Sheikh and Bovik 2006,
    doi:10.1109/TIP.2005.859378): Gaussian windows of 17, 9, 5 and 3 pixels, of which each also
    makes its scale from the finer one, and :math:`\sigma_n^2 = 2` for values from 0 to 255, to
    which the images are scaled. At least 0, best 1; above 1 where the test image has more contrast
    than the reference. NaN for a reference without any. Windows that touch a pixel which does not
    count are left out.

    Parameters
    ----------
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values; required, because a wrong one shifts every score.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no window is valid.

    Raises
    ------
    UsageError
        If `data_range` is missing, the image is smaller than 41 x 41, or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> truth = xr.DataArray(np.arange(41 * 41.0).reshape(41, 41) % 7, dims=("y", "x"))
    >>> float(vif(truth, truth + 1, data_range=7).round(9))
    1.0
    """
    span = data_range_of(data_range)
    taps = [gaussian(size, size / 5) for size in WINDOWS]
    levels = [(len(each), partial(_information, taps=each, span=span)) for each in taps]
    facts: dict[str, Any] = {"name": "vif", "long_name": "visual information fidelity"}
    facts |= {"units": "1", "data_range": span}
    options = Options(dim, mask, weights, skipna, keep_attrs)
    return _score(reference, test, options, levels, taps[1:], _fidelity, **facts)


def _score(
    reference: Data,
    test: Data,
    options: Options,
    levels: Sequence[tuple[int, Callable[..., Floats]]],
    blurs: Sequence[tuple[float, ...]],
    function: Callable[[Floats], Floats],
    **facts: Any,  # noqa: ANN401  (attributes of the result)
) -> Data:
    """A metric of the states (scale, state) of all scales.

    `levels` holds the edge of the windows and their function for each scale, and `blurs` what
    leads from each to the next.
    """

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        both = pair(x, y, each)
        check_windows(both)
        _check_size(both, [size for size, _ in levels], [len(blur) for blur in blurs])
        scales = [_in_whole_blocks(_without_masked(both))]
        for blur in blurs:
            scales.append(_halved(scales[-1], blur))
        states = [
            reduce_windows(scale, local, size)
            for scale, (size, local) in zip(scales, levels, strict=True)
        ]
        joined = xr.concat(states, "scale")
        return finish(joined, function, both, each, core=("scale",), **facts)

    return by_variable(metric, reference, test, options)


def _check_size(both: Pair, windows: Sequence[int], blurs: Sequence[int]) -> None:
    """Refuse images whose coarsest scale would be smaller than a window."""
    needed = windows[-1]
    for window, blur in zip(windows[-2::-1], blurs[::-1], strict=True):
        needed = max(window, 2 * (needed - 1) + blur)
    shape = tuple(both.reference.sizes[name] for name in SPATIAL)
    if min(shape) < needed:
        message = (
            f"The images have {shape[0]} x {shape[1]} pixels, and this metric of several scales "
            f"needs {needed} x {needed}; use ssim for small images."
        )
        raise UsageError(message)


def _without_masked(both: Pair) -> Pair:
    """The pair with 0 where pixels do not count, lest they leak into coarser scales."""
    if both.weights is None:
        return both
    counts = both.weights > 0
    return replace(both, reference=both.reference.where(counts, 0), test=both.test.where(counts, 0))


def _in_whole_blocks(both: Pair) -> Pair:
    """The pair in blocks that every scale can halve."""
    chunks: dict[Hashable, Any] = {}
    for name in SPATIAL:
        length, largest = both.reference.sizes[name], max(both.reference.chunksizes[name])
        edge = -(-max(largest, BLOCK) // STEP) * STEP
        starts = list(range(0, length, edge))
        if len(starts) > 1 and length - starts[-1] < SMALLEST_BLOCK:
            starts.pop()
        chunks[name] = tuple(np.diff([*starts, length]).tolist())
    return both.rechunk(chunks)


def _halved(both: Pair, taps: tuple[float, ...]) -> Pair:
    """The next scale: the blur of every second window; strict where pixels do not count."""
    halve = partial(_halve, both, taps)
    weights = None if both.weights is None else halve(both.weights, _halve_weights)
    return replace(
        both,
        reference=halve(both.reference, _halve_values),
        test=halve(both.test, _halve_values),
        weights=weights,
    )


def _halve(
    both: Pair, taps: tuple[float, ...], image: xr.DataArray, function: Callable[..., Floats]
) -> xr.DataArray:
    """One image of the next scale, without coordinates of its pixels."""
    axes = tuple(both.reference.get_axis_num(SPATIAL))
    extended = da.overlap.overlap(
        image.data, depth=dict.fromkeys(axes, (0, len(taps) - 1)), boundary="none"
    )
    chunks = list(image.data.chunks)
    for axis in axes:
        left = (image.shape[axis] - len(taps)) // 2 + 1
        starts = np.cumsum([0, *chunks[axis][:-1]]) // 2
        chunks[axis] = tuple(np.diff([*starts.tolist(), left]).tolist())
    half = da.map_blocks(
        function,
        extended,
        taps=taps,
        spatial=axes,
        chunks=tuple(chunks),
        dtype=np.float64,
        meta=np.empty((0,) * image.ndim),
    )
    coords = {
        name: coord for name, coord in image.coords.items() if not set(coord.dims) & set(SPATIAL)
    }
    return xr.DataArray(half, dims=image.dims, coords=coords)


def _halve_values(image: Any, *, taps: tuple[float, ...], spatial: tuple[int, ...]) -> Floats:  # noqa: ANN401
    """A blurred block, every second pixel; what is not a number spreads over its windows."""
    planes = filtered(np.moveaxis(image, spatial, (-2, -1)), taps)
    return np.moveaxis(planes[..., ::2, ::2], (-2, -1), spatial)


def _halve_weights(weights: Any, *, taps: tuple[float, ...], spatial: tuple[int, ...]) -> Floats:  # noqa: ANN401
    """Mean weight of the pixels of every second window, 0 where one does not count."""
    planes = np.moveaxis(weights, spatial, (-2, -1))
    kept = strict_weights(np.asarray(planes, np.float64), len(taps))
    return np.moveaxis(kept[..., ::2, ::2], (-2, -1), spatial)


def _similarity(
    x: Floats,
    y: Floats,
    w: Floats | None,
    *,
    taps: tuple[float, ...],
    span: float,
    luminance: bool,
) -> Floats:
    """State of the windows of one scale of MS-SSIM."""
    light, structure = similarity(x, y, None, taps=taps, span=span, sample=False)
    if luminance:
        structure = light * structure
    return total(structure, window_weights(w, len(taps)))


def _product(states: Floats) -> Floats:
    """MS-SSIM of the states (..., scale, state)."""
    means = np.maximum(share(states), 0)
    product: Floats = (means ** np.array(EXPONENTS)).prod(axis=-1)
    return product


def _information(
    x: Floats, y: Floats, w: Floats | None, *, taps: tuple[float, ...], span: float
) -> Floats:
    """Information of the windows of one scale that is left, and that there was."""
    x, y = x * (255 / span), y * (255 / span)
    mean_x, mean_y, xx, yy, xy = filtered(np.stack([x, y, x * x, y * y, x * y]), taps)
    xx = np.maximum(xx - mean_x**2, 0)
    yy = np.maximum(yy - mean_y**2, 0)
    xy = np.maximum(xy - mean_x * mean_y, 0)
    gain = np.divide(xy, xx, out=np.zeros_like(xy), where=xx > FLAT)
    noise = np.maximum(yy - gain * xy, 0) + NOISE
    counts = window_weights(w, len(taps))
    left, there = np.log1p(gain**2 * xx / noise), np.log1p(xx / NOISE)
    return np.array([total(left, counts)[0], total(there, counts)[0]])


def _fidelity(states: Floats) -> Floats:
    """VIF of the states (..., scale, state)."""
    return share(states.sum(axis=-2))
