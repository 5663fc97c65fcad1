"""Nested grids: one GeoBox at 60 m, cut in whole pixels, and its exact children at 20 m and 10 m.

Every geometry rule of the package is here. A grid belongs to the tile: its origin is whatever the
item's 60 m asset says (on southern tiles the northing is 40 mod 60, because the false northing of
10 000 000 m is no multiple of 60), so nothing is ever snapped to multiples of the resolution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.crs import CRS
from odc.geo.geom import BoundingBox, Geometry
from shapely.affinity import translate

from decametric.bands import RESOLUTIONS
from decametric.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from odc.geo.geobox import GeoBox

NEST = 6
"""Pixels of 10 m along one pixel of 60 m; every chunk edge and halo is a multiple of it."""

DEFAULT_CHUNK = 1098
"""Default chunk edge in 10 m pixels: a multiple of 6 that divides the 10980 pixels of a tile."""

Window = tuple[tuple[int, int], tuple[int, int]]
"""Pixel window at 10 m: ((row start, row stop), (column start, column stop))."""


def nested(coarse: GeoBox) -> dict[int, GeoBox]:
    """The grids of 10, 20 and 60 m that share the corner and the extent of `coarse` (60 m)."""
    return {res: coarse.zoom_to(resolution=res) if res != 60 else coarse for res in RESOLUTIONS}  # noqa: PLR2004


def check_chunk(chunk: int, name: str = "chunk") -> int:
    """Return `chunk` if it can be an edge in 10 m pixels; `name` is what it is called.

    Raises
    ------
    UsageError
        If it is not a positive multiple of 6.
    """
    if chunk <= 0 or chunk % NEST:
        below = max(NEST, chunk - chunk % NEST)
        message = (
            f"{name}={chunk} is not a multiple of 6 (a 60 m pixel is 6 pixels of 10 m); use "
            f"{below} or {below + NEST}, or {DEFAULT_CHUNK}, which divides the 10980 pixels of a "
            "tile."
        )
        raise UsageError(message)
    return chunk


def round_up(value: float, multiple: int = NEST) -> int:
    """`value` rounded up to the next `multiple`."""
    return math.ceil(value / multiple) * multiple


def window_edge(size: int, limit: int) -> int:
    """Edge of the equal windows, at most `limit` 10 m pixels, that cover `size` pixels.

    It depends on the scene alone, never on its chunks: that is what makes results independent of
    the chunking. 3294 -> 1098, 1272 -> 636, 120 -> 120 for a limit of 1098.
    """
    count = math.ceil(size / limit)
    return min(round_up(size / count), round_up(limit))


def block_edges(size: int, window: int, chunk: int) -> tuple[int, ...]:
    """Edges of the blocks that cover `size` pixels: whole windows, about `chunk` pixels each.

    Only the last block may be ragged, and it is never smaller than a window.
    """
    step = window * max(1, round(chunk / window))
    whole, rest = divmod(size, step)
    if rest >= window or not whole:
        return (step,) * whole + ((rest,) if rest else ())
    return (step,) * (whole - 1) + (step + rest,)


def crop(
    coarse: GeoBox,
    *,
    bbox: Sequence[float] | None = None,
    geobox: GeoBox | None = None,
    window: Window | None = None,
) -> GeoBox:
    """The part of a 60 m grid that an area of interest touches, in whole 60 m pixels.

    Parameters
    ----------
    coarse : GeoBox
        Grid of the item's 60 m assets.
    bbox : (west, south, east, north), optional
        Area in degrees (EPSG:4326); its edges are densified before they are projected.
    geobox : GeoBox, optional
        Area as a grid in any CRS; only its footprint counts.
    window : ((row start, row stop), (column start, column stop)), optional
        Area in 10 m pixels of the tile; it grows to whole 60 m pixels.

    Raises
    ------
    UsageError
        If more than one area is given, or the area lies outside of the grid.
    """
    given = [area for area in (bbox, geobox, window) if area is not None]
    if not given:
        return coarse
    if len(given) > 1:
        message = "Give one area of interest only: bbox, geobox or window."
        raise UsageError(message)
    if window is not None:
        (top, bottom), (left, right) = window
        rows, cols = (top / NEST, bottom / NEST), (left / NEST, right / NEST)
    else:
        rows, cols = _footprint(coarse, bbox, geobox)
    return _cut(coarse, rows, cols, given[0])


def _footprint(
    coarse: GeoBox, bbox: Sequence[float] | None, geobox: GeoBox | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rows and columns of `coarse`, as fractions, under an area; empty where they do not meet.

    Only the part of the area around the grid is projected: a transverse Mercator projection folds
    or ends far from its meridian, so that of a continent nothing sensible would come out.
    """
    if bbox is not None:
        west, south, east, north = bbox
        if not (west < east and south < north):
            message = f"bbox={tuple(bbox)} is empty; give west, south, east, north in degrees."
            raise UsageError(message)
        area = BoundingBox(west, south, east, north, "EPSG:4326").polygon
    else:
        assert geobox is not None  # noqa: S101  (crop() gives one of the two)
        area = geobox.extent
    assert coarse.crs is not None  # noqa: S101  (the grid of an item has one)
    to_pixel = ~coarse.transform
    rows, cols = [], []
    for part in _near(area, coarse):
        step = max(part.boundingbox.span_x, part.boundingbox.span_y) / 32
        box = part.to_crs(coarse.crs, resolution=step).boundingbox
        left, top = to_pixel @ (box.left, box.top)
        right, bottom = to_pixel @ (box.right, box.bottom)
        rows += [top, bottom]
        cols += [left, right]
    if not rows:
        return (0, 0), (0, 0)
    return (min(rows), max(rows)), (min(cols), max(cols))


