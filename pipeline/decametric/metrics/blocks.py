"""Images in blocks that do not overlap, each of which is judged by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from decametric.grid import round_up
from decametric.metrics.pairs import SPATIAL
from decametric.metrics.reduction import Floats, check_windows, weigh
from decametric.metrics.window import FLAT

if TYPE_CHECKING:
    from collections.abc import Hashable

    from decametric.metrics.pairs import Pair

INSIDE = ("y_inside", "x_inside")
"""Dimensions of the pixels of a block."""


def in_blocks(
    both: Pair, edge: int, *, pad: bool = False, first: tuple[Hashable, ...] = ()
) -> Pair:
    """The pair as blocks: (..., *first, y, x, y_inside, x_inside), y and x counting blocks.

    Chunks become whole blocks; nothing is computed.

    Parameters
    ----------
    both : Pair
        The images; ``y`` and ``x`` must be reduced.
    edge : int
        Edge of the blocks in pixels.
    pad : bool
        Mirror the image about its far edges to complete the last blocks, which are left out
        otherwise.
    first : tuple of names
        Dimensions that stand directly before the blocks.
    """
    check_windows(both)

    def cut(image: xr.DataArray) -> xr.DataArray:
        return _cut(image, edge, pad=pad).transpose(..., *first, *SPATIAL, *INSIDE)

    return replace(
        both,
        reference=cut(both.reference),
        test=cut(both.test),
        weights=None if both.weights is None else cut(both.weights),
        dim=(*both.dim, *INSIDE),
    )


def uiq_of_blocks(
    reference: Any,  # noqa: ANN401  (arrays of any type)
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    axes: tuple[int, ...],
    skipna: bool,
) -> Floats:
    """Sum over blocks (..., y, x, y_inside, x_inside) of their quality index, and their weight.

    As `uiq`, of whose windows these are some; a block that touches a pixel which does not count
    is left out.
    """
    x, y, w = weigh(reference, test, weights, skipna=skipna)
    (mean_x, dx), (mean_y, dy) = deviations(x), deviations(y)
    brightness = mean_x**2 + mean_y**2
    contrast = _mean(dx * dx) + _mean(dy * dy)
    quality = ratio_or_one(2 * mean_x * mean_y, brightness)
    quality *= ratio_or_one(2 * _mean(dx * dy), np.where(contrast > FLAT * brightness, contrast, 0))
    counts = np.ones_like(quality) if w is None else _mean(w) * (w > 0).all((-2, -1), keepdims=True)
    return summed(quality, counts, axes)


def deviations(values: Floats) -> tuple[Floats, Floats]:
    """Mean of each block, and what its pixels deviate from it."""
    mean = _mean(values)
    return mean, values - mean


def summed(quality: Floats, counts: Floats, axes: tuple[int, ...]) -> Floats:
    """State of blocks: the sum of their weighted qualities, and of their weights."""
    values = np.where(counts > 0, quality * counts, 0)
    return np.stack([values.sum(axes, keepdims=True), counts.sum(axes, keepdims=True)], axis=-1)


def ratio_or_one(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, 1 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.ones_like(numerator), where=denominator != 0)


def _mean(values: Floats) -> Floats:
    """Mean over the pixels of each block."""
    mean: Floats = values.mean((-2, -1), keepdims=True)
    return mean


def _cut(image: xr.DataArray, edge: int, *, pad: bool) -> xr.DataArray:
    """An image in blocks, without the coordinates of its pixels."""
    bare = image.drop_vars([n for n, c in image.coords.items() if set(SPATIAL) & set(c.dims)])
    if pad:
        bare = _completed(_completed(bare, "y", edge), "x", edge)
    whole = bare.isel({name: slice(bare.sizes[name] // edge * edge) for name in SPATIAL})
    chunks = {name: round_up(max(whole.chunksizes[name]), edge) for name in SPATIAL}
    blocks = whole.chunk(chunks).coarsen(dict.fromkeys(SPATIAL, edge))
    return blocks.construct(y=(SPATIAL[0], INSIDE[0]), x=(SPATIAL[1], INSIDE[1]))


def _completed(image: xr.DataArray, dim: str, edge: int) -> xr.DataArray:
    """An image mirrored about its far edge until it is a multiple of `edge`."""
    # Dask's own padding stops where all of the image was mirrored once.
    length = image.sizes[dim]
    mirrored = np.pad(np.arange(length), (0, -length % edge), mode="symmetric")
    completed: xr.DataArray = xr.concat([image, image.isel({dim: mirrored[length:]})], dim)
    return completed
