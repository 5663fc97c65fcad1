"""STAC out: the results are found with the tools that found their inputs.

A static catalog lies in the store, ``<store>/stac/collection.json``, with one item for each tile:
its time series as a data cube. Links are relative, so that it moves with the store. No part of the
Zarr hierarchy refers to it; readers that go by the consolidated documents, as xarray does, never
see it. All of it follows from the documents of the groups: it can be written anew at any time, and
has the same bytes each time.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import TYPE_CHECKING, Any

from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.affinity import translate
from shapely.geometry import Polygon, box
from shapely.geometry.polygon import orient
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from decametric.bands import BANDS
from decametric.grid import degrees
from decametric.store.target import names, read_document, remove_strays

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zarr.abc.store import Store

    from decametric.store.target import Target

FOLDER = "stac"
"""Folder of the catalog below the root of the store."""

COLLECTION = "sentinel-2-10m"
"""Identifier of the collection of every store."""

ZARR = "application/vnd.zarr; version=3"
"""Media type of a Zarr group."""

_JSON, _GEOJSON = "application/json", "application/geo+json"
_EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "datacube/v2.2.0",
        "grid/v1.1.0",
        "processing/v1.1.0",
        "projection/v2.0.0",
        "zarr/v1.0.0",
    )
]
_TITLE = "Sentinel-2 at 10 m"
_DESCRIPTION = (
    "Time series of Sentinel-2 with every band at 10 m, one item for each tile. "
    "Contains modified Copernicus Sentinel data."
)
# Degrees are told to a centimetre, so that the last digits of a library do not show.
_DIGITS = 7
_HALF = 180
"""Longitude of the antimeridian."""


def publish_stac(store: Store, target: Target) -> None:
    """Bring the item of a tile, and the collection, up to date with the groups.

    Several processes may do so for tiles of one store at the same time: each repeats until the
    collection is what it would write, so the last one to stop has seen everything.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The open store.
    target : Target
        The tile. Where it shows no arrays yet, nothing is written.
    """
    document = read_document(store, target.group)
    if document is None or "consolidated_metadata" not in document:
        return
    remove_strays(target.local and target.local / FOLDER, deep=False)
    while _update(store, f"{target.tile}.json", item(document, target.group)):
        pass
    while _update(store, "collection.json", collection(_shown(store))):
        pass


def item(document: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The STAC item of a tile.

    Parameters
    ----------
    document : mapping
        Consolidated document of the group that holds the arrays.
    group : str
        Key of that group.

    Returns
    -------
    dict
        Item of STAC 1.1 with the extensions datacube, grid, processing, projection and zarr. Scale
        and offset are left out on purpose: the arrays carry them, and whoever applied both would
        apply them twice.
    """
    attributes = document["attributes"]
    tile, times = attributes["tile"], _times(attributes)
    corners = _corners(attributes)
    single = {"datetime": times[0]} if len(times) == 1 else {"datetime": None}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": f"{tile}_{attributes['level']}_10m",
        "collection": COLLECTION,
        "geometry": _outline(corners),
        "bbox": _bounds(corners),
        "properties": {
            **single,
            "start_datetime": times[0],
            "end_datetime": times[-1],
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": 10,
            **_grid(attributes),
            **_processing(attributes),
            **_cube(document),
        },
        "links": _links(),
        "assets": {"zarr": _asset(document, group)},
    }


