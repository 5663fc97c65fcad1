"""A measured image and a sharpened one: two grids, of which one is nested in the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr

from decametric.degradation import degrade_image
from decametric.degradation.images import coarse_coords
from decametric.errors import UsageError
from decametric.grid import round_up
from decametric.metrics.pairs import (
    SPATIAL,
    Function,
    Options,
    checked,
    chunked,
    is_lazy,
    resolve,
    stacked,
    with_parameters,
)
from decametric.metrics.pixel import ratio_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping


BLOCK = 32
"""Least edge of blocks on the fine grid; on the coarse one they cover the same ground."""

CHUNK = (512, 2048)
"""Least and largest edge of chunks on the fine grid, about."""


@dataclass(frozen=True)
class Scales:
    """A coarse and a fine image of one scene; Dask inside, whatever came in."""

    coarse: xr.DataArray
    fine: xr.DataArray
    ratio: int
    options: Options
    """Those given, with a mask (y, x) of the coarse pixels that are valid at both scales."""
    lazy: bool
    """Whether Dask came in, so that Dask goes out."""

    @property
    def fine_options(self) -> Options:
        """Options of a metric on the fine grid."""
        return replace(
            self.options,
            mask=_repeated(self.options.mask, self.ratio),
            weights=_repeated(self.options.weights, self.ratio),
        )

    @property
    def block(self) -> int:
        """Edge of blocks on the fine grid, which are whole coarse pixels."""
        return round_up(BLOCK, self.ratio)

    def where(self, known: xr.DataArray) -> Scales:
        """The same images, of which only some coarse pixels count."""
        mask = self.options.mask
        if isinstance(mask, xr.DataArray):
            known = known & in_chunks_of(self.coarse, mask)
        return replace(self, options=replace(self.options, mask=known))

    def label(self, result: xr.DataArray, **attrs: Any) -> xr.DataArray:  # noqa: ANN401
        """Name a result, say what it is, and compute it if NumPy came in."""
        kept = dict(self.coarse.attrs) if self.options.keep_attrs else {}
        named = result.rename(attrs.pop("name")).drop_attrs().assign_attrs(kept, **attrs)
        return named if self.lazy else named.compute(scheduler="threads")


def scales(reference: xr.DataArray, test: xr.DataArray, ratio: int, options: Options) -> Scales:
    """Two images whose grids were checked, in chunks of the same ground; nothing is computed.

    Raises
    ------
    UsageError
        If the grids are not nested, or other dimensions differ.
    """
    lazy = is_lazy(reference, test, options.mask, options.weights)
    checked(reference, reference, options)
    check_nested(reference, test, ratio)
    fine = chunked(test)
    edges = {dim: _chunk(max(fine.chunksizes[dim]), ratio) for dim in SPATIAL}
    coarse = chunked(reference).chunk({dim: edge // ratio for dim, edge in edges.items()})
    # In single precision the rounding of the forward model would be what is measured.
    return Scales(coarse, fine.chunk(edges).astype(np.float64), ratio, options, lazy)


def spectra(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    ratio: float | None,
    options: Options,
    band_dim: str,
) -> Scales:
    """Two images of several bands, of which a pixel is valid where all are, at both scales."""
    x, y, options = stacked(reference, test, options, band_dim)
    dims = tuple(name for name in resolve(options.dim, x, y) if name != band_dim)
    both = scales(x, y, whole_ratio(ratio), replace(options, dim=dims))
    both = replace(both, options=_of_pixels(both.options, band_dim))
    valid = (finite(both.coarse) & complete(both.fine, both.ratio)).all(band_dim)
    return both.where(valid if options.skipna else xr.ones_like(valid))


def _of_pixels(options: Options, band_dim: str) -> Options:
    """Options whose mask and weights are the same for all bands."""
    mask, weights = options.mask, options.weights
    if isinstance(mask, xr.DataArray):
        mask = mask.all(band_dim) if band_dim in mask.dims else mask
        mask = mask.reset_coords(drop=True)
    if isinstance(weights, xr.DataArray):
        weights = weights.mean(band_dim) if band_dim in weights.dims else weights
        weights = chunked(weights.reset_coords(drop=True))
    return replace(options, mask=mask, weights=weights)


def complete(fine: xr.DataArray, ratio: int) -> xr.DataArray:
    """Coarse pixels of which all fine ones are finite, lazily."""
    share = degrade_image(finite(fine).astype(np.float32), ratio, "mean")
    whole: xr.DataArray = share == 1
    return whole


def finite(image: xr.DataArray) -> xr.DataArray:
    """Where an image has a number, lazily."""
    known: xr.DataArray = xr.apply_ufunc(np.isfinite, image, dask="allowed")
    return known


def degraded(
    both: Scales,
    operator: str,
    nyquist: float | Mapping[str, float] | None,
    band_dim: str,
) -> xr.DataArray:
    """The fine image as the coarse sensor would have seen it, on the grid of the coarse one."""
    coarse = degrade_image(both.fine, both.ratio, operator, nyquist=nyquist, band_dim=band_dim)
    if not both.options.skipna:
        coarse = coarse.where(complete(both.fine, both.ratio))
    return coarse


def whole_ratio(ratio: float | None) -> int:
    """Ratio of two nested grids.

    Raises
    ------
    UsageError
        If it is missing, below 1, or not a whole number.
    """
    number = ratio_of(ratio)
    if number % 1:
        message = f"ratio={ratio!r}: the grids are nested, so that it must be a whole number."
        raise UsageError(message)
    return int(number)


def check_nested(reference: xr.DataArray, test: xr.DataArray, ratio: int) -> None:
    """Refuse images unless each coarse pixel is exactly `ratio` x `ratio` fine ones.

    Raises
    ------
    UsageError
        If sizes do not fit, a coarse pixel lies elsewhere than the fine ones, by however little, or
        other dimensions differ.
    """
    for dim in SPATIAL:
        for name, image in (("reference", reference), ("test", test)):
            if dim not in image.dims:
                message = f"{name} has no dimension {dim!r}, only {image.dims}; rename its axes."
                raise UsageError(message)
        if test.sizes[dim] != ratio * reference.sizes[dim]:
            message = (
                f"test has {test.sizes[dim]} pixels along {dim!r} and reference "
                f"{reference.sizes[dim]}; with ratio={ratio} it must be {ratio} times as many."
            )
            raise UsageError(message)
    here, there = (coarse_coords(image, step) for image, step in ((reference, 1), (test, ratio)))
    for dim in {*SPATIAL} & {*here} & {*there}:
        if not np.array_equal(here[dim][1], there[dim][1]):
            off = np.abs(here[dim][1] - there[dim][1]).max()
            message = (
                f"The pixels of reference along {dim!r} are off the middle of those of test by up "
                f"to {off:.3g}; if the grids are nested, leave the coordinates of one away with "
                f"`reference.drop_vars({dim!r})`."
            )
            raise UsageError(message)
    first = dict.fromkeys(SPATIAL, 0)
    checked(reference.isel(first, drop=True), test.isel(first, drop=True), Options())


def in_chunks_of(image: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Another array of the same pixels in the chunks of an image, so that none are cut small."""
    return other.chunk({dim: image.chunksizes[dim] for dim in SPATIAL if dim in other.dims})


