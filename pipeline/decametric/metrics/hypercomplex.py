"""Blocks of many bands as blocks of hypercomplex numbers: the arithmetic of Q2n.

A pixel is one number with a component for each band. Numbers of 2, 4, 8, ... components are made
from pairs of shorter ones after Cayley and Dickson, (a, b)(c, d) = (ac - d*b, da + bc*); spectra of
other lengths are filled up with bands of zeros, which become ones where bands are normalised.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.metrics.blocks import ratio_or_one, summed
from decametric.metrics.moments import CONTRAST
from decametric.metrics.reduction import Floats, weigh
from decametric.metrics.window import FLAT

if TYPE_CHECKING:
    from numpy.typing import NDArray


def quality_of_blocks(
    reference: Any,  # noqa: ANN401  (arrays of any type)
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    axes: tuple[int, ...],
    skipna: bool,
    normalise: bool,
    min_valid: float,
) -> Floats:
    """Sum over blocks (..., band, y, x, y_inside, x_inside) of their index, and their weight."""
    weighed = weigh(reference, test, weights, skipna=skipna)
    x, y = (_pixels_last(image) for image in weighed[:2])
    w = np.ones((1, 1)) if weighed[2] is None else _pixels_last(weighed[2])
    valid = np.broadcast_to((w > 0).all(-2, keepdims=True), (*w.shape[:-2], 1, x.shape[-1]))
    n = valid.sum(-1, keepdims=True, dtype=np.float64)
    (mean_x, dx), (mean_y, dy) = (_deviations(image, valid, n) for image in (x, y))
    filled = 0
    if normalise:
        filled = _length(x.shape[-2]) - x.shape[-2]
        scale = _scale(mean_x, dx, n)
        mean_x, mean_y = np.ones_like(mean_x), (mean_y - mean_x) / scale + 1
        dx, dy = dx / scale, dy / scale
    quality = _quality(mean_x[..., 0], mean_y[..., 0], dx, dy, filled)
    kept = n[..., 0, 0] >= max(1, min_valid * x.shape[-1])
    counts = np.broadcast_to((w * valid).mean((-2, -1)) * kept, quality.shape)
    # The reduced axes stay, with length 1.
    whole, alone = (np.expand_dims(each, (-5, -2, -1)) for each in (quality, counts))
    return summed(whole, alone, axes)


def _quality(mean_x: Floats, mean_y: Floats, dx: Floats, dy: Floats, filled: int) -> Floats:
    """Index of blocks, from means (..., band) and deviations (..., band, pixel).

    `filled` bands more have a mean of 1 and no deviation in both images.
    """
    products = dx @ np.swapaxes(dy, -1, -2)
    covariance = np.tensordot(products, _conjugate_product(dx.shape[-2]), 2)
    contrast = (dx * dx).sum((-2, -1)) + (dy * dy).sum((-2, -1))
    square_x, square_y = ((mean * mean).sum(-1) + filled for mean in (mean_x, mean_y))
    brightness = square_x + square_y
    flat = contrast <= FLAT * brightness * dx.shape[-1]
    similar = ratio_or_one(2 * _modulus(covariance), np.where(flat, 0, contrast))
    return similar * ratio_or_one(2 * np.sqrt(square_x * square_y), brightness)


def _deviations(image: Floats, valid: NDArray[np.bool_], n: Floats) -> tuple[Floats, Floats]:
    """Means of blocks over valid pixels, and what these deviate from them (0 for others)."""
    mean: Floats = (image * valid).sum(-1, keepdims=True) / np.maximum(n, 1)
    return mean, (image - mean) * valid


def _scale(mean: Floats, deviation: Floats, n: Floats) -> Floats:
    """What a band of a block is divided by: the deviation of the reference, or else its mean."""
    spread = np.sqrt((deviation**2).sum(-1, keepdims=True) / np.maximum(n - 1, 1))
    level = np.where(mean == 0, 1, np.abs(mean))
    return np.where(spread > CONTRAST * level, spread, level)


def _pixels_last(values: Floats) -> Floats:
    """(..., band, y, x, y_inside, x_inside) as (..., y, x, band, pixel)."""
    flat: Floats = values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1])
    return np.moveaxis(flat, -4, -2)


def _modulus(numbers: Floats) -> Floats:
    squares: Floats = (numbers * numbers).sum(-1)
    return np.sqrt(squares)


@cache
def _conjugate_product(bands: int) -> Floats:
    """Components of a b* for the products of components: (component of a, of b, of the result)."""
    units = np.eye(_length(bands))
    table = [[_product(units[a], _conjugate(units[b])) for b in range(bands)] for a in range(bands)]
    return np.array(table)


def _length(bands: int) -> int:
    """Components of the shortest numbers that hold so many bands: a power of two."""
    return 1 << (bands - 1).bit_length()


def _product(left: Floats, right: Floats) -> Floats:
    """Product of two numbers after Cayley and Dickson."""
    if len(left) == 1:
        return left * right
    (a, b), (c, d) = np.split(left, 2), np.split(right, 2)
    first = _product(a, c) - _product(_conjugate(d), b)
    second = _product(d, a) + _product(b, _conjugate(c))
    return np.concatenate([first, second])


def _conjugate(number: Floats) -> Floats:
    return np.concatenate([number[:1], -number[1:]])
