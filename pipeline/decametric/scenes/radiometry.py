"""Which offset turns the digital numbers of an item into reflectance, and why.

``reflectance = (DN + offset) / 10000``. The processor of ESA shifts the numbers by 1000 since
processing baseline 04.00, and reprocessed archives carry the shift for every year, so the date says
nothing. Catalogs add their own dialects; a contradiction is refused, never guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import RadiometryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pystac
    from numpy.typing import NDArray

QUANTIFICATION = 10000
"""Digital numbers per unit of reflectance, in every Sentinel-2 product of level 1C and 2A."""

SHIFT = -1000
"""Offset of processing baseline 04.00 and later."""

FIRST_SHIFTED = "04.00"
"""First processing baseline whose digital numbers carry the shift."""

FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
"""Properties by which Earth Search (v1, v0) says that it removed the shift from the pixels."""

STATED = "stated by the caller"
"""Reason of an offset that the item leaves open."""


@dataclass(frozen=True, slots=True)
class OffsetRule:
    """The offset of one item together with its reason."""

    offset: int
    """Digital numbers to add before the division by 10000."""
    reason: str
    """Where the offset comes from, in words that go into the provenance."""


def offset_rule(
    item: pystac.Item, keys: Iterable[str], baseline: str | None, stated: int | None = None
) -> OffsetRule:
    """Offset of the reflectance assets of an item.

    Parameters
    ----------
    item : pystac.Item
        The item.
    keys : iterable of str
        Keys of its reflectance assets (aerosol and water vapour maps have other rules).
    baseline : str or None
        Processing baseline, ``"05.10"``, where the item tells it.
    stated : int, optional
        Offset that the caller states, for an item that leaves it open.

    Raises
    ------
    RadiometryError
        If the item says nothing, or contradicts itself.
    """
    try:
        return _told(item, keys, baseline)
    except _DoubtError as doubt:
        if stated is None:
            raise _ambiguous(item, str(doubt)) from None
    return OffsetRule(int(stated), STATED)


class _DoubtError(Exception):
    """Why an item leaves its offset open."""


def _told(item: pystac.Item, keys: Iterable[str], baseline: str | None) -> OffsetRule:
    """What the item itself says of its offset."""
    declared = _declared(item, keys)
    flag = next((item.properties[name] for name in FLAGS if name in item.properties), None)
    if flag is True:
        # Earth Search prints raster:bands offset -0.1 beside a true flag: the flag is right there.
        return OffsetRule(0, "earthsearch:boa_offset_applied is true")
    expected = None if baseline is None else SHIFT if baseline >= FIRST_SHIFTED else 0
    if declared is not None and expected is not None and declared != expected:
        message = (
            f"its metadata declare an offset of {declared}, processing baseline {baseline} has "
            f"{expected}"
        )
        raise _DoubtError(message)
    if declared is not None:
        source = item.properties.get("decametric:source", "raster metadata")
        return OffsetRule(declared, f"offset declared by the item's {source}")
    if expected is not None:
        return OffsetRule(expected, f"processing baseline {baseline}")
    message = "it names no offset and no processing baseline"
    raise _DoubtError(message)


def reflectance(*granules: NDArray[np.uint16], offsets: Sequence[int]) -> NDArray[np.float32]:
    """``(DN + offset) / 10000`` of the first granule that is valid; NaN where none is.

    Parameters
    ----------
    *granules : array of uint16
        Digital numbers, 0 = no data, all of one shape.
    offsets : sequence of int
        Offset of each granule in digital numbers.

    Returns
    -------
    array of float32
        Sum and quotient are exact and correctly rounded, so every digital number survives.
    """
    out = _one_reflectance(granules[0], offsets[0])
    for granule, offset in zip(granules[1:], offsets[1:], strict=True):
        out = np.where(np.isnan(out), _one_reflectance(granule, offset), out)
    return out


def _one_reflectance(granule: NDArray[np.uint16], offset: int) -> NDArray[np.float32]:
    out = granule.astype(np.float32)
    out += np.float32(offset)
    out /= np.float32(QUANTIFICATION)
    out[granule == 0] = np.nan
    return out


def first_class(*granules: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Class of the first granule that has one; 0 where none has."""
    out = granules[0].astype(np.uint8)
    for granule in granules[1:]:
        out = np.where(out == 0, granule.astype(np.uint8), out)
    return out


def raster_fields(asset: pystac.Asset) -> dict[str, Any]:
    """Raster metadata of a one-band asset, version 1 or 2, without the prefix ``raster:``."""
    fields = asset.extra_fields
    found: dict[str, Any] = {}
    bands = (each for name in ("bands", "raster:bands") for each in (fields.get(name) or ())[:1])
    for part in (fields, *bands):
        for name in ("scale", "offset", "spatial_resolution"):
            value = part.get(f"raster:{name}", part.get(name))
            if value is not None:
                found[name] = value
    return found


def _declared(item: pystac.Item, keys: Iterable[str]) -> int | None:
    """Offset in digital numbers that the reflectance assets declare, None if they do not."""
    offsets = set()
    for key in keys:
        fields = raster_fields(item.assets[key])
        scale = float(fields.get("scale", 1 / QUANTIFICATION))
        if not math.isclose(scale, 1 / QUANTIFICATION, rel_tol=1e-6):
            message = (
                f"Asset {key!r} of item {item.id} has scale {scale}; Sentinel-2 reflectance is "
                f"stored with scale 0.0001, so pass items of level L1C or L2A."
            )
            raise RadiometryError(message)
        if "offset" in fields:
            offsets.add(round(float(fields["offset"]) * QUANTIFICATION))
    if len(offsets) > 1:
        message = f"its bands declare different offsets {sorted(offsets)}"
        raise _DoubtError(message)
    return offsets.pop() if offsets else None


def _ambiguous(item: pystac.Item, why: str) -> RadiometryError:
    """The refusal of an item whose offset is in doubt, with the ways out."""
    return RadiometryError(
        f"The radiometric offset of item {item.id} is ambiguous ({why}); state it: offset={SHIFT} "
        f"(command line: --offset={SHIFT}) for numbers that carry the shift of baseline "
        f"{FIRST_SHIFTED}, offset=0 (--offset=0) for numbers that do not."
    )
