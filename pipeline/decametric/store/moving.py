"""A late date is put in its place: the dates after it move on by whole positions.

A chunk holds one date, so that moving a date means renaming its chunks, never computing. The move
is written down in the manifest before it begins, and after each date; a run that finds such a
record finishes the move before anything else. Dates move from the last to the first, each to a
position that is free by then, so that doing a step again does no harm. While dates move, the tile
shows no arrays at all: a reader sees the old series, nothing, or the new one. (Who had opened the
tile before must open it again, as with every change of a Zarr store.)
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from decametric.store.manifest import Manifest
from decametric.store.series import publish
from decametric.store.target import group_document, put_document, read_document

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from decametric.store.lease import Lease
    from decametric.store.target import Target

DONE = "manifest/done"
"""Path of the marks of finished blocks."""

_AT_ONCE = 32


def moves(old: Manifest, new: Manifest) -> bool:
    """Whether dates of `old` have another position in `new`, which holds more dates."""
    return old.scenes != new.scenes[: len(old.scenes)]


def move(store: Store, target: Target, lease: Lease, old: Manifest, new: Manifest) -> None:
    """Bring the dates of `old` to their positions in `new`."""
    _note(store, target, old, {"scenes": new.scenes, "left": len(old.scenes)})
    finish(store, target, lease)


def finish(store: Store, target: Target, lease: Lease) -> None:
    """Go on with a move that was begun, if there is one."""
    document = read_document(store, target.key("manifest"))
    if document is None or "moving" not in document["attributes"]:
        return
    attributes = document["attributes"]
    old = Manifest(attributes["configuration"], attributes["scenes"])
    new = Manifest(attributes["configuration"], attributes["moving"]["scenes"])
    _hide(store, target)
    lease.settle()
    names = [*old.configuration["bands"], DONE]
    for name in names:
        _lengthen(store, target.key(name), len(new.scenes))
    places = np.searchsorted(new.times, old.times).tolist()
    for index in reversed(range(attributes["moving"]["left"])):
        if places[index] != index:
            for name in names:
                paths = (target.key(name, "c", str(place)) for place in (index, places[index]))
                _rename(store, target, *paths)
            _note(store, target, old, {"scenes": new.scenes, "left": index})
    new.write(store, target)


def _note(store: Store, target: Target, old: Manifest, moving: dict[str, Any]) -> None:
    """Write down how far the move is."""
    attributes = {**old.attributes, "moving": moving}
    put_document(store, target.key("manifest"), group_document(attributes))


def _hide(store: Store, target: Target) -> None:
    """Let the tile show no array."""
    document = read_document(store, target.group)
    if document is not None:
        attributes = {**document["attributes"], "complete": False}
        put_document(store, target.group, group_document(attributes, {}))
        publish(store, target)


def _lengthen(store: Store, path: str, length: int) -> None:
    """Give an array as many dates, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        array = zarr.open_array(store, path=path, mode="r+")
        array.resize((length, *array.shape[1:]))


def _rename(store: Store, target: Target, old: str, new: str) -> None:
    """Move all chunks of one date of one array."""
    if target.local is not None:
        if (target.local / old).exists():
            (target.local / old).rename(target.local / new)
        return
    assert isinstance(store, FsspecStore)  # noqa: S101  (whatever is not local)
    sync(_copy_and_delete(store, old, new))


async def _copy_and_delete(store: FsspecStore, old: str, new: str) -> None:
    """What stands for a rename where objects have no folders; the copies are the server's work."""
    limit = asyncio.Semaphore(_AT_ONCE)
    found = [key async for key in store.list_prefix(f"{old}/")]

    async def one(key: str) -> None:
        source, copy = (f"{store.path}/{k}" for k in (key, f"{new}{key.removeprefix(old)}"))
        async with limit:
            await store.fs._cp_file(source, copy)  # noqa: SLF001  (fsspec's own async interface)
            await store.delete(key)

    await asyncio.gather(*(one(key) for key in found))
