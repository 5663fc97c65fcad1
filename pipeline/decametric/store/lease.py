"""Who may write a tile: one run at a time, whatever crashes, on any store.

A run puts a lease beside the tile, ``<tile>.<id>.lease`` in the root of the store, and only then
looks for others. Whoever sees another one that lives withdraws; so of two runs that start together
at most one goes on, and nothing more is asked of the store than that it lists what was put (as
disks and S3 do). A lease lives as long as its beat changes; where reader and owner are on the same
machine, the process itself is asked for, so that after a kill nobody waits. A dead lease is taken
away by the next run; tasks of the dead run that still go on somewhere then find theirs gone, and
write no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from decametric.errors import StoreError
from decametric.store.target import leases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarr.abc.store import Store

    from decametric.store.target import Target

BEAT = 10.0
"""Seconds between two beats of a lease."""

PATIENCE = 35.0
"""Seconds without a beat after which a lease of another machine is dead."""

SETTLE = 5.0
"""Seconds within which a task of a dead run that still found its lease has written its block."""


@dataclass(frozen=True)
class Lease:
    """The right to write a tile, as long as its file is in the store."""

    key: str
    """Name of its file in the root of the store."""
    inherited: bool
    """Whether a dead lease was taken away for it."""

    def settle(self) -> None:
        """Wait until tasks of a dead run cannot interfere with what moves or deletes blocks."""
        if self.inherited:
            time.sleep(SETTLE)


@contextmanager
def leased(store: Store, target: Target) -> Iterator[Lease]:
    """Hold the lease of a tile in the block.

    Raises
    ------
    StoreError
        If another run holds it.
    """
    key = f"{target.tile}.{uuid4().hex}.lease"
    _put(store, key, 0)
    try:
        with _beating(store, key):
            yield Lease(key, inherited=_alone(store, target, key))
    finally:
        # One that cannot be deleted dies by itself.
        with contextlib.suppress(Exception):
            sync(store.delete(key))


def held(store: Store, key: str) -> bool:
    """Whether a lease is still there: nobody has taken it for dead."""
    # Not `exists`, which on some filesystems answers from a listing of the past.
    return _read(store, key) is not None


def _alone(store: Store, target: Target, key: str) -> bool:
    """Take dead leases away, and tell whether there was one; StoreError if one lives."""
    inherited = False
    for other in leases(store, target.tile):
        holder = None if other == key else _read(store, other)
        if holder is None:
            continue
        if _lives(store, other, holder):
            message = (
                f"{target.shown} is being written by another run (host {holder['host']}, process "
                f"{holder['process']}); wait until it has ended, or stop it."
            )
            raise StoreError(message)
        sync(store.delete(other))
        inherited = True
    return inherited


def _lives(store: Store, key: str, holder: dict[str, Any]) -> bool:
    """Whether the owner of a lease is still at work."""
    if holder["place"] == _place():
        return bool(_born(holder["process"]) == holder["born"])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(PATIENCE / 35)
        now = _read(store, key)
        if now is None or now["beat"] != holder["beat"]:
            return now is not None
    return False


@contextmanager
def _beating(store: Store, key: str) -> Iterator[None]:
    """Let the lease beat in the background."""
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(store, key, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _beat(store: Store, key: str, stop: threading.Event) -> None:
    beat = 0
    while not stop.wait(BEAT):
        beat += 1
        # A beat that fails is made up for by the next.
        with contextlib.suppress(Exception):
            if not held(store, key):
                return
            _put(store, key, beat)


def _put(store: Store, key: str, beat: int) -> None:
    process = os.getpid()
    document = {
        "host": socket.gethostname(),
        "place": _place(),
        "process": process,
        "born": _born(process),
        "beat": beat,
    }
    text = json.dumps(document).encode()
    sync(store.set(key, default_buffer_prototype().buffer.from_bytes(text)))


def _read(store: Store, key: str) -> dict[str, Any] | None:
    buffer = sync(store.get(key, prototype=default_buffer_prototype()))
    if buffer is None:
        return None
    document: dict[str, Any] = json.loads(buffer.to_bytes())
    return document


@cache
def _place() -> str:
    """Machine since its start, and namespace, within which process numbers mean one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid4().hex  # nothing is known: only beats tell


def _born(process: int) -> str | None:
    """When a process was started, in ticks of the machine; None if there is none any more."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
