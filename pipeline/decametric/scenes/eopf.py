"""EOPF products (ESA's Sentinel-2 in Zarr, levels 1C and 2A) as STAC items in Earth Search's words.

A product is one Zarr hierarchy, v2 or v3. Its bands lie under ``measurements/reflectance`` in
``r10m``, ``r20m`` and ``r60m``, where level 2A repeats most bands, resampled; only the native ones
are taken. Each array says by ``scale_factor`` and ``add_offset`` how its numbers (uint16) become
reflectance. xarray applies both when it opens a product, and the catalog prints them again; here
the numbers are read as they are stored and the array's own attributes are applied once.

Chunks of real products have 1830 pixels at 10 m: ``load(item, chunk=1830)`` reads each once.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pystac
from odc.geo.geobox import GeoBox
from pystac.utils import str_to_datetime
from rasterio.errors import RasterioIOError

from decametric.bands import BANDS, group
from decametric.errors import SceneError
from decametric.scenes.access import is_url, locator
from decametric.scenes.items import RESOLUTION, SCL, band_assets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from zarr import Array, Group

_REFLECTANCE = "measurements/reflectance"
_CLASSES = "conditions/mask/l2a_classification"
_PRODUCT = re.compile(rf"(.+\.zarr)(/{_REFLECTANCE}(/.*)?)?/?")
_LEVEL = re.compile(r"MSI_?L?(1C|2A)|^L(1C|2A)$")
_TILE = re.compile(r"_T(\d{2}[A-Z]{3})_")


def is_eopf(href: str) -> bool:
    """Whether a path or URL looks like an EOPF product: a ``.zarr`` folder, or its zip."""
    return href.rstrip("/").endswith((".zarr", ".zarr.zip"))


def from_catalog(item: pystac.Item) -> pystac.Item:
    """An item whose bands lie in an EOPF product with an asset for each band; others unchanged.

    Catalogs list groups of the product, or arrays and among them resampled ones, and repeat scale
    and offset. What counts is the product itself, so its metadata are read.

    Raises
    ------
    SceneError
        If the product cannot be read, or an item from the network names a local one.
    """
    if band_assets(item):
        return item
    for key, asset in item.assets.items():
        match = _PRODUCT.fullmatch(asset.href)
        if match and (match[2] or key == "product"):
            root = _PRODUCT.fullmatch(locator(item, key).rpartition("#")[0])
            assert root is not None  # noqa: S101  (an absolute address ends as the relative one)
            return _merged(item, eopf_item(root[1]))
    return item


def _merged(item: pystac.Item, product: pystac.Item) -> pystac.Item:
    """A catalog's item with the bands of its product: its own name, links and further facts."""
    result = item.clone()
    result.properties |= product.properties
    result.datetime = product.datetime
    result.assets = {}
    for key, asset in product.assets.items():
        result.add_asset(key, asset)
    return result


def eopf_item(href: str) -> pystac.Item:
    """STAC item of an EOPF product, with the asset keys of Earth Search.

    Only metadata and the coordinates of the three grids are read.

    Parameters
    ----------
    href : str
        Path or URL of the ``.zarr`` hierarchy, or path of its ``.zarr.zip``.

    Raises
    ------
    SceneError
        If it cannot be read, or is no Sentinel-2 product of level 1C or 2A with numbers as ESA
        stores them.
    """
    import zarr  # half a second, for those who have such products

    from decametric.scenes.arrays import failures, open_store, top

    href = href.rstrip("/") if is_url(href) else str(Path(href).absolute())
    try:
        with failures():
            store, inside = open_store(href), top(href)
            product = zarr.open_group(store, path=inside, mode="r")
            return _item(href, product, f"{href}/{inside}".rstrip("/"))
    except RasterioIOError as error:
        reason = str(error).replace(href, "it").rstrip(".")
        failure = SceneError(f"Cannot read the Zarr product {_name(href)}: {reason}.")
    raise failure


def _item(href: str, product: Group, root: str) -> pystac.Item:
    """The item of an open product; `root` is where its arrays lie, which in a zip may be deeper."""
    from decametric.scenes.arrays import transform

    paths = _native(href, product)
    arrays: dict[str, Any] = {name: product[path] for name, path in paths.items()}
    parents = {name: str(PurePosixPath(path).parent) for name, path in paths.items()}
    # Coordinates are read once for each group.
    grids = {parent: transform(_group(product, parent)) for parent in set(parents.values())}
    item = _bare_item(href, product, arrays)
    code = item.properties["proj:code"]
    boxes = {
        name: GeoBox(array.shape, grids[parents[name]], code) for name, array in arrays.items()
    }
    extent = next(iter(boxes.values())).geographic_extent
    item.geometry, item.bbox = extent.json, list(extent.boundingbox)
    for name, array in arrays.items():
        key = "scl" if name == SCL else BANDS[name].key
        item.add_asset(key, _asset(f"{root}/{paths[name]}", name, array, boxes[name]))
    return item


