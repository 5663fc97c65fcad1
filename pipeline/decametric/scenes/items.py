"""What an item of any dialect says: its bands, level, tile, baseline and radiometric offset."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from pyproj.exceptions import CRSError

from decametric.bands import BANDS
from decametric.errors import DecametricError, SceneError
from decametric.scenes.radiometry import OffsetRule, offset_rule, raster_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    import pystac

SCL = "SCL"
"""Name of the scene classification of level L2A."""

RESOLUTION: dict[str, int] = {name: band.resolution for name, band in BANDS.items()} | {SCL: 20}
"""Native ground sampling distance in metres of all that a scene can hold."""

# Names by which catalogs know a band: its key in Earth Search and its official name. Common names
# are accepted too, save "rededge", which three bands share.
_NAMES = {band.key: name for name, band in BANDS.items()} | {name: name for name in BANDS}
_NAMES |= {"scl": SCL, SCL: SCL}
_RESAMPLED = re.compile(r"(?P<name>\w+?)_(?P<resolution>10|20|60)m")
_PRODUCT = re.compile(r"(S2[A-D])_MSIL(1C|2A)_(\d{8}T\d{6})_N(\d{4})_R(\d{3})_T(\d{2}[A-Z]{3})_")
_TILE = re.compile(r"(?:^|_)T?(\d{1,2}[C-X][A-Z]{2})(?=_|$)")
_LEVEL = re.compile(r"(?:^|[^A-Z0-9])(?:S2)?(?:MSI|LEVEL-|L)?(?:MSI)?L?-?(1C|2A)(?![A-Z0-9])")


@dataclass(frozen=True, slots=True)
class ItemInfo:
    """What a reader must know about an item."""

    id: str
    """Identifier of the item."""
    level: str
    """Processing level, ``"L1C"`` or ``"L2A"``."""
    tile: str | None
    """MGRS tile, ``"33UUB"``; None where the item names none."""
    baseline: str | None
    """Processing baseline, ``"05.10"``; None where unknown or not one of ESA's."""
    assets: Mapping[str, str]
    """Asset key of each band (and of ``"SCL"``) at its native resolution."""
    rule: OffsetRule
    """The radiometric offset with its reason."""
    missing: Mapping[str, str]
    """Files that a SAFE product lists but does not hold: band -> file name."""


def describe(item: pystac.Item, *, offset: int | None = None) -> ItemInfo:
    """Tell which asset holds which band, the level, tile, baseline, and which offset applies.

    Parameters
    ----------
    item : pystac.Item
        Item of any Sentinel-2 catalog, or one made from a SAFE product.
    offset : int, optional
        Radiometric offset in digital numbers, stated by the caller for items that leave it open.

    Raises
    ------
    SceneError
        If the item names no level, or its metadata cannot be understood.
    RadiometryError
        If its offset is ambiguous and not stated.
    """
    with understood(item):
        return _described(item, offset)


def _described(item: pystac.Item, offset: int | None) -> ItemInfo:
    """What `describe` tells."""
    assets = band_assets(item)
    base = baseline(item)
    keys = [key for name, key in assets.items() if name != SCL]
    return ItemInfo(
        id=item.id,
        level=level(item),
        tile=tile(item),
        baseline=base,
        assets=assets,
        rule=offset_rule(item, keys, base, offset),
        missing=item.properties.get("decametric:missing", {}),
    )


def band_assets(item: pystac.Item) -> dict[str, str]:
    """Asset key of each band in its native resolution; resampled copies are passed over."""
    best: dict[str, tuple[int, str]] = {}
    for key, asset in item.assets.items():
        for rank, name in _meanings(key, asset):
            if _is_native(key, asset, name) and (rank, key) < best.get(name, (9, "")):
                best[name] = (rank, key)
    return {name: best[name][1] for name in RESOLUTION if name in best}


def _meanings(key: str, asset: pystac.Asset) -> Iterator[tuple[int, str]]:
    """Bands that an asset may hold, ranked: 0 by key, 1 by band name, 2 by common name."""
    if "visual" in (asset.roles or ()) or "zarr" in (asset.media_type or ""):
        return
    match = _RESAMPLED.fullmatch(key)
    by_key = match["name"] if match else key
    if by_key in _NAMES:
        yield 0, _NAMES[by_key]
    fields = asset.extra_fields
    bands = fields.get("eo:bands") or fields.get("bands") or []
    if len(bands) == 1 and isinstance(bands[0], dict):
        names = (bands[0].get("name"), bands[0].get("common_name", bands[0].get("eo:common_name")))
        # Earth Search offers JPEG 2000 twins ("red-jp2") beside its COGs; the COGs win.
        twin = 2 if key.endswith("-jp2") else 0
        yield from ((rank + twin, _NAMES[n]) for rank, n in enumerate(names, 1) if n in _NAMES)


