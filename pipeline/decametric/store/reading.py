"""Reading back: the time series of one tile of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr
import zarr

from decametric.errors import StoreError, UsageError
from decametric.store.levels import FINEST
from decametric.store.target import locate

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def open_series(
    store: str | os.PathLike[str],
    tile: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Open the time series of a tile, lazily.

    Parameters
    ----------
    store : path or URL
        What `write` or `run_series` wrote, or the group of one tile in it.
    tile : str, optional
        Which tile; a store of one tile needs none.
    storage_options : mapping, optional
        Options of the fsspec filesystem of `store`.

    Returns
    -------
    xarray.Dataset
        As `xarray.open_zarr` opens the group: reflectance, NaN where there is no data.

    Raises
    ------
    StoreError
        If there is no store, or nothing in it.
    UsageError
        If the store has not this tile, or several and none is named.
    """
    target = locate(store, "", storage_options)
    shown = target.shown.rstrip("/")
    opened = target.open(read_only=True)
    try:
        root = zarr.open_group(opened, mode="r")
    except FileNotFoundError as error:
        message = f"{shown} is not a Zarr store; give what sharpen wrote."
        raise StoreError(message) from error
    if tile is None and any(True for _ in root.arrays()):
        alone: xr.Dataset = xr.open_zarr(opened)
        return alone
    if tile is None and FINEST in root:
        levelled: xr.Dataset = xr.open_zarr(opened, group=FINEST)
        return levelled
    tiles = sorted(root.group_keys())
    if not tiles:
        message = f"{shown} holds no tile; sharpen something into it first."
        raise StoreError(message)
    if tile not in tiles and (tile is not None or len(tiles) > 1):
        which = "several tiles" if tile is None else f"no tile {tile}"
        message = f"{shown} has {which}; choose from {', '.join(tiles)} (tile, --tile)."
        raise UsageError(message)
    group = tile or tiles[0]
    below = f"{group}/{FINEST}"
    series: xr.Dataset = xr.open_zarr(opened, group=below if below in root else group)
    return series
