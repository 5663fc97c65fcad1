"""Cloud optimised GeoTIFFs of stored integers: a raw raster block by block, then GDAL's COG driver.

A COG cannot be written by windows, since its overviews come first in the file. So the blocks of all
files go into plain tiled rasters as they are computed, in any order, one block of each thread in
memory; GDAL turns each into a COG through its block cache. Files appear under their names only when
they are whole.
"""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import rasterio
import rasterio.shutil
from dask.system import CPU_COUNT
from rasterio.windows import Window

from decametric.store.packing import PACKED, PACKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

TILE = 512
"""Edge of the tiles of a COG in pixels; overviews go on until one tile holds the whole."""

# Deflate, which every GDAL reads; predictor 2 (differences along the row) suits integers.
_COG = {
    "driver": "COG",
    "blocksize": TILE,
    "compress": "DEFLATE",
    "predictor": "YES",
    "bigtiff": "IF_SAFER",
}


@dataclass(frozen=True)
class Raster:
    """One file to be."""

    path: Path
    bands: Mapping[str, da.Array]
    """Stored integers over (y, x), all uint16 (reflectance) or all uint8 (classes); 0: no data."""
    titles: Mapping[str, str]
    """What each band shows, in words."""
    geobox: GeoBox
    tags: Mapping[str, str]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the integers."""
        dtype: np.dtype[Any] = next(iter(self.bands.values())).dtype
        return dtype


def write_cogs(rasters: Sequence[Raster], scratch: Path, written: Callable[[], object]) -> None:
    """Compute the bands of all rasters together, once, and write each raster as a COG.

    Parameters
    ----------
    rasters : sequence of Raster
        Files on one grid.
    scratch : Path
        A folder for this work alone, on the disk of the files; it is removed at the end.
    written : callable
        Called after each file, from any thread.
    """
    with _made(scratch):
        with ExitStack() as stack:
            files = [stack.enter_context(_raw(raster, scratch)) for raster in rasters]
            _fill(rasters, files)
        with ThreadPoolExecutor(min(CPU_COUNT, len(rasters))) as pool:
            list(pool.map(partial(_finish, scratch=scratch, written=written), rasters))


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder while it is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _raw(raster: Raster, scratch: Path) -> Any:  # noqa: ANN401  (rasterio is not typed)
    """The plain raster of a file, open, with everything that the COG will carry but its pixels."""
    box, count = raster.geobox, len(raster.bands)
    file = rasterio.open(
        _place(raster, scratch),
        "w",
        driver="GTiff",
        height=box.height,
        width=box.width,
        count=count,
        dtype=raster.dtype.name,
        crs=box.crs.to_wkt() if box.crs else None,
        transform=box.transform,
        nodata=0,
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        interleave="band",
        bigtiff="IF_SAFER",
    )
    if raster.dtype == PACKED:
        file.scales = (PACKING["scale_factor"],) * count
        file.offsets = (PACKING["add_offset"],) * count
    file.update_tags(**raster.tags)
    for index, name in enumerate(raster.bands, 1):
        file.set_band_description(index, name)
        file.update_tags(index, long_name=raster.titles[name])
    return file


def _place(raster: Raster, scratch: Path) -> Path:
    return scratch / f"raw_{raster.path.name}"


class _Band:
    """A band of an open raster, as Dask fills it from several threads."""

    def __init__(self, file: Any, index: int, lock: threading.Lock) -> None:  # noqa: ANN401
        self._file, self._index, self._lock = file, index, lock

    def __setitem__(self, place: tuple[slice, slice], block: NDArray[Any]) -> None:
        with self._lock:
            self._file.write(block, self._index, window=Window.from_slices(*place))


def _fill(rasters: Sequence[Raster], files: Sequence[Any]) -> None:
    """Compute all blocks and write them where they belong, in this process: it holds the files."""
    sources: list[da.Array] = []
    targets: list[Any] = []
    for raster, file in zip(rasters, files, strict=True):
        lock = threading.Lock()
        sources.extend(raster.bands.values())
        targets.extend(_Band(file, index, lock) for index in file.indexes)
    da.store(sources, targets, lock=False, scheduler="threads")


def _finish(raster: Raster, *, scratch: Path, written: Callable[[], object]) -> None:
    """Make the COG of a raw raster; classes are not averaged."""
    raw, part = _place(raster, scratch), scratch / raster.path.name
    resampling = "AVERAGE" if raster.dtype == PACKED else "NEAREST"
    rasterio.shutil.copy(raw, part, **_COG, overview_resampling=resampling)
    raw.unlink()
    part.replace(raster.path)
    written()
