"""Opening band files: which addresses may be opened, by which drivers, and how failures read.

Trust rule. An item that came over the network (its self link or its root link is a URL) may name
remote files only; local paths, ``file://`` and GDAL's virtual file systems are refused. Items read
from local files or made from SAFE products are the user's own and may name any file. Only GeoTIFF,
JPEG 2000 and plainly compressed Zarr arrays are opened, because other formats (VRT above all) can
point at further files.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from pathlib import PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from decametric.errors import SceneError
from decametric.scenes.keys import how_to_get_keys, s3_service, sign, wants_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pystac
    from affine import Affine
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader
    from stackstac.raster_spec import RasterSpec

REMOTE = ("https://", "http://", "s3://", "gs://", "az://")
"""Addresses that an item from the network may name."""

DRIVERS = {".jp2": "JP2OpenJPEG"}
"""GDAL driver by suffix; every other file is opened as GeoTIFF (COGs are), or not at all."""

GDAL_ENV: dict[str, Any] = {
    # Neither sidecar files nor folder listings: nothing but the named file is opened.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_HTTP_MAX_RETRY": 5,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_CONNECTTIMEOUT": 30,
    # Who sends less than a kilobyte a second for half a minute has stalled.
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    # GDAL keeps what it has seen of a file for the life of the process, failures and torn ranges,
    # too: then no retry could succeed. With this it forgets a file when it is closed.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
    "GDAL_HTTP_MULTIRANGE": True,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": True,
}

_IN_ZARR = re.compile(r"\.zarr(\.zip)?/[\w/]+(#|$)")
"""The end of an address of an array: names without a dot."""

_QUERY = re.compile(r"[?&]\S*")
_ALIGNED = 1e-3
"""Largest distance in pixels at which two grids still count as one."""


class _NoQueries(logging.Filter):
    """Cuts queries, which may hold tokens, out of what is logged of an address."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("", record.getMessage()), ()
        return True


# GDAL warns of each retry and names the whole URL; rasterio hands that on, and adds its own.
for _logger in ("rasterio._env", "rasterio._base"):
    logging.getLogger(_logger).addFilter(_NoQueries())


def locator(item: pystac.Item, key: str) -> str:
    """Address of an asset with the item's id behind a ``#``, as the engines pass it to tasks.

    Raises
    ------
    SceneError
        If the address is relative to nowhere, or an item from the network names a local file.
    """
    href = item.assets[key].get_absolute_href()
    if href is None:
        message = (
            f"Asset {key!r} of item {item.id} has a relative address and the item no self link."
        )
        raise SceneError(message)
    if is_from_network(item) and not href.startswith(REMOTE):
        message = (
            f"Item {item.id} came over the network but its asset {key!r} names a local file; "
            f"save the item beside its files and pass its path if you trust it."
        )
        raise SceneError(message)
    return f"{href}#{item.id.replace('#', '_')}"


def is_from_network(item: pystac.Item) -> bool:
    """Whether the self link or the root link of an item is a URL."""
    root = item.get_root_link()
    links = (item.get_self_href(), root.href if root is not None else None)
    return any(is_url(link) for link in links if link)


def is_url(href: str) -> bool:
    """Whether an address leaves this machine."""
    return re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]*://", href) is not None


@contextmanager
def environment(href: str) -> Iterator[None]:
    """GDAL settings for reading one address."""
    with rasterio.Env(**GDAL_ENV, **s3_service(href)):
        yield


def open_band(address: str) -> DatasetReader:
    """Open the file behind a `locator`, inside an `environment`.

    Raises
    ------
    SceneError
        If it holds more than one band or other numbers than unsigned integers.
    """
    dataset = _opened(address.rpartition("#")[0])
    if dataset.count != 1 or dataset.dtypes[0] not in ("uint8", "uint16"):
        dataset.close()
        message = f"{name(address)} holds no single band of digital numbers (uint16)."
        raise SceneError(message)
    return dataset


def _opened(href: str) -> DatasetReader:
    """An open file, or an array that stands in for one."""
    if is_array(href):
        from decametric.scenes.arrays import ZarrBand  # half a second, for those who have Zarr

        return ZarrBand(href)
    driver = DRIVERS.get(PurePosixPath(path_of(href)).suffix.lower(), "GTiff")
    return rasterio.open(sign(href), driver=driver, sharing=False)


def is_array(address: str) -> bool:
    """Whether an address leads to an array in a Zarr hierarchy."""
    return _IN_ZARR.search(address) is not None


def epsg(grid: GeoBox) -> int:
    """EPSG code of a scene's grid, which always has one."""
    assert grid.crs is not None  # noqa: S101  (`footprint` refuses a grid without)
    assert grid.crs.epsg is not None  # noqa: S101
    return int(grid.crs.epsg)


