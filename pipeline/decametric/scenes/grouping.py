"""Which items form one scene: one level, one tile, one time step per solar day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from decametric.errors import SceneError, UsageError
from decametric.grid import degrees
from decametric.scenes.access import epsg
from decametric.scenes.items import ItemInfo, datatake, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    import pystac
    from odc.geo.geobox import GeoBox

    Described = tuple[pystac.Item, ItemInfo]

T = TypeVar("T")
K = TypeVar("K", bound="Hashable")


def newest(described: Sequence[Described]) -> list[Described]:
    """Items by time and id; of a datatake processed more than once, the newest baseline only.

    Items of one datatake and one baseline are halves of a scene and stay; an item that was given
    twice is one.

    Raises
    ------
    UsageError
        If there is no item.
    """
    if not described:
        message = "There is no item to load; widen the search."
        raise UsageError(message)
    once = {
        (item.collection_id, item.id, info.tile, moment(item)): (item, info)
        for item, info in described
    }
    groups = _by(
        once.values(), lambda pair: (pair[1].tile, pair[1].level, datatake(pair[0]) or pair[0].id)
    )
    kept = []
    for group in groups.values():
        baseline = max(info.baseline or "" for _, info in group)
        kept += [pair for pair in group if (pair[1].baseline or "") == baseline]
    return sorted(kept, key=lambda pair: (moment(pair[0]), pair[0].id))


def one_level(described: Sequence[Described]) -> str:
    """Level of all items.

    Raises
    ------
    SceneError
        If there are two.
    """
    levels = _by(described, lambda pair: pair[1].level)
    if len(levels) > 1:
        raise SceneError(_mixed("levels", levels))
    return next(iter(levels))


def one_tile(described: Sequence[Described], grids: Sequence[GeoBox]) -> str:
    """Tile of all items; an item that names none is named after the CRS and corner of its grid.

    Parameters
    ----------
    described : sequence of (item, description)
        The items.
    grids : sequence of GeoBox
        60 m grid of each.

    Raises
    ------
    SceneError
        If there are two, or two UTM zones.
    """
    pairs = list(zip(described, grids, strict=True))
    zones = _by(pairs, lambda pair: str(pair[1].crs))
    tiles = _by(pairs, lambda pair: pair[0][1].tile or corner_name(pair[1]))
    for what, groups in (("UTM zones", zones), ("tiles", tiles)):
        if len(groups) > 1:
            raise SceneError(_mixed(what, {k: [d for d, _ in v] for k, v in groups.items()}))
    return next(iter(tiles))


def corner_name(grid: GeoBox) -> str:
    """Name of a grid: its CRS and upper left corner, ``"EPSG32633_300000_6200040"``."""
    return f"EPSG{epsg(grid)}_{grid.transform.c:.0f}_{grid.transform.f:.0f}"


def _by(things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Things by the value of `key`."""
    groups: dict[K, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return groups


def _mixed(what: str, groups: Mapping[str, Sequence[Described]]) -> str:
    """The sentence about items that do not belong together."""
    parts = [f"{name}: {', '.join(info.id for _, info in group)}" for name, group in groups.items()]
    return f"The items are of different {what} ({'; '.join(parts)}); load each on its own."


def days(described: Sequence[Described], grid: GeoBox) -> list[list[int]]:
    """Positions of the items of each solar day, in order."""
    box = degrees(grid)
    shift = timedelta(hours=(box.left + box.right) / 2 / 15)
    days: dict[object, list[int]] = {}
    for n, (item, _) in enumerate(described):
        days.setdefault((moment(item) + shift).date(), []).append(n)
    return list(days.values())