def collection(tiles: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The STAC collection of a store.

    Parameters
    ----------
    tiles : mapping of str to mapping
        Attributes of the group of each tile that has an item.
    """
    corners = [corner for each in tiles.values() for corner in _corners(each)]
    times = sorted(time for each in tiles.values() for time in _times(each))
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": COLLECTION,
        "title": _TITLE,
        "description": _DESCRIPTION,
        "license": "other",
        "keywords": ["sentinel-2", "super-resolution"],
        "extent": {
            "spatial": {"bbox": [_bounds(corners)]},
            "temporal": {"interval": [[times[0], times[-1]]]},
        },
        "summaries": {
            "gsd": [10],
            "constellation": ["sentinel-2"],
            "processing:level": sorted({each["level"] for each in tiles.values()}),
        },
        "links": [
            _link("root", "./collection.json", _JSON),
            *(_link("item", f"./{tile}.json", _GEOJSON) for tile in tiles),
        ],
    }


def _shown(store: Store) -> dict[str, Mapping[str, Any]]:
    """Attributes of the tiles that the root shows and that have an item, by name."""
    root = read_document(store, "")
    assert root is not None  # noqa: S101  (a tile is shown, so its root is there)
    shown = root["consolidated_metadata"]["metadata"]
    described = {name.removesuffix(".json") for name in names(store, FOLDER)}
    return {tile: shown[tile]["attributes"] for tile in sorted(described & set(shown))}


def _links() -> list[dict[str, str]]:
    """Links of an item."""
    up = [_link(rel, "./collection.json", _JSON) for rel in ("root", "parent", "collection")]
    return [*up, _link("store", "../", ZARR)]


def _link(rel: str, href: str, media: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": media}


def _asset(document: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The one asset of an item: the tile's group."""
    bands = [BANDS[name] for name in _variables(document) if name in BANDS]
    return {
        "href": f"../{group}",
        "type": ZARR,
        "title": "Bands over (time, y, x)",
        "roles": ["data"],
        "zarr:consolidated": True,
        "zarr:node_type": "group",
        "zarr:zarr_format": 3,
        "bands": [{"name": band.name, "description": band.title} for band in bands],
    }


def _times(attributes: Mapping[str, Any]) -> list[str]:
    """Times of the dates, in order."""
    return [scene["time"] for scene in attributes["provenance"]["scenes"]]


def _grid(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Where the pixels lie: the projection and grid extensions."""
    tile = attributes["tile"]
    named = {"grid:code": f"MGRS-{tile}"} if re.fullmatch(r"\d{2}[C-X][A-Z]{2}", tile) else {}
    return {
        "proj:code": attributes["proj:code"],
        "proj:shape": attributes["spatial:shape"],
        "proj:transform": attributes["spatial:transform"],
        "proj:bbox": attributes["spatial:bbox"],
        **named,
    }


def _processing(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """How the pixels were made: the processing extension, and our own record."""
    provenance = attributes["provenance"]
    package, _, version = provenance["package"].rpartition(" ")
    predictor = provenance["predictor"]
    return {
        "processing:level": attributes["level"],
        "processing:software": {package: version},
        "processing:lineage": f"Bands of 20 m and 60 m raised to 10 m by {predictor['name']}",
        "decametric:complete": attributes["complete"],
        "decametric:unfinished": attributes.get("unfinished", []),
        "decametric:predictor": predictor,
        "decametric:parameters": provenance["parameters"],
        "decametric:scenes": provenance["scenes"],
    }


def _cube(document: Mapping[str, Any]) -> dict[str, Any]:
    """Dimensions and variables: the datacube extension."""
    attributes, times = document["attributes"], _times(document["attributes"])
    left, bottom, right, top = attributes["spatial:bbox"]
    crs = attributes["proj:code"].removeprefix("EPSG:")
    place = {"type": "spatial", "reference_system": int(crs) if crs.isdecimal() else crs}
    return {
        "cube:dimensions": {
            "time": {"type": "temporal", "extent": [times[0], times[-1]], "values": times},
            "y": {**place, "axis": "y", "extent": [bottom, top], "step": -10},
            "x": {**place, "axis": "x", "extent": [left, right], "step": 10},
        },
        "cube:variables": {
            name: {
                "type": "data",
                "dimensions": variable["dimension_names"],
                "description": variable["attributes"].get("long_name", name),
            }
            for name, variable in _variables(document).items()
        },
    }


def _variables(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Documents of the arrays over (time, y, x), by name."""
    arrays = document["consolidated_metadata"]["metadata"]
    dims = ["time", "y", "x"]
    return {name: each for name, each in arrays.items() if each.get("dimension_names") == dims}


def _corners(attributes: Mapping[str, Any]) -> list[list[float]]:
    """Corners of the grid as longitude and latitude, against the clock (RFC 7946).

    Longitudes go on beyond 180 where the grid crosses the antimeridian.
    """
    grid = GeoBox(
        attributes["spatial:shape"],
        Affine(*attributes["spatial:transform"]),
        attributes["proj:code"],
    )
    outline = grid.boundingbox.polygon.to_crs("EPSG:4326", resolution=math.inf)
    # A corner may lie a hair west of the bounds.
    west = degrees(grid).left - 1
    # odc-geo goes with the clock, and ends where it began.
    return [
        [round(x + 360 * (x < west), _DIGITS), round(y, _DIGITS)]
        for x, y in outline.exterior.coords[:0:-1]
    ]


def _outline(corners: list[list[float]]) -> dict[str, Any]:
    """Geometry of an item: cut in two at the antimeridian (RFC 7946, 3.1.9)."""
    whole = Polygon(corners)
    if whole.bounds[2] <= _HALF:
        return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    sides = (whole & box(0, -90, _HALF, 90), whole & box(_HALF, -90, 2 * _HALF, 90))
    parts = (orient(sides[0]), orient(translate(sides[1], -360)))
    rings = [[[round(v, _DIGITS) for v in xy] for xy in part.exterior.coords] for part in parts]
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def _bounds(corners: Iterable[list[float]]) -> list[float]:
    """West, south, east and north of points; east is less than west across the antimeridian."""
    west, south = map(min, zip(*corners, strict=True))
    east, north = map(max, zip(*corners, strict=True))
    if east - west >= 2 * _HALF:
        west, east = -_HALF, _HALF
    return [west, south, round(east - 2 * _HALF, _DIGITS) if east > _HALF else east, north]


def _update(store: Store, name: str, document: Mapping[str, Any]) -> bool:
    """Write a document of the catalog unless it is there; tell whether to look again."""
    key, prototype = f"{FOLDER}/{name}", default_buffer_prototype()
    text = json.dumps(document, indent=2, allow_nan=False).encode()
    found = sync(store.get(key, prototype=prototype))
    if found is not None and found.to_bytes() == text:
        return False
    # On a disk another process may take our temporary file for a stray; then it is not there yet.
    with contextlib.suppress(*((FileNotFoundError,) if isinstance(store, LocalStore) else ())):
        sync(store.set(key, prototype.buffer.from_bytes(text)))
    return True