def _native(href: str, product: Group) -> dict[str, str]:
    """Path of each band, and of the classification, in its own resolution.

    Raises
    ------
    SceneError
        If there is none, or one does not hold the numbers that ESA stores.
    """
    folders = dict.fromkeys(BANDS, _REFLECTANCE) | {SCL: _CLASSES}
    every = {
        name: f"{folder}/{group(RESOLUTION[name])}/{name.lower()}"
        for name, folder in folders.items()
    }
    found = {name: path for name, path in every.items() if path in product}
    if not set(found) - {SCL}:
        message = (
            f"{_name(href)} is no EOPF product of Sentinel-2 (it has no {_REFLECTANCE}); pass one, "
            f"or open your own arrays with xarray and give them to from_bands."
        )
        raise SceneError(message)
    return found


def _bare_item(href: str, product: Group, arrays: Mapping[str, Any]) -> pystac.Item:
    """The item without place and assets."""
    found: Any = product.attrs.get("stac_discovery", {})
    facts: dict[str, Any] = found.get("properties", {})
    other: Any = product.attrs.get("other_metadata", {})
    name = _name(href).partition(".")[0]
    tile = _TILE.search(str(other.get("UTM_zone_identification", "")))
    properties = {
        "s2:product_type": f"S2MSI{_level(name, facts)}",
        "s2:datatake_id": str(facts.get("eopf:datatake_id", "")),
        "proj:code": _crs(name, [*(array.attrs for array in arrays.values()), facts, other]),
        "decametric:source": "Zarr arrays",
    }
    if tile:
        properties["grid:code"] = f"MGRS-{tile[1]}"
    item = pystac.Item(name, None, None, _time(name, facts), properties)
    item.set_self_href(href)
    return item


def _asset(href: str, name: str, array: Array[Any], box: GeoBox) -> pystac.Asset:
    """Asset of one array; scale and offset as far as the array states them."""
    if str(array.dtype) not in ("uint16", "uint8"):
        message = (
            f"{href} holds {array.dtype}, not the digital numbers (uint16) of ESA's products; "
            f"open it with xarray and give its bands to from_bands."
        )
        raise SceneError(message)
    fields: dict[str, Any] = {
        "gsd": RESOLUTION[name],
        "proj:shape": list(box.shape),
        "proj:transform": list(box.transform)[:6],
    }
    if name != SCL:
        words = {"scale": "scale_factor", "offset": "add_offset"}
        stated = {word: array.attrs[key] for word, key in words.items() if key in array.attrs}
        fields["raster:bands"] = [{"nodata": 0, "data_type": "uint16", **stated}]
    return pystac.Asset(href, roles=["data"], extra_fields=fields)


def _group(product: Group, path: str) -> Group:
    """A group of the product, which it has."""
    found = product[path]
    assert isinstance(found, type(product))  # noqa: S101  (an array was found in it)
    return found


def _crs(name: str, documents: Sequence[Mapping[str, Any]]) -> str:
    """CRS as the arrays (format 2), the discovery metadata (3) or the other metadata say."""
    for fields in documents:
        for key in ("proj:code", "horizontal_CRS_code", "horizontal_crs_code"):
            if key in fields:
                return str(fields[key])
        if "proj:epsg" in fields:
            return f"EPSG:{fields['proj:epsg']}"
    message = f"{name} does not say its CRS (proj:code of its stac_discovery)."
    raise SceneError(message)


def _level(name: str, facts: Mapping[str, Any]) -> str:
    """``"1C"`` or ``"2A"``, as the product type, the level or the name say."""
    texts = (facts.get("product:type"), facts.get("processing:level"), name)
    match = next((m for m in (_LEVEL.search(str(text)) for text in texts) if m), None)
    if match is None:
        message = f"{name} does not say whether it is of level L1C or L2A (product:type)."
        raise SceneError(message)
    return str(match[1] or match[2])


def _time(name: str, facts: Mapping[str, Any]) -> datetime:
    """Time at which the product was seen, or its first line."""
    when = facts.get("datetime") or facts.get("start_datetime")
    if when is None:
        message = f"{name} does not say when it was seen (datetime of its stac_discovery)."
        raise SceneError(message)
    return str_to_datetime(str(when))


def _name(href: str) -> str:
    """Last part of a path or URL."""
    return PurePosixPath(href.partition("?")[0]).name
