"""Reduction of chunks to a few numbers each, and of those to one; the same for any chunking.

A metric is never the mean of the metrics of chunks: roots, logarithms and ratios come after the
whole reduction. What chunks hand on are *states*: sums (merged by addition) or moments (merged
after Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115, so that a large mean does
not swallow a small variance). Windows belong to the pixel where they begin: a block reads the
pixels that its windows need beyond its own, and the union of all blocks is exactly the set of
windows that lie inside the image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from decametric.errors import UsageError
from decametric.metrics.pairs import SPATIAL

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from decametric.metrics.pairs import Options, Pair

Floats = NDArray[np.float64]
STATE = "state"

OF_DATA = "of the data"
"""Units of a score that is measured in those of the images."""

SLAB = 2**18
"""Pixels of a chunk that are worked on at once: what a processor's cache holds."""


Kernel = Callable[..., Floats]
"""Turns pixels into a state: ``kernel(reference, test, weights, *, axes, skipna, **options)``.

The three arrays have one shape and any type, `weights` may be None (all ones); the result keeps
their dimensions, the reduced `axes` with length 1, and has the state as its last axis.
"""

Merge = Callable[..., Floats]
"""Merges states along axes: ``merge(states, axis, keepdims)``."""


def add(states: Floats, axis: tuple[int, ...], keepdims: bool) -> Floats:  # noqa: FBT001  (Dask's)
    """Merge sums."""
    total: Floats = states.sum(axis=axis, keepdims=keepdims)
    return total


def reduce(
    pair: Pair,
    kernel: Kernel,
    size: int,
    *,
    merge: Merge = add,
    window: int = 1,
    options: dict[str, Any] | None = None,
) -> xr.DataArray:
    """States of a pair, merged over its reduced dimensions; lazy.

    Parameters
    ----------
    pair : Pair
        The images.
    kernel : Kernel
        Function of a block; it must be deterministic and importable (workers get its name).
    size : int
        Numbers in a state.
    merge : callable
        Merges states along axes: `add` or `merge_moments`.
    window : int
        Edge of the windows in pixels; 1 for metrics of single pixels. A kernel with windows
        gets `window` - 1 pixels more on the far sides, and those of its windows that lie inside.
    options : dict, optional
        Further keyword arguments of the kernel.

    Returns
    -------
    xarray.DataArray
        The kept dimensions of the pair, and ``state``.
    """
    if window > 1:
        check_windows(pair)
    arrays = [None if array is None else _with_halo(array, pair, window) for array in pair.arrays]
    index = tuple(range(arrays[0].ndim))  # type: ignore[union-attr]  # only weights may be None
    partial = da.blockwise(
        _in_slabs,
        (*index, len(index)),
        *(part for array in arrays for part in (array, None if array is None else index)),
        new_axes={len(index): size},
        adjust_chunks=dict.fromkeys(pair.axes, 1),
        kernel=kernel,
        merge=merge,
        axes=pair.axes,
        slab_axis=_slab_axis(pair),
        window=window,
        skipna=pair.skipna,
        options=options or {},
        dtype=np.float64,
        meta=np.empty((0,) * (len(index) + 1), np.float64),
    )
    return merged(partial, pair, merge)


def merged(partial: da.Array, pair: Pair, merge: Merge = add) -> xr.DataArray:
    """Merge the states of blocks, tree-wise, over the reduced dimensions of a pair.

    Parameters
    ----------
    partial : dask.array.Array
        One element along every reduced axis for each block, and the state as last axis.
    pair : Pair
        Names the dimensions.
    merge : callable
        `add` or `merge_moments`.

    Returns
    -------
    xarray.DataArray
        The kept dimensions of the pair, and ``state``.
    """
    whole = da.reduction(
        partial,
        chunk=_unchanged,
        combine=merge,
        aggregate=merge,
        axis=pair.axes,
        dtype=np.float64,
        meta=np.empty((0,) * (len(pair.kept) + 1), np.float64),
    )
    coords = {
        name: coord
        for name, coord in pair.reference.coords.items()
        if set(coord.dims) <= set(pair.kept)
    }
    return xr.DataArray(whole, dims=(*pair.kept, STATE), coords=coords)


