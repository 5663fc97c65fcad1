"""Write a dataset into a series on disk, block by block, resumable wherever it stops.

Strategy. (1) The manifest is written: what will be here, and that it is ours. (2) The template
follows: groups, empty arrays, coordinates; each step is idempotent, so a run that finds half a
template just goes through it again. (3) Every unfinished block is one Dask task: it packs all bands
of its place, writes one chunk of each, and then its mark. Blocks with a mark are culled from the
graph with all that only they need. (4) When no mark is missing, the group is called complete.

One process at a time may write a tile; tiles of one store can be written at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import zarr
from dask.base import get_scheduler, tokenize
from zarr.codecs import ZstdCodec

from decametric.errors import StoreError
from decametric.store.layout import plan
from decametric.store.manifest import Manifest
from decametric.store.packing import pack
from decametric.store.series import claim, publish, put_tile, remove_tile
from decametric.store.target import Target, locate, names, read_document, remove_strays, writing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray
    from zarr.abc.store import Store

    from decametric.store.layout import Layout, Plan

    Place = tuple[int, int, int]

_DONE = "manifest/done"
# Level 1 of zstd: 1 % larger than level 3 on reflectance, in less than half of its time.
_LEVEL = 1


@dataclass(frozen=True)
class Written:
    """What a call of `write` did."""

    path: str
    """The tile's group, without credentials."""
    blocks_written: int
    """Blocks that this call computed and stored."""
    blocks_skipped: int
    """Blocks of the dataset that were finished before."""


