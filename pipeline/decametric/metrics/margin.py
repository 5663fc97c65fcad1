"""Blocks with a wide margin, for metrics that must know the surroundings of a pixel.

The blocks are those of a grid that depends on the size of the images alone, whatever their chunks
are: what is rounded in a block is rounded alike for every chunking. Their margin is mirrored where
the image ends.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from decametric.metrics.pairs import SPATIAL

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from decametric.metrics.pairs import Pair
    from decametric.metrics.reduction import Floats

MARGIN = 64
"""Pixels around a block."""

TILE = 1024
"""Largest edge of a block without its margin, which costs the more the smaller a block is. Two
margins or more, so that a margin never reaches beyond the neighbour."""

INNER = np.s_[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
"""What a block has without its margin."""


def upright(both: Pair, together: Sequence[Hashable] = ()) -> Pair:
    """A pair with y and x last, and one image in a chunk.

    Parameters
    ----------
    both : Pair
        Any.
    together : sequence of names
        Dimensions that a chunk has all of, the bands of one image.
    """
    names = [name for name in both.reference.dims if name not in SPATIAL]
    order = (*names, *SPATIAL)
    turned = replace(
        both,
        reference=both.reference.transpose(*order),
        test=both.test.transpose(*order),
        weights=None if both.weights is None else both.weights.transpose(*order),
    )
    return turned.rechunk({name: -1 if name in together else 1 for name in names})


def on_grid(both: Pair) -> Pair:
    """An upright pair in blocks without a margin."""
    return both.rechunk({name: tiles(both.reference.sizes[name]) for name in SPATIAL})


def with_margin(array: da.Array, mode: str = "symmetric") -> da.Array:
    """Blocks of an upright array with their margin.

    Each is put together from slices: were the array rechunked and then overlapped, Dask would
    hold more than twice the memory.

    Parameters
    ----------
    array : dask.array.Array
        (..., y, x) in any chunks along y and x.
    mode : str
        How `numpy.pad` makes the margin where the image ends.
    """
    sizes = [tiles(length) for length in array.shape[-2:]]
    rows, columns = ([_reach(part, n) for n in range(len(part))] for part in sizes)
    wide = da.block(
        [[array[..., row, column].rechunk({-2: -1, -1: -1}) for column in columns] for row in rows]
    )
    chunks = [tuple(size + 2 * MARGIN for size in part) for part in sizes]
    extended: da.Array = wide.map_blocks(
        _pad,
        chunks=(*array.chunks[:-2], *chunks),
        dtype=array.dtype,
        meta=array._meta,  # noqa: SLF001  (as Dask's own functions do)
        counts=(len(rows), len(columns)),
        mode=mode,
    )
    return extended


def states_of(
    images: Sequence[da.Array | None],
    kernel: Callable[..., Floats],
    size: int,
    *,
    facts: Sequence[da.Array] = (),
    **options: Any,  # noqa: ANN401  (of the kernel)
) -> da.Array:
    """States of blocks: one element along every dimension of the images, and the state.

    Parameters
    ----------
    images : sequence of dask.array.Array or None
        In the same blocks; the first is there.
    kernel : callable
        ``kernel(*images, *facts, **options)`` returns the state of a block, a line of numbers.
    size : int
        Numbers in a state.
    facts : sequence of dask.array.Array
        What is known of each image: its dimensions without y and x, then some of their own.
    """
    first = next(image for image in images if image is not None)
    index = tuple(range(first.ndim))
    arguments: list[Any] = []
    for image in images:
        arguments += [image, None if image is None else index]
    labels = itertools.count(first.ndim + 1)
    for fact in facts:
        own = itertools.islice(labels, fact.ndim - first.ndim + 2)
        arguments += [fact, (*index[:-2], *own)]
    states: da.Array = da.blockwise(
        _shaped,
        (*index, first.ndim),
        *arguments,
        new_axes={first.ndim: size},
        adjust_chunks=dict.fromkeys(index, 1),
        concatenate=True,
        kernel=kernel,
        ndim=first.ndim,
        options=options,
        dtype=np.float64,
        meta=np.empty((0,) * (first.ndim + 1), np.float64),
    )
    return states


def _shaped(*arrays: Any, kernel: Callable[..., Floats], ndim: int, options: dict[str, Any]) -> Any:  # noqa: ANN401
    """The state of a block, with the dimensions of the block before it."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinite pixels, if not left out
        return kernel(*arrays, **options).reshape(*(1,) * ndim, -1)


def tiles(length: int) -> tuple[int, ...]:
    """Sizes of as few nearly equal parts of at most `TILE` pixels as there can be."""
    count = max(1, -(-length // TILE))
    return tuple(length * (n + 1) // count - length * n // count for n in range(count))


def _reach(sizes: tuple[int, ...], n: int) -> slice:
    """Pixels of a part and of its margin, as far as there are any."""
    return slice(max(0, sum(sizes[:n]) - MARGIN), sum(sizes[: n + 1]) + MARGIN)


def _pad(block: Any, counts: tuple[int, int], mode: str, block_id: tuple[int, ...]) -> Any:  # noqa: ANN401
    """A block with the margin that it lacks where the image ends."""
    sides = [
        (MARGIN * (place == 0), MARGIN * (place == count - 1))
        for place, count in zip(block_id[-2:], counts, strict=True)
    ]
    return np.pad(block, [(0, 0)] * (block.ndim - 2) + sides, mode=mode)  # type: ignore[call-overload]
