"""SAFE products (folder or zip, levels 1C and 2A) as STAC items in the dialect of Earth Search.

Offsets, baseline and level come from the product's own metadata (``MTD_MSIL*.xml``), the grid from
the tile's (``MTD_TL.xml``). Images are read where they lie; a zip is never extracted. The package
stactools-sentinel2 makes such items too, but from folders only, and it lists images that are not
there; what is needed here is a page of code.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pystac
from affine import Affine
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from odc.geo.geobox import GeoBox

from decametric.bands import BANDS, RESOLUTIONS
from decametric.errors import RadiometryError, SceneError
from decametric.scenes.items import RESOLUTION, SCL
from decametric.scenes.radiometry import QUANTIFICATION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

MAX_XML = 32 * 2**20
"""Largest metadata document that is read, in bytes; real ones have up to 1 MB."""

MAX_IMAGE = 2**30
"""Largest image in a zip, in bytes; a real one of 10 m has about 130 MB."""

_MTD = re.compile(r"MTD_MSIL(1C|2A)\.xml")
_IMAGE = re.compile(r"_(B\d{2}|B8A|SCL)(?:_(10|20|60)m)?$")


@dataclass(frozen=True)
class _Product:
    """Files of a SAFE product below one root, in a folder or in a zip."""

    path: Path
    """The folder, or the zip."""
    root: str
    """Folder of the product in the zip; empty for a folder."""

    def __contains__(self, name: str) -> bool:
        if not self.root:
            return (self.path / name).is_file()
        with zipfile.ZipFile(self.path) as archive:
            return f"{self.root}/{name}" in archive.NameToInfo

    def read(self, name: str) -> bytes:
        """Bytes of a metadata document.

        Raises
        ------
        SceneError
            If it is absent or larger than `MAX_XML`.
        """
        try:
            if not self.root:
                with (self.path / name).open("rb") as file:
                    data = file.read(MAX_XML + 1)
            else:
                with zipfile.ZipFile(self.path) as archive:
                    data = archive.open(f"{self.root}/{name}").read(MAX_XML + 1)
        except (OSError, KeyError, zipfile.BadZipFile, RuntimeError):
            message = f"{self.path.name} lacks {name}; download the product again."
            raise SceneError(message) from None
        if len(data) > MAX_XML:
            message = f"{name} in {self.path.name} is larger than {MAX_XML} bytes; it is not read."
            raise SceneError(message)
        return data

    def href(self, name: str) -> str:
        """Address of an image for GDAL.

        Raises
        ------
        SceneError
            If a zip says that it unfolds to more than `MAX_IMAGE`.
        """
        if not self.root:
            return str(self.path / name)
        with zipfile.ZipFile(self.path) as archive:
            if archive.getinfo(f"{self.root}/{name}").file_size > MAX_IMAGE:
                message = (
                    f"{name} in {self.path.name} is larger than {MAX_IMAGE} bytes; it is not read."
                )
                raise SceneError(message)
        return f"/vsizip/{{{self.path}}}/{self.root}/{name}"


def is_safe(path: Path) -> bool:
    """Whether a path looks like a SAFE product: a folder with product metadata, or a zip."""
    if path.is_dir():
        return path.suffix == ".SAFE" or any(_MTD.fullmatch(p.name) for p in path.iterdir())
    return path.suffix.lower() == ".zip"


def safe_item(path: Path) -> pystac.Item:
    """STAC item of a SAFE product, with the asset keys of Earth Search.

    Images that the metadata list but that are absent get no asset; their names are kept, so that
    loading such a band names the file.

    Parameters
    ----------
    path : pathlib.Path
        The ``.SAFE`` folder or a zip of one product.

    Raises
    ------
    SceneError
        If the product is no Sentinel-2 product of level 1C or 2A in the compact format, or its
        metadata are missing, damaged or too large.
    """
    path = path.absolute()
    product, name = _open(path)
    mtd = _parse(product, name)
    images = _images(product, name, mtd)
    granule = str(PurePosixPath(next(iter(images.values()))).parents[-3])
    tile = _parse(product, f"{granule}/MTD_TL.xml")
    boxes = _grids(product, tile)
    item = _bare_item(path, name, mtd, tile, boxes[60])
    offset = _offset(mtd, path)
    for band, image in images.items():
        if image in product:
            item.add_asset(_key(band), _asset(product.href(image), band, boxes, offset))
        else:
            item.properties["decametric:missing"][band] = PurePosixPath(image).name
    return item


def _open(path: Path) -> tuple[_Product, str]:
    """The product and the name of its metadata document."""
    if path.is_dir():
        names = [p.name for p in path.iterdir()]
        root = ""
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                parts = [PurePosixPath(name) for name in archive.namelist()]
        except (OSError, zipfile.BadZipFile) as error:
            message = f"{path.name} is no readable zip ({error}); download the product again."
            raise SceneError(message) from None
        tops = [p for p in parts if len(p.parts) == 2 and p.parts[0].endswith(".SAFE")]  # noqa: PLR2004
        root = tops[0].parts[0] if tops else "."
        names = [p.name for p in tops if p.parts[0] == root]
    name = next((name for name in names if _MTD.fullmatch(name)), None)
    if name is None:
        message = (
            f"{path.name} holds no MTD_MSIL1C.xml or MTD_MSIL2A.xml; pass a Sentinel-2 product of "
            f"processing baseline 02.04 (December 2016) or later."
        )
        raise SceneError(message)
    return _Product(path, root), name


def _parse(product: _Product, name: str) -> Element:
    """Root of an XML document; entities and external references are refused."""
    try:
        document: Element = fromstring(product.read(name), forbid_dtd=True)
    except (ParseError, DefusedXmlException) as error:
        message = f"{name} in {product.path.name} is not sound XML ({error})."
        raise SceneError(message) from None
    return document


def _images(product: _Product, name: str, mtd: Element) -> dict[str, str]:
    """Path of the native image of each band, as the product metadata list them."""
    listed: dict[str, str] = {}
    for entry in mtd.iter("IMAGE_FILE"):
        text = (entry.text or "").strip()
        match = _IMAGE.search(text)
        native = match and match[2] in (None, str(RESOLUTION.get(match[1])))
        if match and native and match[1] in RESOLUTION:
            listed[match[1]] = f"{text}.jp2"
    if not listed:
        message = f"{name} in {product.path.name} lists no images (it is a {_tag(mtd)} document)."
        raise SceneError(message)
    for image in listed.values():
        parts = PurePosixPath(image).parts
        if parts[0] != "GRANULE" or ".." in parts or len(parts) < 4:  # noqa: PLR2004
            message = (
                f"{name} in {product.path.name} names the image {image} outside of its granule."
            )
            raise SceneError(message)
    return {band: listed[band] for band in RESOLUTION if band in listed}


def _grids(product: _Product, tile: Element) -> dict[int, GeoBox]:
    """Grids of 10, 20 and 60 m from the tile's metadata."""
    try:
        code = _text(tile, "HORIZONTAL_CS_CODE")
        sizes = {size.attrib["resolution"]: size for size in tile.iter("Size")}
        corners = {corner.attrib["resolution"]: corner for corner in tile.iter("Geoposition")}
        return {res: _grid(sizes[str(res)], corners[str(res)], code) for res in RESOLUTIONS}
    except (KeyError, ValueError) as error:
        message = f"MTD_TL.xml in {product.path.name} describes no grid ({error})."
        raise SceneError(message) from None


