"""Items to a scene: lazy reflectance on three nested grids, every rule of the numbers applied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from decametric.bands import BANDS, RESOLUTIONS, band_name, group, listed
from decametric.errors import SceneError
from decametric.grid import DEFAULT_CHUNK, check_chunk, crop, nested, window_edge
from decametric.scenes.access import locator
from decametric.scenes.engines import check_engine, digital_numbers
from decametric.scenes.footprint import item_grid, union
from decametric.scenes.grouping import days, newest, one_level, one_tile
from decametric.scenes.items import RESOLUTION, SCL, describe, moment
from decametric.scenes.radiometry import first_class, reflectance
from decametric.scenes.sources import read_items

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pystac
    from odc.geo.geobox import GeoBox

    from decametric.grid import Window
    from decametric.scenes.items import ItemInfo
    from decametric.scenes.sources import Items

    Described = tuple[pystac.Item, ItemInfo]

TWELVE = tuple(name for name in BANDS if name != "B10")
"""Bands of a scene unless others are asked for; B10 exists in L1C only and is never sharpened."""

STANDARD_NAMES = {
    "L1C": "toa_bidirectional_reflectance",
    "L2A": "surface_bidirectional_reflectance",
}
_TITLE = {name: band.title for name, band in BANDS.items()} | {SCL: "scene classification"}


def load(
    items: Items,
    *,
    bbox: Sequence[float] | None = None,
    geobox: GeoBox | None = None,
    window: Window | None = None,
    bands: Iterable[str] | None = None,
    chunk: int | None = None,
    engine: str = "stackstac",
    offset: int | None = None,
) -> xr.DataTree:
    """Open items of one tile as a lazy scene; nothing is read before it is computed.

    (Only where no asset of an item has projection metadata, the header of one file is read.)

    Parameters
    ----------
    items : pystac.Item, list, pystac.ItemCollection, path, URL or dict
        Anything that `read_items` takes: items of one tile and one level.
    bbox : (west, south, east, north), optional
        Area of interest in degrees; like the next two it grows to whole 60 m pixels.
    geobox : odc.geo.geobox.GeoBox, optional
        Area of interest as a grid in any CRS; only its footprint counts.
    window : ((row start, row stop), (column start, column stop)), optional
        Area of interest in 10 m pixels of the tile.
    bands : iterable of str, optional
        Bands by official or common name, and ``"SCL"``. Default: all but B10, with SCL where
        every item has it.
    chunk : int, optional
        Edge of a block in 10 m pixels, a multiple of 6. Default: equal blocks of at most 1098,
        which are also the windows of a predictor, so that nothing has to be rechunked.
    engine : {"stackstac", "odc-stac"}
        Who reads; the result is the same bit for bit.
    offset : int, optional
        Radiometric offset in digital numbers (-1000 or 0) of the items that leave it open.

    Returns
    -------
    xarray.DataTree
        Children ``r10m``, ``r20m`` and ``r60m``; one variable per band over (time, y, x): float32
        reflectance with NaN for no data, SCL uint8 with 0 for no data. One time step per solar
        day; where several items of a day cover a pixel the first valid one wins, in the order of
        datetime and id.

    Raises
    ------
    SceneError
        If the items cannot form one scene.
    RadiometryError
        If the offset of an item is ambiguous and not stated.
    UsageError
        If an argument is wrong, or the area lies outside of the scene.
    """
    check_engine(engine)
    described = newest([(item, describe(item, offset=offset)) for item in read_items(items)])
    names = _names(bands, described)
    grids = [item_grid(item, info.assets) for item, info in described]
    attrs = {"level": one_level(described), "tile": one_tile(described, grids)}
    whole = union(grids)
    boxes = nested(crop(whole, bbox=bbox, geobox=geobox, window=window))
    steps = days(described, whole)
    read = _Reading(described, steps, block_shape(boxes[10], chunk), engine)
    scene = xr.DataTree.from_dict(
        {
            group(res): read.dataset([n for n in names if RESOLUTION[n] == res], boxes[res], res)
            for res in RESOLUTIONS
        }
    )
    scenes = [_provenance([described[n] for n in step]) for step in steps]
    scene.attrs = {**attrs, "provenance": {"scenes": scenes}}
    return scene


@dataclass(frozen=True)
class _Reading:
    """What the three resolutions of a scene have in common."""

    described: list[Described]
    steps: list[list[int]]
    """Per time step: the positions of its items, the first valid pixel winning."""
    chunk: tuple[int, int]
    """Rows and columns of a block at 10 m."""
    engine: str

    def dataset(self, names: list[str], grid: GeoBox, resolution: int) -> xr.Dataset:
        """Bands `names` of one resolution over (time, y, x)."""
        times = [_instant(self.described[day[0]][0]) for day in self.steps]
        coords = {"time": np.array(times, "datetime64[ns]"), **xr_coords(grid)}
        if not names:
            return xr.Dataset(coords=coords)
        items = [item for item, _ in self.described]
        rows, cols = (edge * 10 // resolution for edge in self.chunk)
        level = self.described[0][1].level
        variables = {}
        for name in names:
            addresses = [locator(item, info.assets[name]) for item, info in self.described]
            cube = digital_numbers(
                items, name, addresses, grid, chunk=(rows, cols), engine=self.engine
            )
            variables[name] = variable(name, self._band(cube, name), level)
        return xr.Dataset(variables, coords)

    def _band(self, items: da.Array, name: str) -> da.Array:
        """Days of one band from its items (item, y, x): merged, and scaled unless classes."""
        offsets = [self.described[n][1].rule.offset for day in self.steps for n in day]
        if all(len(day) == 1 for day in self.steps) and len(set(offsets)) == 1:
            # No slice between read and arithmetic: Dask fuses them into whatever packs the band.
            return _merged([items], name, offsets[:1])
        merged = []
        for day in self.steps:
            granules = [items[n : n + 1] for n in day]
            rules = [self.described[n][1].rule.offset for n in day]
            merged.append(_merged(granules, name, rules))
        days: da.Array = da.concatenate(merged)
        return days


def _merged(granules: list[da.Array], name: str, offsets: list[int]) -> da.Array:
    """Reflectance, or classes, of days from their granules (day, y, x), in one task per block."""
    if name == SCL:
        classes: da.Array = da.map_blocks(
            first_class, *granules, meta=np.empty((0, 0, 0), np.uint8)
        )
        return classes
    data: da.Array = da.map_blocks(
        reflectance, *granules, offsets=tuple(offsets), meta=np.empty((0, 0, 0), np.float32)
    )
    return data


def variable(name: str, data: da.Array, level: str) -> xr.Variable:
    """A band with its attributes."""
    attrs: dict[str, Any] = {"long_name": f"{name} {_TITLE[name]}", "units": "1"}
    if name != SCL:
        attrs["standard_name"] = STANDARD_NAMES[level]
    variable = xr.Variable(("time", "y", "x"), data, attrs)
    variable.encoding["grid_mapping"] = "spatial_ref"
    return variable


def block_shape(fine: GeoBox, chunk: int | None) -> tuple[int, int]:
    """Rows and columns of a block: as asked for, else equal blocks."""
    if chunk is not None:
        return check_chunk(chunk), check_chunk(chunk)
    return window_edge(fine.shape.y, DEFAULT_CHUNK), window_edge(fine.shape.x, DEFAULT_CHUNK)


def _names(bands: Iterable[str] | None, described: list[Described]) -> list[str]:
    """Bands to load, in the order of the table.

    Raises
    ------
    SceneError
        If an item lacks one.
    """
    if bands is None:
        scl = all(SCL in info.assets for _, info in described)
        wanted = {*TWELVE, SCL} if scl else set(TWELVE)
    else:
        wanted = {SCL if name.upper() == SCL else band_name(name) for name in listed(bands)}
    for _, info in described:
        lacking = [name for name in RESOLUTION if name in wanted and name not in info.assets]
        if lacking:
            raise SceneError(_lack(info, lacking))
    return [name for name in RESOLUTION if name in wanted]


def _lack(info: ItemInfo, lacking: list[str]) -> str:
    """The sentence about missing bands."""
    files = [info.missing[name] for name in lacking if name in info.missing]
    where = f" (the product lists {', '.join(files)}, which are not there)" if files else ""
    out = f"; leave them out with bands={list(info.assets)}" if info.assets else ""
    return f"Item {info.id} has no asset for {', '.join(lacking)}{where}{out}."


def _instant(item: pystac.Item) -> np.datetime64:
    """Time of an item as NumPy knows it (UTC, no zone)."""
    return np.datetime64(moment(item).astimezone(UTC).replace(tzinfo=None), "ns")


def _provenance(day: list[Described]) -> dict[str, Any]:
    """What made one time step: items, offsets and why. Addresses stay out, they may hold keys."""
    when = moment(day[0][0]).astimezone(UTC)
    return {
        "time": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "items": [info.id for _, info in day],
        "offset": [info.rule.offset for _, info in day],
        "rule": [info.rule.reason for _, info in day],
    }
