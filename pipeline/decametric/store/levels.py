"""The group above the levels of a tile: what viewers open to find the level that they need.

A tile with levels has one group for each, ``r10m`` (the data, as any tile has it), ``r20m``,
``r40m`` and so on, and above them a group without arrays: its attributes are those of the data and
the layout of the Zarr convention "multiscales". Arrays of several sizes cannot be in one group, nor
one above the other, where readers let groups inherit coordinates, as xarray's DataTree does.

The group shows coarser levels only if they are those of its data: while a tile is being written,
or after a run that was killed, it shows the data alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decametric.bands import group
from decametric.store.target import group_document, put_document, read_document, read_documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarr.abc.store import Store

    from decametric.store.target import Target

FINEST = group(10)
"""Name of the level that holds the data."""

RECORD = "levels"
"""Group below the tile's whose attributes tell which dates the coarser levels hold."""

_CONVENTION = {
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v0.1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v0.1/README.md",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
}


def cover(store: Store, target: Target) -> None:
    """Bring the group above the levels of a tile up to date, if it has levels."""
    finest = read_document(store, target.group)
    if not target.level or finest is None:
        return
    names = [target.level, *_current(store, target, finest["attributes"])]
    documents = read_documents(store, [f"{target.tile}/{name}" for name in names])
    levels = {n: d for n, d in zip(names, documents, strict=True) if d is not None}
    attributes = dict(finest["attributes"])
    attributes["zarr_conventions"] = [*attributes["zarr_conventions"], _CONVENTION]
    attributes["multiscales"] = {"layout": _layout(levels), "resampling_method": "average"}
    document = group_document(attributes, _children(levels))
    if document != read_document(store, target.tile):
        put_document(store, target.tile, document)


def read_record(store: Store, target: Target) -> dict[str, list[str]] | None:
    """Names of the coarser levels, ``times`` of the dates in them, and those ``done``, if any."""
    document = read_document(store, f"{target.tile}/{RECORD}")
    return document and document["attributes"]


def write_record(
    store: Store, target: Target, levels: Sequence[str], times: Sequence[str], done: Sequence[str]
) -> None:
    """Write what `read_record` reads, in one atomic step."""
    attributes = {"levels": list(levels), "times": list(times), "done": list(done)}
    put_document(store, f"{target.tile}/{RECORD}", group_document(attributes))


def _current(store: Store, target: Target, attributes: Mapping[str, Any]) -> list[str]:
    """Names of the coarser levels, if they hold every finished date of the data in its place."""
    record = read_record(store, target)
    times = [scene["time"] for scene in attributes["provenance"]["scenes"]]
    unfinished = [] if attributes["complete"] else attributes.get("unfinished")
    if record is None or unfinished is None or record["times"] != times:
        return []
    return record["levels"] if {*times} - {*unfinished} <= {*record["done"]} else []


def _layout(levels: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The levels as the convention tells them, each made from the one before."""
    layout: list[dict[str, Any]] = []
    for name, document in levels.items():
        source = {"derived_from": layout[-1]["asset"]} if layout else {}
        factor = 2.0 if layout else 1.0
        place = {key: document["attributes"][key] for key in ("spatial:shape", "spatial:transform")}
        transform = {"scale": [factor, factor], "translation": [0.0, 0.0]}
        layout.append({"asset": name, **source, "transform": transform, **place})
    return layout


def _children(levels: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Documents of the levels and their arrays, by path from the group above."""
    children: dict[str, Any] = {}
    for name, document in levels.items():
        children[name] = group_document(document["attributes"], {})
        inner = document.get("consolidated_metadata", {}).get("metadata", {})
        children |= {f"{name}/{path}": child for path, child in inner.items()}
    return children