def _is_native(key: str, asset: pystac.Asset, name: str) -> bool:
    """Whether an asset says no other resolution than that of its band."""
    match = _RESAMPLED.fullmatch(key)
    size = asset.extra_fields.get("gsd") or raster_fields(asset).get("spatial_resolution")
    told = match["resolution"] if match else size
    metres = re.match(r"\d+(\.\d+)?", str(told))
    return metres is None or round(float(metres[0])) == RESOLUTION[name]


def level(item: pystac.Item) -> str:
    """Processing level, ``"L1C"`` or ``"L2A"``, as the item's product type, id or collection say.

    Raises
    ------
    SceneError
        If it says neither.
    """
    fields = ("s2:product_type", "product:type", "eo:productType", "processing:level")
    texts = [*(item.properties.get(name) for name in fields), item.id, item.collection_id]
    for text in texts:
        match = _LEVEL.search(str(text or "").upper().replace("_", " "))
        if match:
            return f"L{match[1]}"
    message = (
        f"Item {item.id} does not say whether it is of level L1C or L2A; "
        f"set its property 's2:product_type' to 'S2MSI1C' or 'S2MSI2A'."
    )
    raise SceneError(message)


def tile(item: pystac.Item) -> str | None:
    """MGRS tile with two digits, ``"33UUB"``, None if the item names none."""
    p = item.properties
    code = str(p.get("grid:code", "")).removeprefix("MGRS-")
    mgrs = "".join(
        str(p.get(f"mgrs:{k}", "")) for k in ("utm_zone", "latitude_band", "grid_square")
    )
    for text in (code, p.get("s2:mgrs_tile"), mgrs, p.get("s2:tile"), item.id):
        match = _TILE.search(str(text or ""))
        if match:
            return match[1].zfill(5)
    return None


def baseline(item: pystac.Item) -> str | None:
    """Processing baseline of ESA, ``"05.10"``, None where unknown (99.99 is not one of ESA's)."""
    p = item.properties
    named = [p.get("s2:processing_baseline"), p.get("processing:version")]
    texts = [str(p.get(name, "")) for name in ("s2:product_uri", "s2:datatake_id")]
    for text in (item.id, *texts):
        match = re.search(r"_N(\d{2})\.?(\d{2})(?=_|\.|$)", text)
        named.append(f"{match[1]}.{match[2]}" if match else None)
    for value in named:
        if re.fullmatch(r"\d{1,2}(\.\d{1,2})?", str(value)):
            text = f"{float(value):05.2f}"  # type: ignore[arg-type]  # the pattern excludes None
            return None if text.startswith("99") else text
    return None


def datatake(item: pystac.Item) -> str | None:
    """Name of the observation without its processing: satellite, start and orbit; None if unknown.

    Two items of one datatake and tile are halves of one scene, or, if their baselines differ,
    the same scene processed twice.
    """
    match = re.match(r"G(S2[A-D]_\d{8}T\d{6})_", str(item.properties.get("s2:datatake_id", "")))
    if match:
        return match[1]
    for text in (item.id, str(item.properties.get("s2:product_uri", ""))):
        match = _PRODUCT.match(text)
        if match:
            return f"{match[1]}_{match[3]}"
    return None


def moment(item: pystac.Item) -> datetime:
    """Time of the observation; UTC where it names no zone.

    Raises
    ------
    SceneError
        If the item has none.
    """
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        message = f"Item {item.id} has no datetime; set its property 'datetime'."
        raise SceneError(message)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@contextmanager
def understood(item: pystac.Item) -> Iterator[None]:
    """Turn what Python says of odd metadata, in the block, into one sentence about the item.

    Raises
    ------
    SceneError
        Instead of it.
    """
    try:
        yield
    except DecametricError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, CRSError) as error:
        message = (
            f"The metadata of item {item.id} cannot be understood ({type(error).__name__}: "
            f"{str(error).rstrip('.')}); mend the item, or leave it out."
        )
        raise SceneError(message) from error
