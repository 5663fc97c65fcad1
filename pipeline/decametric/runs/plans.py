"""What `run_series` would do, told without reading or writing a pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from decametric.errors import DecametricError
from decametric.runs.grouping import Scene, scenes
from decametric.runs.report import Planned
from decametric.scenes.sources import read_items
from decametric.store.layout import plan
from decametric.store.tile import missing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from decametric.runs.scene import Order
    from decametric.scenes.sources import Items


def plan_series(
    items: Items,
    store: str | os.PathLike[str],
    order: Order,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> list[Planned]:
    """Tell what `run_series` would do with each scene.

    Parameters
    ----------
    items, store, storage_options
        As for `run_series`.
    order : Order
        What is wanted of every scene.

    Returns
    -------
    list of Planned
        In the order of tile and time.
    """
    given = read_items(items)
    opened = replace(order, predictor=order.open_predictor(given))
    found = scenes(given, offset=order.offset)
    return [_planned(scene, opened, store, storage_options) for scene in found]


def _planned(
    scene: Scene, order: Order, store: str | os.PathLike[str], options: Mapping[str, Any] | None
) -> Planned:
    """One scene."""
    facts: dict[str, Any] = {"tile": scene.tile, "time": scene.time}
    facts["items"] = tuple(item.id for item in scene.items)
    try:
        if scene.error is not None:
            raise scene.error
        size = order.explain(scene.items)
        pending = missing(plan(order.sharpen(scene.items)), store, options)
    except DecametricError as error:
        return Planned(**facts, state="refused", why=str(error))
    facts["state"] = "new" if pending == size.blocks else "begun" if pending else "finished"
    return Planned(**facts, pending=pending, plan=size)
