"""Splits are by place: what a network is chosen on lies nowhere near what it has learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decametric.errors import UsageError
from decametric.scenes.items import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pystac


def check_places(training: Sequence[pystac.Item], validation: Sequence[pystac.Item]) -> None:
    """Refuse splits that leak: no place, at whatever date, may be on both sides.

    Two items are of one place if they are of one MGRS tile or their bounding boxes meet.

    Raises
    ------
    UsageError
        If an item of one side is of the place of one of the other.
    """
    for one in training:
        for other in validation:
            if reason := _same_place(one, other):
                message = (
                    f"{one.id} is for training and {other.id} for validation, but {reason}; a "
                    "network must be chosen on places that it has not seen: leave one of them out."
                )
                raise UsageError(message)


def check_levels(items: Sequence[pystac.Item], level: str, *, any_level: bool) -> None:
    """Refuse items of another level than the network is for, unless that is wanted.

    Raises
    ------
    UsageError
        If an item is of another level.
    """
    odd = [item.id for item in items if describe(item).level != level]
    if odd and not any_level:
        message = (
            f"{', '.join(odd[:3])}{' and others' if len(odd) > 3 else ''} "  # noqa: PLR2004
            f"are not {level}; leave them out, or say any_level=True (--any-level)."
        )
        raise UsageError(message)


def _same_place(one: pystac.Item, other: pystac.Item) -> str:
    """Why two items are of one place; empty where they are not."""
    tiles = describe(one).tile, describe(other).tile
    if tiles[0] is not None and tiles[0] == tiles[1]:
        return f"both are of tile {tiles[0]}"
    if one.bbox and other.bbox and _meet(one.bbox, other.bbox):
        return "their areas meet"
    return ""


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two boxes (west, south, east, north) have a point in common."""
    apart = (one[low] > other[high] or other[low] > one[high] for low, high in ((0, 2), (1, 3)))
    return not any(apart)