def _grid(size: Element, corner: Element, code: str) -> GeoBox:
    """Grid of one resolution."""
    x, y, dx, dy = (float(_text(corner, tag)) for tag in ("ULX", "ULY", "XDIM", "YDIM"))
    shape = (int(_text(size, "NROWS")), int(_text(size, "NCOLS")))
    return GeoBox(shape, Affine(dx, 0, x, 0, dy, y), code)


def _bare_item(path: Path, name: str, mtd: Element, tile: Element, box: GeoBox) -> pystac.Item:
    """The item without assets."""
    take = next(mtd.iter("Datatake"), None)
    properties: dict[str, Any] = {
        "s2:product_uri": _text(mtd, "PRODUCT_URI"),
        "s2:product_type": f"S2MSI{_MTD.fullmatch(name)[1]}",  # type: ignore[index]  # it matched
        "s2:processing_baseline": _text(mtd, "PROCESSING_BASELINE"),
        "s2:datatake_id": "" if take is None else take.get("datatakeIdentifier", ""),
        "grid:code": f"MGRS-{_tile_name(tile)}",
        "proj:code": str(box.crs),
        "decametric:source": name,
        "decametric:missing": {},
    }
    extent = box.geographic_extent
    item = pystac.Item(
        id=_text(mtd, "PRODUCT_URI").removesuffix(".SAFE"),
        geometry=extent.json,
        bbox=list(extent.boundingbox),
        datetime=_time(tile),
        properties=properties,
    )
    item.set_self_href(str(path))
    return item


