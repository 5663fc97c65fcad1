"""Weighted first and second moments of two images, merged exactly over chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.metrics.reduction import Floats, reduce, weigh

if TYPE_CHECKING:
    import xarray as xr

    from decametric.metrics.pairs import Pair

WEIGHT, MEAN_X, MEAN_Y, XX, YY, XY, ABSOLUTE, SQUARED, DIFFERENCE = range(9)
"""What a state holds: sum of weights, the two means, the three sums of central products, and the
sums of \\|y - x\\|, of its square, and of y - x."""

SIZE = 9

CONTRAST = 4 * float(np.finfo(np.float64).eps)
"""A standard deviation below this share of the mean is rounding, not contrast."""


def moments_of(pair: Pair) -> xr.DataArray:
    """Moments of a pair over its reduced dimensions, lazy; one pass over the data."""
    return reduce(pair, block_moments, SIZE, merge=merge_moments)


def block_moments(
    reference: Any,  # noqa: ANN401  (arrays of any type)
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    axes: tuple[int, ...],
    skipna: bool,
) -> Floats:
    """State of a block."""
    return moments(*weigh(reference, test, weights, skipna=skipna), axes=axes)


def moments(x: Floats, y: Floats, w: Floats | None, *, axes: tuple[int, ...]) -> Floats:
    """Moments of two float64 arrays; means are removed before anything is squared.

    Parameters
    ----------
    x, y : float64 arrays of one shape
    w : float64 array of that shape, or None if all pixels count alike
    axes : tuple of int
        Axes to reduce; they keep length 1.
    """

    def total(values: Floats) -> Floats:
        summed: Floats = (values if w is None else values * w).sum(axis=axes, keepdims=True)
        return summed

    n = total(np.ones_like(x))
    mean_x, mean_y = (_share(total(values), n) for values in (x, y))
    d, dx, dy = y - x, x - mean_x, y - mean_y
    products = (total(dx * dx), total(dy * dy), total(dx * dy))
    return np.stack(
        [n, mean_x, mean_y, *products, total(np.abs(d)), total(d * d), total(d)], axis=-1
    )


def merge_moments(states: Floats, axis: tuple[int, ...], keepdims: bool) -> Floats:  # noqa: FBT001
    """Merge moments of parts (Chan, Golub and LeVeque 1983); empty parts change nothing."""
    merged: Floats = states.sum(axis=axis, keepdims=True)
    n = states[..., WEIGHT]
    for mean in (MEAN_X, MEAN_Y):
        weighted = (states[..., mean] * n).sum(axis=axis, keepdims=True)
        merged[..., mean] = _share(weighted, merged[..., WEIGHT])
    dx, dy = (states[..., mean] - merged[..., mean] for mean in (MEAN_X, MEAN_Y))
    for moment, product in ((XX, dx * dx), (YY, dy * dy), (XY, dx * dy)):
        merged[..., moment] += (product * n).sum(axis=axis, keepdims=True)
    return merged if keepdims else merged.squeeze(axis)


def _share(total: Floats, n: Floats) -> Floats:
    """`total` / `n`, 0 where nothing counts."""
    return np.divide(total, n, out=np.zeros_like(total), where=n > 0)
