"""The root of a series: whose it is, which tiles it shows, and how a tile is taken out of it.

A group carries the documents of what lies below it ("consolidated metadata"): a tile those of its
arrays, the root those of all tiles. Without them xarray warns at each opening and asks a remote
store a dozen times for each tile. They are put together here because zarr's `consolidate_metadata`
warns as well, and because several processes write tiles of one root at the same time. Manifests
stay out: they are read by their paths, and a reader sees tiles only.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from zarr.core.sync import sync
from zarr.storage import LocalStore

from decametric.errors import StoreError
from decametric.store.levels import cover
from decametric.store.target import (
    group_document,
    names,
    put_document,
    read_document,
    read_documents,
    remove_strays,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zarr.abc.store import Store

    from decametric.store.target import Target

MARK = {"decametric": {"layout": 1}}
"""Attributes of the root group: the sign that the tiles below are ours."""


def claim(store: Store, target: Target) -> None:
    """Make the root of the store ours, or see that it is.

    Raises
    ------
    StoreError
        If something else is there. It is never touched, not even with `overwrite`.
    """
    document = read_document(store, "")
    theirs = bool(names(store, "")) if document is None else document.get("attributes") != MARK
    if theirs:
        root = target.shown.removesuffix(f"/{target.tile}")
        message = f"{root} exists and is not a store of decametric; give another path."
        raise StoreError(message)
    remove_strays(target.local, deep=False)
    if document is None:
        publish(store, target)


def put_tile(
    store: Store, target: Target, attributes: Mapping[str, Any], arrays: Iterable[str] | None = None
) -> None:
    """Write the document of the tile's group, with those of its `arrays` if they are all there."""
    children = None
    if arrays is not None:
        paths = sorted(arrays)
        documents = read_documents(store, [target.key(name) for name in paths])
        children = dict(zip(paths, documents, strict=True))
    put_document(store, target.group, group_document(attributes, children))


def publish(store: Store, target: Target) -> None:
    """Let the root show the tiles as they are now, and a tile its levels.

    Tiles are written at the same time by other processes that publish as well. Each repeats until
    what it finds is what it would write, so the last one to stop has seen everything.
    """
    cover(store, target)
    # On a disk another process may take our temporary file for a stray; then we just write again.
    lost = (FileNotFoundError,) if isinstance(store, LocalStore) else ()
    while (document := group_document(MARK, _tiles(store))) != read_document(store, ""):
        with contextlib.suppress(*lost):
            put_document(store, "", document)


def _tiles(store: Store) -> dict[str, Any]:
    """Documents of all tiles and their arrays, by path from the root."""
    found: dict[str, Any] = {}
    tiles = sorted(name for name in names(store, "") if name != "zarr.json")
    for tile, document in zip(tiles, read_documents(store, tiles), strict=True):
        if document is not None and "consolidated_metadata" in document:
            found[tile] = group_document(document["attributes"], {})
            inner = document["consolidated_metadata"]["metadata"]
            found |= {f"{tile}/{name}": child for name, child in inner.items()}
    return found


def remove_tile(store: Store, target: Target) -> None:
    """Delete a tile's group.

    Kill it anywhere: the record of what is done goes first and the sign of ownership last, so
    nothing half-deleted is ever taken for finished or for somebody else's.
    """
    sync(store.delete_dir(target.key("manifest", "done")))
    sync(store.delete(target.key("zarr.json")))
    sync(store.delete(f"{target.tile}/zarr.json"))
    publish(store, target)
    for folder, kept in ((target.tile, target.level or "manifest"), (target.group, "manifest")):
        for name in names(store, folder):
            if name != kept:
                sync(store.delete_dir(f"{folder}/{name}"))
    sync(store.delete_dir(target.tile))