def write(
    dataset: xr.Dataset,
    store: str | os.PathLike[str],
    *,
    resume: bool = True,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Written:
    """Compute a sharpened dataset and store it in its tile's group.

    Dates that the group holds already are skipped, later ones are appended. The active Dask
    scheduler computes: a `dask.distributed.Client`, if there is one.

    Parameters
    ----------
    dataset : Dataset
        What `sharpen` returns: variables over (time, y, x), float reflectance (stored as uint16,
        see `packing`) or uint8, chunked one date by equal squares.
    store : path or URL
        Root of the series; the group ``<store>/<tile>`` is written. URLs go through fsspec.
    resume : bool
        Go on with a group that exists. If False, one that exists is refused.
    overwrite : bool
        Delete the tile's group first, if it is ours. Other tiles stay.
    storage_options : mapping, optional
        Options of the fsspec filesystem; never stored.

    Returns
    -------
    Written

    Raises
    ------
    UsageError
        If the dataset is not of that form.
    StoreError
        If the store belongs to another configuration or to somebody else, or cannot be written.
    """
    planned = plan(dataset)
    target = locate(store, planned.tile, storage_options)
    with writing(target):
        root = target.open()
        claim(root, target)
        manifest = _admit(root, target, planned, resume=resume, overwrite=overwrite)
        pending = _pending(root, target, planned, manifest)
        if pending or not _complete(root, target):
            _template(root, target, planned, manifest)
    _run(planned, target, manifest, pending)
    with writing(target):
        done, total = _count(root, target)
        if done == total and not _complete(root, target):
            attributes = planned.attributes(manifest, complete=True)
            put_tile(root, target, attributes, planned.shown(manifest))
        publish(root)
    blocks = len(planned.manifest.scenes) * planned.blocks[0] * planned.blocks[1]
    return Written(target.shown, len(pending), blocks - len(pending))


def progress(
    store: str | os.PathLike[str], tile: str, *, storage_options: Mapping[str, Any] | None = None
) -> tuple[int, int]:
    """Finished blocks and all blocks of a tile: (0, 0) before its template is there."""
    target = locate(store, tile, storage_options)
    return _count(target.open(read_only=True), target)


def _admit(
    root: Store, target: Target, planned: Plan, *, resume: bool, overwrite: bool
) -> Manifest:
    """The manifest for the dates in the store and those of the dataset; refuse what is not ours."""
    stored = Manifest.read(root, target)
    if stored is None:
        if set(names(root, target.tile)) - {"manifest"}:
            message = f"{target.shown} exists and was not written by decametric; give another path."
            raise StoreError(message)
        return planned.manifest
    if overwrite:
        remove_tile(root, target)
        return planned.manifest
    if not resume:
        ways = "resume=True goes on with it, overwrite=True replaces it"
        message = f"{target.shown} exists already; {ways}."
        raise StoreError(message)
    return stored.grown(planned.manifest, target)


def _complete(root: Store, target: Target) -> bool:
    """Whether the tile's group says that it is whole."""
    document = read_document(root, target.tile)
    return document is not None and document["attributes"].get("complete") is True


def _count(root: Store, target: Target) -> tuple[int, int]:
    """Finished blocks and all blocks. A mark is a chunk: listing them counts without reading."""
    try:
        done = zarr.open_array(root, path=target.key(_DONE), mode="r")
    except FileNotFoundError:
        return 0, 0
    return done.nchunks_initialized, done.nchunks


def _marks(root: Store, target: Target) -> NDArray[np.bool_]:
    """Marks of finished blocks over (time, row, column); empty before there is a template."""
    try:
        done = zarr.open_array(root, path=target.key(_DONE), mode="r")
    except FileNotFoundError:
        return np.zeros((0, 0, 0), bool)
    return np.asarray(done[:]) > 0


def _positions(planned: Plan, manifest: Manifest) -> tuple[int, ...]:
    """Index in the store of each date of the dataset."""
    return tuple(np.searchsorted(manifest.times, planned.manifest.times).tolist())


def _pending(root: Store, target: Target, planned: Plan, manifest: Manifest) -> list[Place]:
    """Blocks of the dataset without a mark, as (date in the dataset, row, column)."""
    marks = _marks(root, target)
    done = np.zeros((len(manifest.scenes), *planned.blocks), bool)
    if marks.size:
        done[: len(marks)] = marks
    here = done[list(_positions(planned, manifest))]
    return [(int(t), int(row), int(column)) for t, row, column in np.argwhere(~here)]


def _template(root: Store, target: Target, planned: Plan, manifest: Manifest) -> None:
    """Bring groups, arrays and coordinates to the dates of `manifest`; idempotent."""
    manifest.write(root, target)
    attributes = planned.attributes(manifest, complete=False)
    put_tile(root, target, attributes)
    remove_strays(target.local and target.local / target.tile, deep=True)
    for path, layout in planned.arrays(manifest).items():
        array = _ensure(root, target.key(path), layout)
        if layout.values is not None:
            array[...] = layout.values
    put_tile(root, target, attributes, planned.shown(manifest))
    publish(root)


def _ensure(root: Store, path: str, layout: Layout) -> zarr.Array[Any]:
    """The array at `path`, created if it is not there, grown if it is shorter."""
    try:
        array = zarr.open_array(root, path=path, mode="r+")
    except FileNotFoundError:
        return zarr.create_array(
            root,
            name=path,
            shape=layout.shape,
            chunks=layout.chunks,
            dtype=layout.dtype,
            fill_value=0,
            filters=None,
            compressors=ZstdCodec(level=_LEVEL),
            dimension_names=layout.dims,
            attributes=dict(layout.attributes),
        )
    if array.shape != layout.shape:
        array.resize(layout.shape)
    return array


def _run(planned: Plan, target: Target, manifest: Manifest, pending: list[Place]) -> None:
    """Compute the pending blocks on the active scheduler."""
    if not pending:
        return
    arrays = list(planned.bands.values())
    marks = da.map_blocks(
        _write_block,
        *arrays,
        target=target,
        bands=tuple(planned.bands),
        edges=planned.edges,
        positions=_positions(planned, manifest),
        version=tokenize(manifest.digest, len(manifest.scenes), target.options),
        chunks=tuple((1,) * count for count in arrays[0].numblocks),
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )
    (marks,) = dask.optimize(marks)
    keys = [(marks.name, *place) for place in pending]
    graph = marks.__dask_graph__().cull(set(keys))
    get_scheduler(collections=[marks])(graph, keys)


def _write_block(
    *blocks: NDArray[Any],
    block_id: Place,
    target: Target,
    bands: tuple[str, ...],
    edges: tuple[int, int],
    positions: tuple[int, ...],
    version: str,
) -> NDArray[np.uint8]:
    """Store one block of all bands, then its mark. Runs on the workers."""
    date, row, column = block_id
    top, left = row * edges[0], column * edges[1]
    _, height, width = blocks[0].shape
    place = (positions[date], slice(top, top + height), slice(left, left + width))
    packed = [pack(block[0]) for block in blocks]
    with writing(target):
        arrays, done = _opened(target, bands, version)
        for array, block in zip(arrays, packed, strict=True):
            array[place] = block
        done[positions[date], row, column] = 1
    return np.ones((1, 1, 1), np.uint8)


@lru_cache(maxsize=8)
def _opened(
    target: Target, bands: tuple[str, ...], version: str
) -> tuple[list[zarr.Array[Any]], zarr.Array[Any]]:
    """The arrays of a tile, opened once per process.

    `version` is a digest of the configuration, the number of dates and the storage options, on
    which all of that depends; so a store that was replaced or has grown is opened anew.
    """
    del version
    root = target.open()
    arrays = [zarr.open_array(root, path=target.key(name), mode="r+") for name in bands]
    return arrays, zarr.open_array(root, path=target.key(_DONE), mode="r+")
