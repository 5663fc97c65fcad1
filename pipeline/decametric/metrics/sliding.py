"""What windows that slide over an image say, summed strip by strip.

A window is valid where all of it lies inside the image and on pixels that count. Its numbers come
from its own pixels by one fixed sequence of operations, whatever block it is met in, so that the
chunks of an image cannot show in a score.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import correlate1d

from decametric.metrics.pairs import SPATIAL
from decametric.metrics.reduction import Floats, Merge, add, reduce, weigh

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from decametric.metrics.pairs import Pair

STRIP = 2**15
"""Pixels that are worked on at once: the dozen temporaries of a metric stay in a core's cache."""


def reduce_windows(
    pair: Pair, local: Callable[..., Floats], size: int, *, states: int = 2, merge: Merge = add
) -> xr.DataArray:
    """States of all windows of a pair, merged over its reduced dimensions; lazy.

    Parameters
    ----------
    pair : Pair
        The images; ``y`` and ``x`` must be reduced.
    local : callable
        Function ``local(x, y, w)`` of two float64 images (y, x) and the weights of their pixels
        (None: all 1) that returns the state of the windows inside; importable, or a
        `functools.partial` of what is.
    size : int
        Edge of the windows in pixels.
    states : int
        Numbers in a state.
    merge : callable
        `add` or `merge_moments`.

    Returns
    -------
    xarray.DataArray
        The kept dimensions of the pair, and ``state``.
    """
    spatial = tuple(pair.reference.dims.index(name) for name in SPATIAL if name in pair.dim)
    kernel = partial(
        _sum_block, spatial=spatial, local=local, size=size, states=states, merge=merge
    )
    return reduce(pair, kernel, states, merge=merge, window=size)


def total(values: Floats, w: Floats | None) -> Floats:
    """State of windows of which each has one value: sums of weighted values and of weights."""
    if w is None:
        return np.array([values.sum(), values.size])
    return np.array([(values * w).sum(), w.sum()])


def share(state: Floats) -> Floats:
    """Mean over windows, of the state that `total` gives."""
    mean: Floats = state[..., 0] / state[..., 1]
    return mean


def window_weights(w: Floats | None, size: int) -> Floats | None:
    """Mean weight of the pixels of every window, 0 for windows that touch one of weight 0."""
    return None if w is None else strict_weights(w, size)


def strict_weights(w: Floats, size: int) -> Floats:
    """The same where there are weights."""
    mean, valid = filtered(np.stack([w, w > 0]), (1,) * size)
    return np.where(valid == size**2, mean / size**2, 0)


def filtered(values: Any, taps: tuple[float, ...]) -> Floats:  # noqa: ANN401  (of any type)
    """Weighted sums over all windows inside: (..., y, x) -> both shorter by len(`taps`) - 1."""
    result: Floats = np.asarray(values, np.float64)
    first = len(taps) // 2
    for axis in (-2, -1):
        count = result.shape[axis] - len(taps) + 1
        whole = correlate1d(result, taps, axis=axis, mode="nearest")
        result = _cut(whole, axis, first, count)
    return result


def sum_and_difference(x: Floats, y: Floats) -> Floats:
    """Both, u and v, in one array.

    Windows need no mixed moments of them: 2 xy = (u^2 - v^2) / 2, x^2 + y^2 = (u^2 + v^2) / 2.
    """
    both = np.empty((2, *x.shape))
    np.add(x, y, out=both[0])
    np.subtract(x, y, out=both[1])
    return both


def gaussian(size: int, sigma: float) -> tuple[float, ...]:
    """Taps of a Gaussian of `sigma` pixels that is cut off to `size` pixels; their sum is 1."""
    taps = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return tuple((taps / taps.sum()).tolist())


