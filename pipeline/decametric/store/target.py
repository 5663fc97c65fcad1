"""Where the output goes: a local path or an fsspec URL, opened anew in every process.

Workers get a `Target`, which is plain text, never an open store: that is what survives pickling,
a restart of the worker, and a change of process. What the package does to a store below the level
of arrays is here: small JSON documents, strays of a killed process, failures in words.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore

from decametric.errors import DecametricError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from zarr.abc.store import Store
    from zarr.core.buffer import Buffer

# zarr writes a local file under such a name first and then renames it, so a file is never torn;
# a killed process leaves the name behind.
_STRAY = re.compile(r"\.[0-9a-f]{32}\.partial$")
_LEASE = re.compile(r"(.+)\.[0-9a-f]{32}\.lease")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Target:
    """One tile of one store."""

    url: str
    """Absolute local path, or URL with a scheme that fsspec knows."""
    tile: str
    """Name of the tile's group below the root."""
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """fsspec's storage options; they may hold keys, so they are never shown or stored."""
    level: str = ""
    """Name of the group of the 10 m arrays below the tile's, if it has coarser levels beside."""

    @property
    def local(self) -> Path | None:
        """The path where the store is a local folder, else None."""
        return None if "://" in self.url else Path(self.url)

    @property
    def shown(self) -> str:
        """Name for messages: the URL without credentials and query."""
        bare = self.url.split("?")[0] if self.local is None else self.url
        return f"{re.sub('//[^/@]*@', '//', bare).rstrip('/')}/{self.tile}"

    @property
    def group(self) -> str:
        """Key of the group that holds the arrays."""
        return f"{self.tile}/{self.level}" if self.level else self.tile

    def key(self, *parts: str) -> str:
        """Key below the group that holds the arrays."""
        return "/".join((self.group, *parts))

    def open(self, *, read_only: bool = False) -> Store:
        """Open the store.

        Raises
        ------
        StoreError
            If the path is a file, no filesystem serves the URL, or a package is missing for it.
        """
        if self.local is not None:
            if self.local.exists() and not self.local.is_dir():
                message = f"{self.local} is a file, not a Zarr store; give another path."
                raise StoreError(message)
            return LocalStore(self.local, read_only=read_only)
        try:
            return FsspecStore.from_url(self.url, dict(self.options), read_only=read_only)
        except (ImportError, ValueError) as error:
            message = f"{self.shown} cannot be opened: {str(error).rstrip('.')}."
            raise StoreError(message) from error


def locate(store: str | os.PathLike[str], tile: str, options: Mapping[str, Any] | None) -> Target:
    """The target of a tile in a store given as a path or URL."""
    text = os.fspath(store)
    if text.startswith(("file:", "local:")):
        # zarr's own store for local folders replaces files atomically; fsspec's does not.
        text = url2pathname(urlsplit(text).path)
    if "://" not in text:
        text = str(Path(text).absolute())
    return Target(text, tile, dict(options or {}))


@contextlib.contextmanager
def writing(target: Target) -> Iterator[None]:
    """Turn what the system says about a failed write into one sentence.

    Raises
    ------
    StoreError
        Instead of any OSError inside of the block, and of all that a remote filesystem raises:
        their libraries have errors of their own.
    """
    try:
        yield
    except DecametricError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if target.local is not None and not isinstance(error, OSError):
            raise
        reason = os.strerror(number) if number else str(error) or type(error).__name__
        way = "free some space" if number in _FULL else "mend that"
        message = (
            f"{target.shown} cannot be written ({reason}); {way} and run the same call again, "
            f"it goes on where it stopped."
        )
        raise StoreError(message) from error


def read_document(store: Store, path: str) -> dict[str, Any] | None:
    """Metadata document of the node at `path` ("" is the root), None where there is none."""
    return read_documents(store, [path])[0]


def read_documents(store: Store, paths: Sequence[str]) -> list[dict[str, Any] | None]:
    """Metadata documents of several nodes, asked for at the same time."""

    async def all_of_them() -> list[Buffer | None]:
        prototype = default_buffer_prototype()
        return await asyncio.gather(*(store.get(_document(p), prototype=prototype) for p in paths))

    found = sync(all_of_them())
    return [None if buffer is None else json.loads(buffer.to_bytes()) for buffer in found]


def group_document(
    attributes: Mapping[str, Any], children: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A group's document; `children` are the documents it carries, by path (consolidated)."""
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    if children is not None:
        inline = {"kind": "inline", "must_understand": False, "metadata": children}
        document["consolidated_metadata"] = inline
    return document


def put_document(store: Store, path: str, document: Mapping[str, Any]) -> None:
    """Write a document, and only that: one atomic step, no parents, nothing deleted."""
    text = json.dumps(document, indent=2, allow_nan=False).encode()
    sync(store.set(_document(path), default_buffer_prototype().buffer.from_bytes(text)))


def _document(path: str) -> str:
    return f"{path}/zarr.json".lstrip("/")


def names(store: Store, path: str) -> list[str]:
    """Names directly below `path`, without strays and leases."""
    return [name for name in _listed(store, path) if not _LEASE.fullmatch(name)]


def leases(store: Store, tile: str) -> list[str]:
    """Keys of the leases of a tile (see `decametric.store.lease`), dead ones too."""
    found = [(name, _LEASE.fullmatch(name)) for name in _listed(store, "")]
    return [name for name, match in found if match and match[1] == tile]


def keys(store: Store, folder: str) -> list[str]:
    """Keys anywhere below `folder` as they are now, without strays."""
    return _all(store, store.list_prefix(f"{folder}/"))


def _listed(store: Store, path: str) -> list[str]:
    """Names directly below `path` as they are now, without strays."""
    return _all(store, store.list_dir(path))


def _all(store: Store, listing: AsyncIterator[str]) -> list[str]:
    """What a listing of the store yields."""
    if isinstance(store, FsspecStore):
        # fsspec remembers what it listed; other processes may have added something since.
        store.fs.invalidate_cache()

    async def listed() -> list[str]:
        return [name async for name in listing]

    return [name for name in sync(listed()) if not _STRAY.search(name)]


def remove_strays(folder: Path | None, *, deep: bool) -> None:
    """Delete the temporary files that a killed process left in `folder`, or anywhere below."""
    pattern = "**/*.partial" if deep else "*.partial"
    for path in folder.glob(pattern) if folder else ():
        if _STRAY.search(path.name):
            path.unlink(missing_ok=True)
