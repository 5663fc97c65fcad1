"""Two images that are compared: aligned exactly, weighted, in chunks, ready to be reduced.

Every metric begins here, so that alignment, masks, NumPy and Dask are treated alike in all.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from inspect import cleandoc
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xarray as xr
from dask.array import PerformanceWarning

from decametric.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da

Data = TypeVar("Data", xr.DataArray, xr.Dataset)
Function = TypeVar("Function", bound="Callable[..., Any]")
Dims = str | Iterable[Hashable] | EllipsisType | None

SPATIAL = ("y", "x")
"""Axes of a window, and what is reduced unless told otherwise."""

BLOCK = 512
"""Edge of the blocks in which NumPy input is worked through."""

RANGES = {"uint8": 255.0, "12bit": 4095.0, "reflectance": 1.0}
"""Names that `data_range` takes, and the largest value of such images."""


@dataclass(frozen=True)
class Options:
    """What every metric takes beside its images."""

    dim: Dims = SPATIAL
    mask: xr.DataArray | xr.Dataset | None = None
    weights: xr.DataArray | xr.Dataset | None = None
    skipna: bool = True
    keep_attrs: bool = False

    def of_variable(self, name: Hashable) -> Options:
        """The same for one variable of a Dataset."""
        return replace(self, mask=_variable(self.mask, name), weights=_variable(self.weights, name))


@dataclass(frozen=True)
class Pair:
    """Reference and test on one grid, in the same chunks; Dask inside, whatever came in."""

    reference: xr.DataArray
    test: xr.DataArray
    weights: xr.DataArray | None
    """Weight of every pixel, 0 where it is masked; None where all count alike."""
    dim: tuple[Hashable, ...]
    """Dimensions that are reduced."""
    skipna: bool
    lazy: bool
    """Whether Dask came in, so that Dask goes out."""

    @property
    def kept(self) -> tuple[Hashable, ...]:
        """Dimensions that stay."""
        return tuple(name for name in self.reference.dims if name not in self.dim)

    @property
    def axes(self) -> tuple[int, ...]:
        """Positions of the reduced dimensions."""
        return tuple(self.reference.get_axis_num(self.dim))

    @property
    def arrays(self) -> tuple[da.Array, da.Array, da.Array | None]:
        """Reference, test and weights as Dask arrays of one shape."""
        weights = None if self.weights is None else self.weights.data
        return self.reference.data, self.test.data, weights

    def rechunk(self, chunks: dict[Hashable, Any]) -> Pair:
        """The same pair in other chunks."""
        return replace(
            self,
            reference=self.reference.chunk(chunks),
            test=self.test.chunk(chunks),
            weights=None if self.weights is None else self.weights.chunk(chunks),
        )


def is_lazy(*given: object) -> bool:
    """Whether one of some arguments is an array of Dask."""
    return any(isinstance(each, xr.DataArray) and each.chunks is not None for each in given)


def pair(reference: xr.DataArray, test: xr.DataArray, options: Options) -> Pair:
    """Make a pair of two arrays; nothing is computed.

    Raises
    ------
    UsageError
        If the grids differ, a dimension is missing, or a type cannot be compared.
    """
    given = checked(reference, test, options)
    dim = resolve(options.dim, reference, test)
    lazy = is_lazy(*given.values())
    shaped: tuple[xr.DataArray, ...] = xr.broadcast(*given.values())
    order = shaped[0].dims
    with warnings.catch_warnings():
        # Chunks that cross make many small ones; that costs time, and is what was given.
        warnings.simplefilter("ignore", PerformanceWarning)
        alike: tuple[xr.DataArray, ...] = xr.unify_chunks(  # type: ignore[assignment]
            *(chunked(array.transpose(*order)) for array in shaped)
        )
    named = dict(zip(given, alike, strict=True))
    return Pair(named["reference"], named["test"], _weights(named), dim, options.skipna, lazy)


def check_grids(
    reference: xr.DataArray, other: xr.DataArray, name: str, against: str = "reference"
) -> None:
    """Refuse arrays whose shared dimensions differ in size or, by however little, in labels.

    Raises
    ------
    UsageError
        With the dimension, the largest difference, and the way out.
    """
    for dim in [d for d in reference.dims if d in other.dims]:
        if reference.sizes[dim] != other.sizes[dim]:
            message = (
                f"{name} has {other.sizes[dim]} pixels along {dim!r} and {against} has "
                f"{reference.sizes[dim]}; bring both to one grid first."
            )
            raise UsageError(message)
        if dim in reference.indexes and dim in other.indexes:
            mine, its = reference.indexes[dim], other.indexes[dim]
            if not mine.equals(its):
                message = (
                    f"The coordinate {dim!r} of {name} differs from that of {against}"
                    f"{_difference(mine, its)}; if the pixels are the same, say so with "
                    f"`{name}.assign_coords({dim}={against}.{dim})`."
                )
                raise UsageError(message)


def resolve(dim: Dims, *arrays: xr.DataArray) -> tuple[Hashable, ...]:
    """Names of the dimensions to reduce; None and ``...`` mean all."""
    present = tuple(dict.fromkeys(name for array in arrays for name in array.dims))
    if dim is None or dim is ...:
        return present
    wanted = (dim,) if isinstance(dim, str) else tuple(dim)
    for name in wanted:
        if name not in present:
            message = f"There is no dimension {name!r} to reduce; the images have {present}."
            raise UsageError(message)
    return wanted


def data_range_of(given: float | str | None) -> float:
    """Largest possible value minus the smallest, from a number or a name.

    Raises
    ------
    UsageError
        If it is missing (a wrong one changes scores silently), unknown, or not positive.
    """
    if isinstance(given, str) and given in RANGES:
        return RANGES[given]
    if given is None or isinstance(given, str) or not 0 < given < np.inf:
        message = (
            f"data_range={given!r}: give the span of possible values, a number or one of "
            f"{', '.join(map(repr, RANGES))}; 1.0 for reflectance, 10000 for digital numbers."
        )
        raise UsageError(message)
    return float(given)


def by_variable(
    metric: Callable[[xr.DataArray, xr.DataArray, Options], xr.DataArray],
    reference: Data,
    test: Data,
    options: Options,
) -> Data:
    """Apply a metric of one band to an array, or to every variable of a Dataset.

    Raises
    ------
    UsageError
        If one is a Dataset and the other not, or their variables differ.
    """
    if isinstance(reference, xr.DataArray):
        return metric(reference, test, options)
    names = variables(reference, test)
    scored = {
        name: metric(reference[name], test[name], options.of_variable(name)) for name in names
    }
    return xr.Dataset(scored)


def stacked(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    options: Options,
    band_dim: str,
) -> tuple[xr.DataArray, xr.DataArray, Options]:
    """Arrays with a band dimension, for metrics that read the bands of a pixel together.

    The variables of Datasets become the bands; masks of one variable each must agree in all.

    Raises
    ------
    UsageError
        If there is no dimension `band_dim`.
    """
    if isinstance(reference, xr.DataArray) and isinstance(test, xr.DataArray):
        _check_bands(reference, "reference", band_dim)
        _check_bands(test, "test", band_dim)
        return reference, test, options
    names = variables(reference, test)
    options = replace(
        options,
        mask=_stack(options.mask, names, band_dim),
        weights=_stack(options.weights, names, band_dim),
    )
    return _stack(reference, names, band_dim), _stack(test, names, band_dim), options


def _check_bands(array: xr.DataArray, name: str, band_dim: str) -> None:
    if band_dim not in array.dims:
        message = f"{name} has no dimension {band_dim!r}, only {array.dims}; name it by band_dim=."
        raise UsageError(message)


def variables(reference: Any, test: Any) -> list[Hashable]:  # noqa: ANN401  (checked here)
    """Names of the variables that two Datasets share; it must be all of them."""
    if not (isinstance(reference, xr.Dataset) and isinstance(test, xr.Dataset)):
        message = "reference and test must both be DataArrays or both Datasets."
        raise UsageError(message)
    if unpaired := sorted(map(str, set(reference.data_vars) ^ set(test.data_vars))):
        message = f"Variables that only one of the Datasets has: {', '.join(unpaired)}."
        raise UsageError(message)
    return list(reference.data_vars)


def _stack(data: Any, names: Sequence[Hashable], band_dim: str) -> Any:  # noqa: ANN401
    """A Dataset with its variables as bands; anything else unchanged."""
    if not isinstance(data, xr.Dataset):
        return data
    return data[list(names)].to_dataarray(band_dim)


def _variable(data: xr.DataArray | xr.Dataset | None, name: Hashable) -> xr.DataArray | None:
    """What belongs to one variable."""
    return data[name] if isinstance(data, xr.Dataset) else data


def checked(
    reference: xr.DataArray, test: xr.DataArray, options: Options
) -> dict[str, xr.DataArray]:
    """All arrays of a comparison by their role, of fitting types and on one grid."""
    roles = {"reference": reference, "test": test, "mask": options.mask, "weights": options.weights}
    found: dict[str, xr.DataArray] = {}
    for name, given in roles.items():
        if given is None:
            continue
        kinds = "b" if name == "mask" else "buif"
        if not isinstance(given, xr.DataArray) or given.dtype.kind not in kinds:
            found_type = getattr(given, "dtype", type(given).__name__)
            wanted = "a DataArray of bool (True counts)" if name == "mask" else "one of numbers"
            message = f"{name} must be {wanted}, not {found_type}."
            raise UsageError(message)
        for other, array in found.items():
            check_grids(array, given, name, other)
        # A mask that was cut from one band still carries its label, which means nothing here.
        found[name] = given if name in ("reference", "test") else given.reset_coords(drop=True)
    return found


def _difference(mine: Any, its: Any) -> str:  # noqa: ANN401  (pandas indexes)
    """By how much two coordinates differ, where that can be said."""
    if mine.dtype.kind not in "iuf" or its.dtype.kind not in "iuf":
        return ""
    return f" by up to {np.max(np.abs(np.asarray(mine) - np.asarray(its))):.3g}"


def chunked(array: xr.DataArray) -> xr.DataArray:
    """A lazy array; NumPy is cut in blocks, so that temporaries stay small."""
    if array.chunks is not None:
        return array
    chunks = {name: BLOCK if name in SPATIAL else "auto" for name in array.dims}
    return array.chunk(chunks)


def _weights(given: dict[str, xr.DataArray]) -> xr.DataArray | None:
    """Mask and weights as one array."""
    mask, weights = given.get("mask"), given.get("weights")
    if mask is None or weights is None:
        return weights if mask is None else mask
    return weights.where(mask, 0)


SHARED_PARAMETERS = """\
reference, test : xarray.DataArray or xarray.Dataset
    The truth and the image to judge, on exactly the same coordinates; any numeric type, NumPy
    or Dask. Datasets are matched variable by variable.
dim : str, iterable of str, ... or None
    Dimensions to reduce, the pixels of an image by default; None and ``...`` mean all. What
    is named together is pooled before any root or logarithm is taken.
mask : xarray.DataArray or xarray.Dataset of bool, optional
    True where a pixel counts.
weights : xarray.DataArray or xarray.Dataset, optional
    How much each pixel counts, at least 0.
skipna : bool
    Leave out pixels that are not finite in either image; False makes the score NaN instead.
keep_attrs : bool
    Put the attributes of `reference` beneath those of the score.
"""


def documented(function: Function) -> Function:
    """Add what all metrics share to a docstring, before the parameters of its own if it has any."""
    return with_parameters(function, SHARED_PARAMETERS)


def with_parameters(function: Function, shared: str) -> Function:
    """Put parameters first in a docstring, without its indentation, which Python 3.13 strips."""
    text = cleandoc(function.__doc__ or "")
    heading = "Parameters\n----------\n"
    if f"\n{heading}" not in text:
        text = text.replace("\nReturns\n", f"\n{heading}\nReturns\n", 1)
    function.__doc__ = text.replace(f"\n{heading}", f"\n{heading}{shared}", 1)
    return function
