"""What a tile's group was made with and from: the record that makes runs resumable.

It is a Zarr group of its own, `<tile>/manifest`: its attributes hold the configuration, its digest
and the dates; its array ``done`` over (time, row, column) of blocks is 1 where a block is finished.
The attributes are the very first thing that is written for a tile, and a block's mark is the very
last thing for the block: whatever the moment of a kill, the manifest tells the truth.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import StoreError
from decametric.store.target import group_document, put_document, read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from zarr.abc.store import Store

    from decametric.store.target import Target

_LONGEST = 60
_WAYS_OUT = "use --overwrite (overwrite=True) to replace it, or another path"
# A tile is seen at about the same local time each day: times closer than this are of one day.
_HALF_DAY = np.timedelta64(12, "h")
_SHOWN = 3


@dataclass(frozen=True)
class Manifest:
    """Configuration and dates of one tile's group."""

    configuration: dict[str, Any]
    """All that decides the pixels and their layout, except the dates."""
    scenes: list[dict[str, Any]]
    """One record per date, in order: ``time`` (ISO, whole seconds), ``items``, ``offset``, ..."""

    @property
    def digest(self) -> str:
        """SHA-256 of the configuration as canonical JSON."""
        text = json.dumps(self.configuration, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Dates as datetime64[s]."""
        return np.array([s["time"].removesuffix("Z") for s in self.scenes], dtype="datetime64[s]")

    @classmethod
    def read(cls, store: Store, target: Target) -> Manifest | None:
        """The manifest of a tile, None where there is none."""
        document = read_document(store, target.key("manifest"))
        if document is None:
            return None
        return cls(document["attributes"]["configuration"], document["attributes"]["scenes"])

    @property
    def attributes(self) -> dict[str, Any]:
        """What is stored of it."""
        return {
            "digest": self.digest,
            "configuration": self.configuration,
            "scenes": self.scenes,
        }

    def write(self, store: Store, target: Target) -> None:
        """Write the attributes in one atomic step."""
        put_document(store, target.key("manifest"), group_document(self.attributes))

    def grown(self, new: Manifest, target: Target) -> Manifest:
        """The same manifest with the dates of `new` that it does not have yet, in order of time.

        Raises
        ------
        StoreError
            If `new` has another configuration, or the same date from other items.
        """
        found = list(_differences(self.configuration, new.configuration))
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            message = (
                f"{target.shown} was made with another configuration "
                f"({'; '.join(found[:_SHOWN])}{more}); {_WAYS_OUT}."
            )
            raise StoreError(message)
        added = [scene for scene in new.scenes if not self.holds(scene, target)]
        scenes = sorted(self.scenes + added, key=lambda scene: str(scene["time"]))
        return Manifest(self.configuration, scenes)

    def holds(self, scene: Mapping[str, Any], target: Target) -> bool:
        """Whether a date is there already; StoreError if it conflicts with one that is."""
        for position in self.rivals(scene):
            old = self.scenes[position]
            message = (
                f"{target.shown} holds {old['time']} from {_origin(old)}, not from "
                f"{_origin(scene)} ({scene['time']}); {_WAYS_OUT}."
            )
            raise StoreError(message)
        return any(_same(old, scene) for old in self.scenes)

    def rivals(self, scene: Mapping[str, Any]) -> list[int]:
        """Positions of the dates that are of the same day as another, but from other items."""
        if any(_same(old, scene) for old in self.scenes):
            return []
        time = np.datetime64(scene["time"].removesuffix("Z"), "s")
        return [int(at) for at in np.flatnonzero(abs(self.times - time) < _HALF_DAY)]


def plain(value: object) -> Any:  # noqa: ANN401  (JSON has no better type)
    """`value` as JSON gives it back: tuples are lists, NumPy scalars are numbers."""
    return json.loads(json.dumps(value, default=lambda scalar: scalar.item(), allow_nan=False))


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two records tell of one date from the same numbers."""
    return all(old.get(key) == new.get(key) for key in ("time", "items", "offset"))


def _origin(scene: Mapping[str, Any]) -> str:
    """Items and offsets of a date in words."""
    return f"{', '.join(scene.get('items', ()))} with offset {scene.get('offset')}"


def _differences(old: object, new: object, path: str = "") -> Iterator[str]:
    """Where two JSON values differ, each place in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
    elif old != new:
        yield f"{path}: {_brief(old)} in the store, {_brief(new)} now"


def _brief(value: object) -> str:
    """A value as far as a sentence can carry it."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