def _near(area: Geometry, coarse: GeoBox) -> Iterator[Geometry]:
    """Parts of an area that lie around a grid, in the area's CRS."""
    assert area.crs is not None  # noqa: S101  (degrees, or the CRS of a grid)
    box = _bounds(coarse, area.crs)
    around = box.buffered(box.span_x / 10, box.span_y / 10).polygon
    # Longitudes repeat: -179 is 181, where the grid crosses the antimeridian.
    for shift in (-360, 0, 360) if area.crs.geographic else (0,):
        part = Geometry(translate(area.geom, shift), area.crs) & around
        if part.area > 0:
            yield part


def degrees(grid: GeoBox) -> BoundingBox:
    """Bounds of a grid in degrees; east is beyond 180 where it crosses the antimeridian."""
    return _bounds(grid, CRS("EPSG:4326"))


def _bounds(grid: GeoBox, crs: CRS) -> BoundingBox:
    """Bounds of a grid in another CRS."""
    assert grid.crs is not None  # noqa: S101  (the grid of an item has one)
    to_other = grid.crs.transformer_to_crs(crs)
    border = grid.transform @ grid.boundary().T
    x, y = map(np.asarray, to_other(*border))
    if crs.geographic:
        # Counted from the first point on, so that there is no leap on the way.
        x = x[0] + (x - x[0] + 180) % 360 - 180
        x += 360 * (x.min() < -180)  # noqa: PLR2004
    return BoundingBox(float(x.min()), float(y.min()), float(x.max()), float(y.max()), crs)


def _cut(
    coarse: GeoBox, rows: tuple[float, float], cols: tuple[float, float], area: object
) -> GeoBox:
    """`coarse` between fractional rows and columns, grown outwards and clipped to its extent."""
    # A millionth of a pixel of slack: a box that ends on a pixel edge must not gain a row.
    slack = 1e-6
    top, left = (max(0, math.floor(low + slack)) for low in (rows[0], cols[0]))
    bottom = min(coarse.shape.y, math.ceil(rows[1] - slack))
    right = min(coarse.shape.x, math.ceil(cols[1] - slack))
    if top >= bottom or left >= right:
        box = tuple(round(v, 5) for v in degrees(coarse).bbox)
        message = f"The area {area} lies outside of the scene, which covers {box} in degrees."
        raise UsageError(message)
    return coarse[top:bottom, left:right]
