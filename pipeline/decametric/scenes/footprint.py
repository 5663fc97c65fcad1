"""The 60 m grid of items: from their metadata, or else from the header of one file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from decametric.errors import SceneError
from decametric.scenes.access import environment, locator, open_band, unreadable
from decametric.scenes.items import RESOLUTION, understood

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pystac

COARSE = 60
_SLACK = 1e-3
"""Largest distance in 60 m pixels at which the grids of two items still count as one lattice."""


def item_grid(item: pystac.Item, assets: Mapping[str, str]) -> GeoBox:
    """Grid of an item in whole 60 m pixels.

    The 60 m assets have the first word, then those of 20 m and 10 m, whose extent grows to whole
    60 m pixels to the right and below. A file is opened (its header only) if no asset has
    projection metadata; that is the only case in which loading reads anything.

    Parameters
    ----------
    item : pystac.Item
        The item.
    assets : mapping
        Band name -> asset key.

    Raises
    ------
    SceneError
        If the grid is rotated, has other pixels than 10, 20 or 60 m, or no EPSG code, or the
        metadata cannot be understood.
    """
    with understood(item):
        return _grid(item, assets)


def _grid(item: pystac.Item, assets: Mapping[str, str]) -> GeoBox:
    """What `item_grid` tells."""
    keys = [assets[name] for name in sorted(assets, key=lambda name: -RESOLUTION[name])]
    declared = (_declared(item, item.assets[key]) for key in keys)
    box = next((box for box in declared if box is not None), None)
    return _coarse(item, box if box is not None else _header(item, keys[0]))


def union(grids: Sequence[GeoBox]) -> GeoBox:
    """Smallest grid that holds all `grids`, which share CRS and lattice.

    Raises
    ------
    SceneError
        If the grids are shifted against each other by a fraction of a 60 m pixel.
    """
    left, top = min(g.transform.c for g in grids), max(g.transform.f for g in grids)
    at = [((top - g.transform.f) / COARSE, (g.transform.c - left) / COARSE) for g in grids]
    if any(abs(v - round(v)) > _SLACK for corner in at for v in corner):
        message = (
            "The 60 m grids of the items are shifted by part of a pixel; load them one by one."
        )
        raise SceneError(message)
    bottom = max(round(row) + g.shape.y for (row, _), g in zip(at, grids, strict=True))
    right = max(round(column) + g.shape.x for (_, column), g in zip(at, grids, strict=True))
    return GeoBox((bottom, right), Affine(COARSE, 0, left, 0, -COARSE, top), grids[0].crs)


def _declared(item: pystac.Item, asset: pystac.Asset) -> GeoBox | None:
    """Grid in the projection metadata (version 1 or 2) of an asset or its item, None if absent."""
    fields = {**item.properties, **asset.extra_fields}
    code = _epsg(fields)
    shape, transform = fields.get("proj:shape"), fields.get("proj:transform")
    if code is None or not shape or not transform:
        return None
    return GeoBox(tuple(shape), Affine(*transform[:6]), code)


def _epsg(fields: Mapping[str, Any]) -> str | None:
    """CRS as ``"EPSG:32633"``, written as ``proj:code`` or as ``proj:epsg`` (number or text)."""
    code, number = fields.get("proj:code"), fields.get("proj:epsg")
    if isinstance(code, str) and code.upper().startswith("EPSG:"):
        return code.upper()
    return f"EPSG:{int(number)}" if number is not None else None


def _header(item: pystac.Item, key: str) -> GeoBox:
    """Grid in the header of a file."""
    address = locator(item, key)
    try:
        with environment(address), open_band(address) as dataset:
            crs = dataset.crs or _epsg(item.properties)
            return GeoBox(dataset.shape, dataset.transform, crs)
    except RasterioError as error:
        failure = unreadable(address, error)
    raise failure


def _coarse(item: pystac.Item, box: GeoBox) -> GeoBox:
    """The 60 m grid over a grid of 10, 20 or 60 m."""
    t = box.transform
    if box.crs is None or box.crs.epsg is None:
        message = f"Item {item.id} has no CRS with an EPSG code; set its property 'proj:code'."
        raise SceneError(message)
    if t.b or t.d or t.e != -t.a or t.a not in set(RESOLUTION.values()):
        message = (
            f"Item {item.id} has no north-up grid of 10, 20 or 60 m; its transform is {t[:6]}."
        )
        raise SceneError(message)
    factor = COARSE / t.a
    shape = (math.ceil(box.shape.y / factor), math.ceil(box.shape.x / factor))
    # By its code, so that items and file headers give one and the same CRS.
    return GeoBox(shape, Affine(COARSE, 0, t.c, 0, -COARSE, t.f), f"EPSG:{box.crs.epsg}")
