"""Bands in Zarr products: one array stands in for a one-band file that GDAL has opened.

GDAL of the supported versions opens no sharded Zarr and no Zarr v3 of zarr-python, so zarr-python
reads. Numbers are taken as they are stored; scale and offset of the array's attributes are applied
once, by the rule of the item (`radiometry`), never here. A chunk that was never written holds the
fill value: that is the format's own way to say no data.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from affine import Affine
from rasterio.errors import RasterioIOError
from zarr.storage import FsspecStore, LocalStore, ZipStore

from decametric.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from rasterio.windows import Window
    from zarr.abc.store import Store

# The first zip, or else the last folder of that name: a zip may hold the product as a folder.
_ROOT = re.compile(r"(?P<root>.*?\.zarr\.zip|.*\.zarr)(?:/(?P<path>.+))?/?")

# Codecs that turn bytes into numbers and do nothing else. Others are refused: some scale the
# numbers behind the attributes' back, and one of numcodecs runs code of the file.
_CODECS = frozenset(
    [
        "blosc",
        "bytes",
        "crc32c",
        "gzip",
        "lz4",
        "sharding_indexed",
        "shuffle",
        "transpose",
        "zlib",
        "zstd",
    ]
)


def split(href: str) -> tuple[str, str] | None:
    """Root of the Zarr hierarchy that an address leads into, and the path in it; None if none.

    Examples
    --------
    >>> split("https://host/S2A.zarr/measurements/reflectance/r10m/b02")
    ('https://host/S2A.zarr', 'measurements/reflectance/r10m/b02')
    >>> split("B02.tif")
    """
    match = _ROOT.fullmatch(href)
    return match and (match["root"], (match["path"] or "").strip("/"))


def open_store(root: str) -> Store:
    """The store of a hierarchy: a folder, a zip, or an address that fsspec knows; read only.

    Raises
    ------
    SceneError
        If a zip lies on a server.
    """
    remote = "://" in root
    if root.endswith(".zip"):
        if remote:
            message = f"{PurePosixPath(root).name} is a zip on a server; download it, then pass it."
            raise SceneError(message)
        return ZipStore(root, mode="r")
    return (
        FsspecStore.from_url(root, read_only=True) if remote else LocalStore(root, read_only=True)
    )


def top(root: str) -> str:
    """Path of the product in its store: empty, or the one folder at the top of a zip."""
    if not root.endswith(".zip"):
        return ""
    with zipfile.ZipFile(root) as archive:
        names = {name.split("/")[0] for name in archive.namelist()}
    return names.pop() if len(names) == 1 else ""


def transform(group: zarr.Group) -> Affine:
    """Grid of the arrays of a group, from its coordinates ``x`` and ``y`` (centres of pixels).

    The coordinates have the last word: attributes of a projection outlive the cut of an area, and
    newer products have none.

    Raises
    ------
    ValueError
        If the coordinates are not evenly spaced.
    """
    (left, width), (top, height) = (_axis(group[name]) for name in ("x", "y"))
    return Affine(width, 0, left, 0, height, top)


def _axis(coordinate: Any) -> tuple[float, float]:  # noqa: ANN401  (an array, zarr says or a group)
    """Outer edge of the first pixel and the size of a pixel along one axis."""
    centres = np.asarray(coordinate[:], "f8")
    step = (centres[-1] - centres[0]) / max(len(centres) - 1, 1)
    if not step or not np.allclose(np.diff(centres), step):
        message = "its coordinates are not evenly spaced"
        raise ValueError(message)
    return float(centres[0] - step / 2), float(step)


@contextmanager
def failures() -> Iterator[None]:
    """Whatever goes wrong in a store, as the error of a file that cannot be read."""
    try:
        yield
    except (SceneError, RasterioIOError):
        raise
    except Exception as error:  # noqa: BLE001  (stores, protocols and codecs each have their own)
        failure = RasterioIOError(f"{type(error).__name__}: {error}")
    else:
        return
    # Raised out here: the first error, whose text may hold an address, must not travel as context.
    raise failure


class ZarrBand:
    """One array (y, x) of a Zarr product with the part of rasterio's dataset that `access` uses."""

    count = 1
    crs = None
    """Not told by coordinates; the product has one for all its arrays."""

    def __init__(self, href: str) -> None:
        place = split(href)
        assert place is not None  # noqa: S101  (`access` asks before)
        root, path = place
        with failures():
            self._store = open_store(root)
            self._array = zarr.open_array(self._store, path=path, mode="r")
            _check_codecs(self._array.metadata.to_dict(), path)
            parent = str(PurePosixPath(path).parent)
            self.transform = transform(zarr.open_group(self._store, path=parent, mode="r"))
        self.dtypes = (str(self._array.dtype),)
        self.height, self.width = self._array.shape

    def read(self, _band: int, *, window: Window, out_dtype: np.dtype[Any]) -> NDArray[Any]:
        """Numbers of a window that lies in the array, as they are stored."""
        rows, cols = (slice(start, start + size) for start, size in (
            (window.row_off, window.height), (window.col_off, window.width)
        ))  # fmt: skip
        with failures():
            return np.asarray(self._array[rows, cols]).astype(out_dtype, copy=False)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _check_codecs(metadata: Mapping[str, Any], path: str) -> None:
    """Refuse an array that is stored with other codecs than plain compression."""
    stored = (*(metadata.get("filters") or ()), metadata.get("compressor"))
    codecs = metadata.get("codecs") or [codec for codec in stored if codec]
    odd = sorted(set(_names(codecs)) - _CODECS)
    if odd:
        message = (
            f"{Path(path).name} is stored with {', '.join(odd)}, which is not read; store its "
            f"numbers (uint16) with plain compression."
        )
        raise SceneError(message)


def _names(codecs: Iterable[Any]) -> Iterator[str]:
    """Names of codecs and of those within them, in Zarr v2 or v3."""
    for codec in codecs:
        fields = codec if isinstance(codec, dict) else codec.to_dict()
        yield str(fields.get("id", fields.get("name")))
        inner = fields.get("configuration") or {}
        yield from _names((*inner.get("codecs", ()), *inner.get("index_codecs", ())))
