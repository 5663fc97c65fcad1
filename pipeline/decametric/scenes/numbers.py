"""What the numbers of a user's own raster mean, told or refused, and how they become reflectance.

``reflectance = (DN + offset) * scale``, as everywhere in this package. A raster tells it by the
attributes ``scale_factor`` and ``add_offset`` (``reflectance = DN * scale_factor + add_offset``),
or the caller does. rioxarray writes 1 and 0 where a file tells nothing, and xarray moves what it
has applied from the attributes to the encoding; both are known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import RadiometryError, SceneError, UsageError
from decametric.scenes.radiometry import FIRST_SHIFTED, QUANTIFICATION, SHIFT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

LARGEST = 10
"""No reflectance is larger: the largest digital number, 65535, stands for 6.6."""

_NEUTRAL = (1.0, 0.0)
"""What rioxarray says of a file that has neither scale nor offset."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """How the numbers of a raster become reflectance."""

    offset: float
    """Digital numbers to add before the division."""
    divisor: float | None
    """Digital numbers per unit of reflectance; None where the numbers are reflectance."""
    nodata: float | None
    """The number that marks no data, beside NaN."""
    reason: str
    """Who said so, in words that go into the provenance."""


def told(
    name: str,
    array: xr.DataArray,
    *,
    offset: float | None = None,
    scale: float | None = None,
    nodata: float | None = None,
) -> Numbers:
    """What the numbers of a raster mean; arguments as `from_bands` has them.

    Raises
    ------
    RadiometryError
        If neither raster nor caller says it, or they contradict each other.
    """
    attributes, applied = _packing(array.attrs), _packing(array.encoding)
    mark = nodata if nodata is not None else _mark(array)
    if offset is not None:
        stated = (offset, _whole(1 / (scale or 1 / QUANTIFICATION)))
        _agree(name, stated, attributes, applied)
        return Numbers(*stated, 0 if mark is None else mark, "stated by the caller")
    if attributes != _NEUTRAL:
        factor, add = attributes
        reason = "scale_factor and add_offset of the rasters"
        stated = (_whole(add / factor), _whole(1 / factor))
        return Numbers(*stated, 0 if mark is None else mark, reason)
    if applied != _NEUTRAL:
        return Numbers(0, None, mark, "reflectance, decoded when the rasters were opened")
    # A mask turns integers into floats and leaves the numbers.
    stored = np.dtype(
        array.encoding.get("rasterio_dtype", array.encoding.get("dtype", array.dtype))
    )
    if array.dtype.kind != "f" or stored.kind in "iu":
        raise RadiometryError(_untold(name, stored))
    return Numbers(0, None, mark, "reflectance as given")


def reflectance(block: NDArray[Any], *, band: str, numbers: Numbers) -> NDArray[np.float32]:
    """Reflectance of a block, NaN for no data.

    Raises
    ------
    SceneError
        If a value is larger than any reflectance.
    """
    out = block.astype(np.float32)
    gaps = np.isnan(out)
    if numbers.nodata is not None:
        gaps |= block == numbers.nodata
    if numbers.divisor is not None:
        out += np.float32(numbers.offset)
        out /= np.float32(numbers.divisor)
    out[gaps] = np.nan
    size = np.max(np.abs(out), where=~gaps, initial=0)
    if size > LARGEST:
        message = (
            f"{band} has values of {size:g}, which no reflectance has: state offset={SHIFT} or "
            f"offset=0 if its numbers are digital numbers, nodata=... if one of them marks no data."
        )
        raise SceneError(message)
    return out


def classes(block: NDArray[Any], *, nodata: float | None) -> NDArray[np.uint8]:
    """Classes of a block, 0 for no data."""
    gaps = np.isnan(block) if block.dtype.kind == "f" else np.zeros(block.shape, bool)
    return np.where(gaps | (block == nodata), 0, block).astype(np.uint8)


def _packing(fields: Mapping[Any, Any]) -> tuple[float, float]:
    """Scale factor and offset to add in attributes or encoding; 1 and 0 where absent."""
    return float(fields.get("scale_factor", 1)), float(fields.get("add_offset", 0))


def _mark(array: xr.DataArray) -> float | None:
    """The number that marks no data according to the attributes."""
    found = array.attrs.get("_FillValue", array.attrs.get("missing_value"))
    return None if found is None else float(found)


def _whole(value: float) -> float:
    """A number that decimal fractions have blurred: 1 / 0.0001 is 10000."""
    return round(value) if abs(value - round(value)) < 1e-6 * max(1, abs(value)) else value


def _agree(
    name: str,
    stated: tuple[float, float],
    attributes: tuple[float, float],
    applied: tuple[float, float],
) -> None:
    """Refuse an offset for numbers that say otherwise, or that are reflectance already."""
    if applied != _NEUTRAL:
        message = (
            f"{name} was decoded when it was opened (scale_factor={applied[0]:g}, "
            f"add_offset={applied[1]:g}); leave out offset."
        )
        raise RadiometryError(message)
    factor, add = attributes
    if attributes != _NEUTRAL and stated != (_whole(add / factor), _whole(1 / factor)):
        message = (
            f"{name} has scale_factor={factor:g} and add_offset={add:g}, which is not "
            f"offset={stated[0]:g}; leave out offset, or delete the attributes if they are wrong."
        )
        raise RadiometryError(message)


def check_statement(offset: float | None, scale: float | None) -> None:
    """Check what the caller says of digital numbers.

    Raises
    ------
    UsageError
        If a scale comes without offset, or the offset is one of reflectance.
    """
    if scale is not None and not 0 < scale < 1:
        message = f"scale={scale:g} is not between 0 and 1; Sentinel-2 has scale=1e-4."
        raise UsageError(message)
    if scale is not None and offset is None:
        message = (
            f"scale={scale:g} comes without offset; state offset={SHIFT} for numbers that carry "
            f"the shift of baseline {FIRST_SHIFTED}, offset=0 for numbers that do not."
        )
        raise UsageError(message)
    if offset is not None and 0 < abs(offset) < 1:
        message = (
            f"offset={offset:g} is a reflectance; state digital numbers, as for load: "
            f"offset={_whole(offset / (scale or 1 / QUANTIFICATION)):g}."
        )
        raise UsageError(message)


def _untold(name: str, stored: np.dtype[Any]) -> str:
    """The sentence about digital numbers of which nothing is known."""
    return (
        f"{name} holds digital numbers ({stored}) and does not say how they become reflectance; "
        f"state offset={SHIFT} for numbers that carry the shift of baseline {FIRST_SHIFTED}, "
        f"offset=0 for numbers that do not."
    )
