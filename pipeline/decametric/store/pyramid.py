"""Coarser levels of a tile, 20 m, 40 m and so on, for viewers that show many pixels as one.

Strategy. A level is made from the level before, two by two pixels: reflectance is the mean of the
valid ones, in the stored integers, rounded half up, and no data where none is valid, as GDAL makes
overviews; classes (SCL) are those of the upper left pixel, the nearest to keep. The last row or
column of a level with an odd number has no partner and reaches over the edge of the data. One task
makes one chunk of all bands, from four chunks of the level before. The levels of a date are made
when all its blocks are finished; then the date is recorded. Dates that come later at the end are
added. When a date is put between others, all levels are made anew: that is rare, and a
level is a third of the data at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox
from zarr.core.sync import sync

from decametric.bands import group
from decametric.store.blocks import check
from decametric.store.layout import Layout, coordinates, placed
from decametric.store.levels import FINEST, RECORD, read_record, write_record
from decametric.store.packing import PACKED
from decametric.store.target import (
    group_document,
    names,
    put_document,
    read_documents,
    writing,
)
from decametric.store.tile import ensure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask.delayed import Delayed
    from numpy.typing import NDArray

    from decametric.store.manifest import Manifest
    from decametric.store.target import Target
    from decametric.store.tile import Tile

SMALLEST = 512
"""Levels go on until one has no more pixels along its longer side."""


@dataclass(frozen=True)
class Level:
    """A coarser level of a tile."""

    name: str
    source: str
    """Name of the level that it is made from."""
    geobox: GeoBox


def levels(geobox: GeoBox) -> list[Level]:
    """The coarser levels of a grid, from fine to coarse.

    Examples
    --------
    >>> box = GeoBox((10980, 10980), Affine(10, 0, 300000, 0, -10, 6200040), "EPSG:32633")
    >>> [(level.name, *level.geobox.shape) for level in levels(box)]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('r20m', 5490, 5490), ('r40m', 2745, 2745), ('r80m', 1373, 1373), ('r160m', 687, 687),
     ('r320m', 344, 344)]
    """
    found: list[Level] = []
    while max(geobox.shape) > SMALLEST:
        geobox = geobox.zoom_out(2)
        source = found[-1].name if found else FINEST
        found.append(Level(group(round(geobox.transform.a)), source, geobox))
    return found


def coarsen(tile: Tile) -> None:
    """Make the levels of all finished dates that lack them; nothing for a tile without levels.

    The active Dask scheduler computes, or the threads of this process.

    Raises
    ------
    StoreError
        If the store cannot be written, or another run took the tile over.
    """
    if not tile.target.level or tile.manifest is None:
        return
    wanted = levels(_grid(tile.manifest))
    times = [scene["time"] for scene in tile.manifest.scenes]
    with writing(tile.target):
        done = _prepare(tile, wanted, times)
    for position, scene in enumerate(tile.manifest.scenes):
        if scene["time"] not in done and tile.finished(scene):
            dask.compute(*_tasks(tile, wanted, position))
            done.add(scene["time"])
            with writing(tile.target):
                _record(tile, wanted, times, done)


def halve(block: NDArray[Any]) -> NDArray[Any]:
    """A block of stored integers with pixels of twice the size.

    Parameters
    ----------
    block : uint16 or uint8 array (y, x)
        Reflectance with 0 = no data, or classes.

    Returns
    -------
    array (y / 2, x / 2), rounded up, of the same type

    Examples
    --------
    >>> halve(np.array([[4, 5, 7], [0, 4, 0]], np.uint16))
    array([[4, 7]], dtype=uint16)
    >>> halve(np.array([[4, 5, 7], [0, 4, 0]], np.uint8))
    array([[4, 7]], dtype=uint8)
    """
    if block.dtype != PACKED:
        return block[::2, ::2]
    rows, columns = (-(-size // 2) for size in block.shape)
    even = np.zeros((2 * rows, 2 * columns), np.uint32)
    even[: block.shape[0], : block.shape[1]] = block
    four = even.reshape(rows, 2, columns, 2)
    total = four.sum((1, 3), dtype=np.uint32)
    count = np.count_nonzero(four, (1, 3)).astype(np.uint32)
    mean: NDArray[Any] = (2 * total + count) // np.maximum(2 * count, 1)
    return mean.astype(PACKED)


def _grid(manifest: Manifest) -> GeoBox:
    """The grid of the data."""
    grid = manifest.configuration["grid"]
    return GeoBox(grid["shape"], Affine(*grid["transform"]), grid["crs"])


def _record(tile: Tile, wanted: Sequence[Level], times: Sequence[str], done: set[str]) -> None:
    finished = [time for time in times if time in done]
    write_record(tile.root, tile.target, [level.name for level in wanted], times, finished)


def _prepare(tile: Tile, wanted: Sequence[Level], times: Sequence[str]) -> set[str]:
    """Bring groups and arrays of the levels to the dates; tell which of those are there."""
    record = read_record(tile.root, tile.target)
    if record is None or times[: len(record["times"])] != record["times"]:
        _remove(tile)
        record = None
    done = set(record["done"] if record else ())
    for level in wanted:
        _template(tile, level)
    _record(tile, wanted, times, done)
    return done


def _remove(tile: Tile) -> None:
    """Delete all coarser levels; the record goes first, so that this is done again after a kill."""
    top = tile.target.tile
    sync(tile.root.delete_dir(f"{top}/{RECORD}"))
    for name in names(tile.root, top):
        if name not in {tile.target.level, "zarr.json"}:
            sync(tile.root.delete_dir(f"{top}/{name}"))


def _template(tile: Tile, level: Level) -> None:
    """Make the group of a level, or bring it to more dates."""
    assert tile.manifest is not None  # noqa: S101  (it has dates)
    path = f"{tile.target.tile}/{level.name}"
    layouts = coordinates(level.geobox, tile.manifest.times)
    for name in tile.bands:
        array = zarr.open_array(tile.root, path=tile.target.key(name), mode="r")
        shape = (array.shape[0], *level.geobox.shape)
        dims = ("time", "y", "x")
        layouts[name] = Layout(dims, shape, array.chunks, array.dtype, dict(array.attrs))
    for name, layout in layouts.items():
        made = ensure(tile.root, f"{path}/{name}", layout)
        if layout.values is not None:
            made[...] = layout.values
    ordered = sorted(layouts)
    documents = read_documents(tile.root, [f"{path}/{name}" for name in ordered])
    children = dict(zip(ordered, documents, strict=True))
    put_document(tile.root, path, group_document(placed(level.geobox), children))


def _tasks(tile: Tile, wanted: Sequence[Level], position: int) -> list[Delayed]:
    """One task for each chunk of each level; it waits for the chunks that it reads."""
    assert tile.manifest is not None  # noqa: S101  (it has dates)
    edges = tile.manifest.configuration["chunk"]
    known = {"target": tile.target, "lease": tile.lease.key, "bands": tile.bands}
    known["version"] = f"{tile.lease.key} {len(tile.manifest.scenes)}"
    write = dask.delayed(_write, pure=False)
    before: dict[tuple[int, int], Delayed] = {}
    for level in wanted:
        made = {}
        counts = (-(-size // edge) for size, edge in zip(level.geobox.shape, edges, strict=True))
        for row, column in np.ndindex(*counts):
            four = [(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
            read = [before[place] for place in four if place in before]
            place = (position, row, column)
            made[row, column] = write(
                place, read, level=level.name, source=level.source, edges=tuple(edges), **known
            )
        before = made
    return list(before.values())


def _write(
    place: tuple[int, int, int],
    read: Sequence[None],
    *,
    target: Target,
    lease: str,
    bands: tuple[str, ...],
    version: str,
    level: str,
    source: str,
    edges: tuple[int, int],
) -> None:
    """Make one chunk of a level from the level before. Runs on the workers."""
    del read  # they are only waited for
    position, row, column = place
    height, width = edges
    fine = (
        slice(2 * row * height, 2 * (row + 1) * height),
        slice(2 * column * width, 2 * (column + 1) * width),
    )
    with writing(target):
        arrays = (_opened(replace(target, level=each), bands, version) for each in (source, level))
        for old, new in zip(*arrays, strict=True):
            block = halve(old[(position, *fine)])
            check(new, target, lease)
            rows = slice(row * height, row * height + block.shape[0])
            columns = slice(column * width, column * width + block.shape[1])
            new[position, rows, columns] = block


@lru_cache(maxsize=16)
def _opened(target: Target, bands: tuple[str, ...], version: str) -> list[zarr.Array[Any]]:
    """The arrays of a level, opened once per process; `version` tells runs and lengths apart."""
    del version
    root = target.open()
    return [zarr.open_array(root, path=target.key(name), mode="r+") for name in bands]