def placement(
    dataset: DatasetReader, transform: Affine, epsg: int, address: str
) -> tuple[int, int]:
    """Row and column in a file of the corner of a grid; never resamples.

    Raises
    ------
    SceneError
        If the pixels of file and grid differ in CRS, size or position.
    """
    if dataset.crs is not None and dataset.crs != rasterio.CRS.from_epsg(epsg):
        message = f"{name(address)} is in {dataset.crs}, its item says EPSG:{epsg}."
        raise SceneError(message)
    there, size, expected = dataset.transform, dataset.transform.a, transform.a
    if not np.allclose((size, -there.e), expected, rtol=1e-6) or there.b or there.d:
        message = (
            f"{name(address)} has pixels of {size:g} m, its item says {expected:g} m; "
            f"pass the original files."
        )
        raise SceneError(message)
    column, row = (transform.c - there.c) / there.a, (transform.f - there.f) / there.e
    if max(abs(column - round(column)), abs(row - round(row))) > _ALIGNED:
        message = f"{name(address)} lies between the pixels of its scene's grid; pass native files."
        raise SceneError(message)
    return round(row), round(column)


def name(address: str) -> str:
    """File and item of a locator in words, without folders, queries or keys."""
    href, _, item = address.rpartition("#")
    return f"{path_of(href).rpartition('/')[2]} of item {item}"


def path_of(href: str) -> str:
    """Path of an address without query and fragment; a local one may have # and ? in its names."""
    return urlsplit(href).path if is_url(href) else href


def unreadable(address: str, error: Exception) -> SceneError:
    """The one sentence about a file that cannot be read; queries and their tokens are cut off."""
    href = address.rpartition("#")[0]
    if wants_keys(href, error):
        return SceneError(
            f"Cannot read {name(address)} from S3 without valid keys; {how_to_get_keys(href)}."
        )
    text = _QUERY.sub("", str(error).replace(href, "the file").strip().rstrip("."))
    return SceneError(f"Cannot read {name(address)} (missing, damaged or out of reach): {text}.")


class BandFile:
    """One band file as stackstac's ``reader``: plain windows of the file, padded with zeros.

    stackstac's own reader warps every file whose grid differs, resamples without a word, and puts
    the whole URL into its errors. This one reads, pads, or refuses. The file stays open between
    windows (neighbouring blocks share tiles in GDAL's cache) and is opened afresh once when a read
    fails, with a new token.
    """

    def __init__(self, *, url: str, spec: RasterSpec, dtype: np.dtype[Any], **_: object) -> None:
        self._address = url
        self._spec = spec
        self._dtype = np.dtype(dtype)
        self._lock = Lock()
        self._dataset: DatasetReader | None = None
        self._corner = (0, 0)

    def read(self, window: Window, **_: object) -> NDArray[Any]:
        """Digital numbers (row, column) of a window of the scene's grid; 0 outside of the file.

        Raises
        ------
        SceneError
            If the file cannot be read, or does not fit the grid.
        """
        try:
            return self._read(window)
        except RasterioError:
            self.close()
        try:
            return self._read(window)
        except RasterioError as error:
            failure = unreadable(self._address, error)
        # Raised out here: the first error, whose text may hold a token, must not travel as context.
        raise failure

    def _read(self, window: Window) -> NDArray[Any]:
        with self._lock, environment(self._address):
            if self._dataset is None:
                self._dataset = open_band(self._address)
                self._corner = placement(
                    self._dataset, self._spec.transform, self._spec.epsg, self._address
                )
            top, left = self._corner[0] + window.row_off, self._corner[1] + window.col_off
            return _read_padded(self._dataset, top, left, window, self._dtype)

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        with self._lock:
            if self._dataset is not None:
                self._dataset.close()
                self._dataset = None

    def __getstate__(self) -> dict[str, Any]:
        """Arguments only: locks and open files stay in their process."""
        return {"url": self._address, "spec": self._spec, "dtype": self._dtype}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew from the arguments."""
        self.__init__(**state)  # type: ignore[misc]  # the state is the arguments


def _read_padded(
    dataset: DatasetReader, top: int, left: int, window: Window, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Pixels of a window that may reach over the edges of the file; 0 beyond them."""
    height, width = int(window.height), int(window.width)
    r0, r1 = max(top, 0), min(top + height, dataset.height)
    c0, c1 = max(left, 0), min(left + width, dataset.width)
    if r0 >= r1 or c0 >= c1:
        return np.zeros((height, width), dtype)
    found = dataset.read(1, window=Window(c0, r0, c1 - c0, r1 - r0), out_dtype=dtype)
    if found.shape == (height, width):
        return np.asarray(found)
    return np.pad(found, ((r0 - top, top + height - r1), (c0 - left, left + width - c1)))