def _time(tile: Element) -> datetime:
    """Time at which the tile was seen."""
    text = _text(tile, "SENSING_TIME")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        message = f"MTD_TL.xml has the SENSING_TIME {text!r}, which is no time."
        raise SceneError(message) from None


def _asset(href: str, band: str, boxes: Mapping[int, GeoBox], offset: int) -> pystac.Asset:
    """Asset of one image."""
    box = boxes[RESOLUTION[band]]
    fields: dict[str, Any] = {
        "gsd": RESOLUTION[band],
        "proj:shape": list(box.shape),
        "proj:transform": list(box.transform)[:6],
    }
    if band != SCL:
        scale = {"scale": 1 / QUANTIFICATION, "offset": offset / QUANTIFICATION}
        fields["raster:bands"] = [{"nodata": 0, "data_type": "uint16", **scale}]
    return pystac.Asset(href, media_type="image/jp2", roles=["data"], extra_fields=fields)


def _offset(mtd: Element, path: Path) -> int:
    """Radiometric offset in digital numbers; 0 where the product states none (before 04.00).

    Raises
    ------
    RadiometryError
        If bands differ in it, or the numbers are not scaled by 10000.
    """
    found = [*mtd.iter("BOA_ADD_OFFSET"), *mtd.iter("RADIO_ADD_OFFSET")]
    offsets = {int(float(entry.text or "0")) for entry in found} or {0}
    scales = [*mtd.iter("BOA_QUANTIFICATION_VALUE"), *mtd.iter("QUANTIFICATION_VALUE")]
    if len(offsets) > 1 or any(float(s.text or "0") != QUANTIFICATION for s in scales):
        message = (
            f"{path.name} has bands of different offsets, or a scale other than {QUANTIFICATION}."
        )
        raise RadiometryError(message)
    return offsets.pop()


def _tile_name(tile: Element) -> str:
    """MGRS tile in the identifier of a tile."""
    match = re.search(r"_T(\d{2}[A-Z]{3})_", _text(tile, "TILE_ID"))
    if match is None:
        message = f"MTD_TL.xml names no MGRS tile in its TILE_ID {_text(tile, 'TILE_ID')!r}."
        raise SceneError(message)
    return match[1]


def _key(band: str) -> str:
    """Asset key of Earth Search."""
    return "scl" if band == SCL else BANDS[band].key


def _text(element: Element, tag: str) -> str:
    """Text of the first element of a name, wherever it is.

    Raises
    ------
    SceneError
        If there is none.
    """
    found = next(element.iter(tag), None)
    if found is None or not found.text:
        message = f"The {_tag(element)} metadata lack {tag}; the product is damaged."
        raise SceneError(message)
    return found.text.strip()


def _tag(element: Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2]