def finish(
    states: xr.DataArray,
    function: Callable[..., Any],
    pair: Pair,
    options: Options,
    *,
    core: tuple[Hashable, ...] = (),
    **attrs: Any,  # noqa: ANN401  (attributes of the result)
) -> xr.DataArray:
    """A metric from merged states: roots, logarithms and ratios are taken here, once.

    Parameters
    ----------
    states : xarray.DataArray
        What `reduce` returns.
    function : callable
        Array (*core, state) with any leading axes -> array of the leading axes.
    pair, options : Pair, Options
        Where the states come from.
    core : tuple of names
        Kept dimensions that `function` reduces, the band for ERGAS.
    **attrs
        Attributes of the result: ``name`` (required), ``long_name``, ``units`` and parameters.

    Returns
    -------
    xarray.DataArray
        float64; computed if NumPy came in, lazy if Dask did.
    """
    single = states.chunk(dict.fromkeys((*core, STATE), -1))
    result: xr.DataArray = xr.apply_ufunc(
        _quietly,
        single,
        input_core_dims=[[*core, STATE]],
        kwargs={"function": function},
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return label(result, pair, options, **attrs)


def label(result: xr.DataArray, pair: Pair, options: Options, **attrs: Any) -> xr.DataArray:  # noqa: ANN401
    """Name a result, say what it is, and compute it if NumPy came in."""
    if attrs.get("units") == OF_DATA:
        attrs["units"] = pair.reference.attrs.get("units", "1")
    kept = dict(pair.reference.attrs) if options.keep_attrs else {}
    named = result.rename(attrs.pop("name")).assign_attrs(kept, **attrs)
    # Threads by name, lest an active cluster be sent the arrays of this process.
    return named if pair.lazy else named.compute(scheduler="threads")


def check_windows(pair: Pair) -> None:
    """Windows slide over y and x; both must be reduced.

    Raises
    ------
    UsageError
        If `dim` lacks one of them.
    """
    if missing := [name for name in SPATIAL if name not in pair.dim]:
        message = (
            f"This metric looks at windows over y and x; dim={pair.dim} lacks "
            f"{' and '.join(missing)} (rename the axes of the image if they have other names)."
        )
        raise UsageError(message)


def weigh(reference: Any, test: Any, weights: Any, *, skipna: bool) -> tuple[Floats, Floats, Any]:  # noqa: ANN401
    """Images as float64, zero where a pixel does not count, and the weights (None: all count).

    Casting comes first: differences and products of unsigned integers wrap.

    Raises
    ------
    UsageError
        If a weight is negative or not a number.
    """
    x, y = np.asarray(reference, np.float64), np.asarray(test, np.float64)
    if weights is not None:
        weights = np.asarray(weights, np.float64)
        if not (weights >= 0).all():
            message = "Weights must be numbers of at least 0; fill the missing ones with 0."
            raise UsageError(message)
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.all():
        if skipna:
            weights = finite.astype(np.float64) if weights is None else np.where(finite, weights, 0)
        else:  # an infinite number spoils a score as NaN does
            x, y = np.where(finite, x, np.nan), np.where(finite, y, np.nan)
    if weights is not None:
        counts = weights > 0
        x, y = np.where(counts, x, 0), np.where(counts, y, 0)
    return x, y, weights


def _in_slabs(
    reference: Any,  # noqa: ANN401
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    kernel: Kernel,
    merge: Merge,
    axes: tuple[int, ...],
    slab_axis: int,
    window: int,
    skipna: bool,
    options: dict[str, Any],
) -> Floats:
    """Run a kernel over a block, a few rows at a time, and merge the states."""
    states = [
        kernel(
            reference[slab],
            test[slab],
            None if weights is None else weights[slab],
            axes=axes,
            skipna=skipna,
            **options,
        )
        for slab in _slabs(reference.shape, slab_axis, window)
    ]
    if len(states) == 1:
        return states[0]
    return merge(np.concatenate(states, axis=slab_axis), axis=(slab_axis,), keepdims=True)


def _slabs(shape: tuple[int, ...], axis: int, window: int) -> Iterator[tuple[slice, ...]]:
    """Slices of a block along one axis that share `window` - 1 pixels."""
    length = shape[axis]
    across = max(1, int(np.prod(shape)) // max(1, length))
    step = max(window, SLAB // across)
    for start in range(0, max(1, length - window + 1), step):
        stop = min(length, start + step + window - 1)
        yield (*(slice(None),) * axis, slice(start, stop))


def _slab_axis(pair: Pair) -> int:
    """The axis along which blocks are worked through: y, or the first that is reduced."""
    name = SPATIAL[0] if SPATIAL[0] in pair.dim else pair.dim[0]
    return int(pair.reference.get_axis_num(name))


def _with_halo(array: da.Array, pair: Pair, window: int) -> da.Array:
    """Blocks that also hold the pixels which their last windows need."""
    if window == 1:
        return array
    depth = {
        axis: (0, min(window, array.shape[axis]) - 1)
        for axis in (pair.reference.get_axis_num(name) for name in SPATIAL)
    }
    extended: da.Array = da.overlap.overlap(array, depth=depth, boundary="none")
    return extended


def _unchanged(states: Floats, axis: object, keepdims: object) -> Floats:  # noqa: ARG001  (Dask's)
    return states


def _quietly(states: Floats, function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Zero over zero is NaN and no warning: an image may be constant or empty."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return function(states)