def window_moments(values: Floats, size: int) -> tuple[Floats, Floats]:
    """Sums over all windows, and sums of squared deviations from the mean of the window.

    Windows are put together from halves (Chan, Golub and LeVeque 1983), so that no mean is ever
    squared: a large mean does not swallow a small variance, and a flat window has exactly none.

    Parameters
    ----------
    values : float64 array (..., y, x)
    size : int
        Edge of the windows in pixels.

    Returns
    -------
    tuple of float64 arrays
        Both shorter than `values` by `size` - 1 along y and x.
    """
    part = (values, np.zeros_like(values))
    for axis, pixels in ((-2, 1), (-1, size)):
        part = _widened(part, pixels, size, axis)
    return part


Moments = tuple[Floats, Floats]


def _widened(part: Moments, pixels: int, size: int, axis: int) -> Moments:
    """Moments of `size` neighbours along an axis, from those of one, which has so many `pixels`.

    Lengths are doubled, and the powers of two that make up `size` are put side by side.
    """
    length, whole, reach = 1, part, 0
    while True:
        if size & length:
            whole = _joined(whole, part, pixels * reach, pixels * length, reach, axis)
            reach += length
        if 2 * length > size:
            return whole
        part = _joined(part, part, pixels * length, pixels * length, length, axis)
        length *= 2


def _joined(
    left: Moments, right: Moments, n_left: int, n_right: int, offset: int, axis: int
) -> Moments:
    """Moments of every left part together with the right part that begins `offset` further on."""
    if n_left == 0:
        return right
    count = right[0].shape[axis] - offset
    sum_left, square_left = (_cut(values, axis, 0, count) for values in left)
    sum_right, square_right = (_cut(values, axis, offset, count) for values in right)
    squares = sum_left - (sum_right if n_left == n_right else sum_right * (n_left / n_right))
    squares *= squares
    squares *= n_right / (n_left * (n_left + n_right))
    squares += square_left
    squares += square_right
    return sum_left + sum_right, squares


def _cut(values: Floats, axis: int, start: int, count: int) -> Floats:
    """`count` elements along y (-2) or x (-1)."""
    kept = slice(start, start + count)
    return values[..., kept, :] if axis == -2 else values[..., kept]  # noqa: PLR2004  (an axis)


def _sum_block(
    *arrays: Any,  # noqa: ANN401  (reference, test and weights, of any type; the latter may be None)
    axes: tuple[int, ...],
    spatial: tuple[int, ...],
    merge: Merge,
    **options: Any,  # noqa: ANN401  (of `_sum_plane`)
) -> Floats:
    """State of a block: that of its planes (y, x), merged over the other reduced axes."""
    aligned = [None if array is None else np.moveaxis(array, spatial, (-2, -1)) for array in arrays]
    shape = aligned[0].shape[:-2]  # type: ignore[union-attr]  # only weights may be None
    planes = [
        _sum_plane(
            *(None if array is None else array[index] for array in aligned), merge=merge, **options
        )
        for index in np.ndindex(shape)
    ]
    lined_up = np.reshape(planes, (*shape, 1, 1, -1))
    return merge(np.moveaxis(lined_up, (-3, -2), spatial), axis=axes, keepdims=True)


def _sum_plane(
    x: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    w: Any,  # noqa: ANN401
    *,
    skipna: bool,
    local: Callable[..., Floats],
    size: int,
    states: int,
    merge: Merge,
) -> Floats:
    """State of one plane (y, x), strip by strip."""
    parts = [np.zeros(states)]
    for rows in _strips(x.shape, size):
        weighed = weigh(x[rows], y[rows], None if w is None else w[rows], skipna=skipna)
        if not skipna and not np.isfinite(weighed[:2]).all():
            return np.full(states, np.nan)
        if min(weighed[0].shape) >= size:
            parts.append(local(*weighed))
    return merge(np.stack(parts), axis=(0,), keepdims=False)


def _strips(shape: tuple[int, ...], size: int) -> list[slice]:
    """Rows of equal strips of a plane, which share `size` - 1 rows."""
    windows = max(1, shape[0] - size + 1)
    strips = -(-windows * shape[1] // STRIP)
    step = max(size, -(-windows // max(1, strips)))
    return [slice(start, start + step + size - 1) for start in range(0, windows, step)]
