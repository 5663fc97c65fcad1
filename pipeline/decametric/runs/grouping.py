"""The scenes of a series: items of one tile and one solar day each, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import DecametricError, SceneError
from decametric.scenes.footprint import item_grid
from decametric.scenes.grouping import days, newest, one_tile
from decametric.scenes.items import describe, moment, tile

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pystac
    from odc.geo.geobox import GeoBox

    from decametric.scenes.items import ItemInfo

    Described = tuple[pystac.Item, ItemInfo]

UNKNOWN = "?"
"""Tile or time of an item that does not tell it."""

_HALF_DAY = np.timedelta64(12, "h")


@dataclass(frozen=True)
class Scene:
    """What becomes one time step of one tile."""

    tile: str
    """Name of the tile's group in the store."""
    time: str
    """Time of its first item, ISO, whole seconds, UTC."""
    items: tuple[pystac.Item, ...]
    """Its items: one, or several granules of a day."""
    offset: tuple[int, ...] = ()
    """Radiometric offset of each item in digital numbers."""
    rule: tuple[str, ...] = ()
    """Why it is that, for each item."""
    error: DecametricError | None = None
    """Why it cannot be a scene."""

    @property
    def key(self) -> str:
        """What tells it from every other scene."""
        return " ".join((self.tile, self.time, *(item.id for item in self.items)))

    @property
    def record(self) -> dict[str, Any]:
        """What a store notes of it, as `decametric.load` does."""
        ids = [item.id for item in self.items]
        offset, rule = list(self.offset), list(self.rule)
        return {"time": self.time, "items": ids, "offset": offset, "rule": rule}


def scenes(items: Iterable[pystac.Item], *, offset: int | None = None) -> list[Scene]:
    """Scenes in the order of tile and time.

    Parameters
    ----------
    items : iterable of pystac.Item
        Of any number of tiles and days. Of an observation that was processed more than once the
        newest baseline counts.
    offset : int, optional
        Radiometric offset in digital numbers, where an item leaves it open.

    Returns
    -------
    list of Scene
        With `error` set where an item cannot be used; a day that lacks one of its items is not
        made of the rest.
    """
    tiles: dict[str, list[tuple[Described, GeoBox]]] = {}
    refused = []
    for item in items:
        try:
            described, grid = _described(item, offset)
            tiles.setdefault(one_tile([described], [grid]), []).append((described, grid))
        except DecametricError as error:
            refused.append(Scene(tile(item) or UNKNOWN, _time(item), (item,), error=error))
    good = [scene for name, members in tiles.items() for scene in _days(name, members)]
    whole = [replace(scene, error=_missing(scene, refused)) for scene in good]
    return sorted(whole + refused, key=lambda scene: (scene.tile, scene.time))


def _described(item: pystac.Item, offset: int | None) -> tuple[Described, GeoBox]:
    """An item with all that grouping asks of it."""
    info = describe(item, offset=offset)
    moment(item)
    return (item, info), item_grid(item, info.assets)


def _days(name: str, members: list[tuple[Described, GeoBox]]) -> list[Scene]:
    """The scenes of one tile."""
    described = newest([pair for pair, _ in members])
    steps = [[described[n] for n in day] for day in days(described, members[0][1])]
    return [
        Scene(
            name,
            _time(step[0][0]),
            tuple(item for item, _ in step),
            tuple(info.rule.offset for _, info in step),
            tuple(info.rule.reason for _, info in step),
        )
        for step in steps
    ]


def _time(item: pystac.Item) -> str:
    """Time of an item as a store writes it."""
    try:
        return moment(item).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except SceneError:
        return UNKNOWN


def _missing(scene: Scene, refused: list[Scene]) -> DecametricError | None:
    """Why another item of the same tile and day was refused, if there is one."""
    for other in refused:
        if other.tile == scene.tile and UNKNOWN not in (other.time, scene.time):
            times = [np.datetime64(each.time.removesuffix("Z")) for each in (other, scene)]
            if abs(times[0] - times[1]) < _HALF_DAY:
                return other.error
    return None
