"""Write a dataset into a series on disk, block by block, resumable wherever it stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zarr

from decametric.store.layout import plan
from decametric.store.moving import DONE
from decametric.store.pyramid import coarsen
from decametric.store.target import locate
from decametric.store.tile import as_found, open_tile

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import xarray as xr


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
    multiscale: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Written:
    """Compute a sharpened dataset and store it in its tile's group.

    Dates that the group holds already are skipped, others are put in their places in time. The
    active Dask scheduler computes: a `dask.distributed.Client`, if there is one. For many scenes
    see `decametric.run_series`.

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
    multiscale : bool
        Begin the tile with coarser levels for viewers: what else lies in ``<store>/<tile>`` is then
        in ``<store>/<tile>/r10m``, beside ``r20m``, ``r40m`` and so on (see `store.pyramid`). They
        follow the series whenever it grows, with this argument or without.
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
        If the store belongs to another configuration or to somebody else, is being written by
        another run, or cannot be written.
    """
    planned = plan(dataset)
    ways: dict[str, Any] = {"resume": resume, "overwrite": overwrite}
    ways |= {"multiscale": multiscale, "storage_options": storage_options}
    with open_tile(store, planned.tile, **ways) as tile:
        job = tile.add(planned)
        job.compute()
        coarsen(tile)
    return Written(job.target.shown, len(job.pending), job.blocks - len(job.pending))


def progress(
    store: str | os.PathLike[str], tile: str, *, storage_options: Mapping[str, Any] | None = None
) -> tuple[int, int]:
    """Finished blocks and all blocks of a tile: (0, 0) before its template is there."""
    target = locate(store, tile, storage_options)
    try:
        root = target.open(read_only=True)
        done = zarr.open_array(root, path=as_found(root, target).key(DONE), mode="r")
    except FileNotFoundError:
        return 0, 0
    # A mark is a chunk: listing them counts without reading.
    return done.nchunks_initialized, done.nchunks
