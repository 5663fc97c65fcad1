"""One scene from items to a lazy 10 m dataset: the steps that every way of running shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from decametric.errors import UsageError
from decametric.scenes.footprint import item_grid
from decametric.scenes.grouping import corner_name
from decametric.scenes.items import SCL, band_assets, level, tile
from decametric.scenes.reader import load
from decametric.superres.inference import sharpen
from decametric.superres.plan import explain
from decametric.superres.predictor import Interpolation, parts
from decametric.superres.presets import predictor_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pystac
    import xarray as xr

    from decametric.superres.plan import Plan
    from decametric.superres.predictor import Predictor
    from decametric.superres.presets import Precision


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted of every scene."""

    predictor: Predictor | str | Path | None = None
    """The predictor, or its name or path; None: the preset of the level of the scenes."""
    bands: tuple[str, ...] | None = None
    """Bands of the result; None: all."""
    bbox: tuple[float, float, float, float] | None = None
    """Area of interest in degrees: west, south, east, north."""
    chunk: int | None = None
    """Edge of the blocks in 10 m pixels; None: equal blocks of at most 1098."""
    window: int = 1098
    """Largest edge of the predictor's windows in 10 m pixels."""
    precision: Precision = "float32"
    """Arithmetic of networks."""
    orientations: int = 1
    """Orientations that networks take the mean over, see `load_predictor`."""
    offset: int | None = None
    """Radiometric offset where an item leaves it open."""
    any_level: bool = False
    """Take scenes of another level than the predictor was trained for."""

    def open_predictor(self, items: Iterable[pystac.Item]) -> Predictor:
        """The predictor itself, for these scenes."""
        levels = (level(item) for item in items)
        return predictor_for(
            levels, self.predictor, precision=self.precision, orientations=self.orientations
        )

    def open_scene(self, items: Sequence[pystac.Item], predictor: Predictor) -> xr.DataTree:
        """The lazy scene with every band that is needed, and no other."""
        return load(
            items,
            bbox=self.bbox,
            bands=needed_bands(predictor, self.bands),
            chunk=self.chunk,
            offset=self.offset,
        )

    def sharpen(self, items: Sequence[pystac.Item]) -> xr.Dataset:
        """The lazy result of one scene."""
        predictor = self.open_predictor(items)
        return sharpen(
            self.open_scene(items, predictor),
            predictor,
            bands=_without_classes(self.bands),
            window=self.window,
            any_level=self.any_level,
        )

    def explain(self, items: Sequence[pystac.Item]) -> Plan:
        """The plan of one scene, nothing computed."""
        predictor = self.open_predictor(items)
        return explain(
            self.open_scene(items, predictor),
            predictor,
            bands=_without_classes(self.bands),
            window=self.window,
            any_level=self.any_level,
        )


def by_tile(items: Iterable[pystac.Item]) -> dict[str, list[pystac.Item]]:
    """Items of each tile, in the order of the tiles' names; each tile is a scene of its own."""
    groups: dict[str, list[pystac.Item]] = {}
    for item in items:
        name = tile(item) or corner_name(item_grid(item, band_assets(item)))
        groups.setdefault(name, []).append(item)
    return dict(sorted(groups.items()))


def needed_bands(predictor: Predictor, wanted: Sequence[str] | None) -> list[str] | None:
    """Bands to load so that the wanted ones can be made; None: every band of the items."""
    if wanted is None:
        return None
    needed = dict.fromkeys(wanted)
    for part in parts(predictor):
        if not isinstance(part, Interpolation) and set(part.bands_out) & set(wanted):
            needed |= dict.fromkeys(part.bands_in)
    return list(needed)


def _without_classes(bands: Sequence[str] | None) -> list[str] | None:
    """Bands to sharpen; the classification is carried along by whoever loaded it.

    Raises
    ------
    UsageError
        If there is nothing else.
    """
    rest = None if bands is None else [band for band in bands if band != SCL]
    if rest == []:
        message = f"bands={list(bands or ())} has no band to sharpen; name one beside {SCL}."
        raise UsageError(message)
    return rest