def _chunk(edge: int, ratio: int) -> int:
    """Edge of chunks that hold whole blocks, near one that is given."""
    return round_up(min(max(edge, CHUNK[0]), CHUNK[1]), round_up(BLOCK, ratio))


def _repeated(given: Any, ratio: int) -> xr.DataArray | None:  # noqa: ANN401  (a mask or weights)
    """Something of the coarse pixels for each of their fine pixels."""
    if given is None:
        return None
    bare = given.drop_vars([n for n, c in given.coords.items() if set(SPATIAL) & set(c.dims)])
    data = bare.data
    for dim in SPATIAL:
        data = da.repeat(data, ratio, axis=bare.get_axis_num(dim))
    coords: dict[Hashable, Any] = dict(bare.coords)
    return xr.DataArray(data, coords, bare.dims)


SHARED_PARAMETERS = """\
reference : xarray.DataArray or xarray.Dataset
    What was measured, coarse. Any numeric type, NumPy or Dask.
test : xarray.DataArray or xarray.Dataset
    What was made of it, with `ratio` times as many pixels along y and x. If both have
    coordinates, the middle of each coarse pixel must be that of its fine ones, exactly.
dim : str, iterable of str, ... or None
    Dimensions to reduce, the pixels of an image by default; None and ``...`` mean all.
mask : xarray.DataArray or xarray.Dataset of bool, optional
    True where a pixel of the reference counts, and what was made of it.
weights : xarray.DataArray or xarray.Dataset, optional
    How much each pixel of the reference counts, at least 0.
skipna : bool
    Leave out pixels that are not finite in either image; False makes the score NaN instead.
keep_attrs : bool
    Put the attributes of `reference` beneath those of the score.
"""


def documented_at_two_scales(function: Function) -> Function:
    """Add what all metrics of two scales share to a docstring, before its own parameters."""
    return with_parameters(function, SHARED_PARAMETERS)
