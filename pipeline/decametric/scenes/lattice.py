"""Grids of a user's own rasters: native, on one lattice, and the area that all of them cover."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
from affine import Affine
from odc.geo.geobox import GeoBox

from decametric.errors import SceneError
from decametric.scenes.footprint import COARSE
from decametric.scenes.items import RESOLUTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

_ALIGNED = 1e-3
"""Largest distance in pixels at which two grids still count as one."""


def native_grid(name: str, array: xr.DataArray) -> GeoBox:
    """Grid of a raster in the pixels of its band.

    Raises
    ------
    SceneError
        If it has none, or another.
    """
    box = array.odc.geobox
    if box is None or box.crs is None or box.crs.epsg is None:
        message = (
            f"{name} has no grid with a CRS; open it with rioxarray, or give it one: "
            f"array.rio.write_crs('EPSG:32633')."
        )
        raise SceneError(message)
    transform, native = box.transform, RESOLUTION[name]
    if transform.e > 0:
        message = f"{name} runs from south to north; turn it: array.sortby('y', ascending=False)."
        raise SceneError(message)
    if not np.allclose((transform.a, -transform.e), native, rtol=1e-6) or transform.b:
        message = (
            f"{name} has pixels of {transform.a:g} m, its own are of {native} m; pass the native "
            f"raster, resampled ones have lost their sampling."
        )
        raise SceneError(message)
    exact = Affine(native, 0, transform.c, 0, -native, transform.f)
    return GeoBox(box.shape, exact, f"EPSG:{box.crs.epsg}")


def common_area(boxes: Mapping[str, GeoBox]) -> GeoBox:
    """The 60 m grid of the area that all rasters cover.

    Raises
    ------
    SceneError
        If they differ in CRS, lie between each other's pixels, or have nothing in common.
    """
    anchor = max(boxes, key=lambda name: RESOLUTION[name])
    corner, crs = boxes[anchor].transform, boxes[anchor].crs
    ends = []
    for name, box in boxes.items():
        if box.crs != crs:
            message = f"{name} is in {box.crs}, {anchor} in {crs}; pass rasters of one UTM zone."
            raise SceneError(message)
        row, column = _pixels(box, corner)
        if max(abs(row - round(row)), abs(column - round(column))) > _ALIGNED:
            message = (
                f"{name} is shifted against {anchor} by part of a pixel (corners "
                f"{box.transform.c:.12g}, {box.transform.f:.12g} and {corner.c:.12g}, "
                f"{corner.f:.12g}); pass native rasters, not resampled ones."
            )
            raise SceneError(message)
        first = np.array([round(row), round(column)])
        ends.append(np.array([first, first + box.shape]) * RESOLUTION[name] / COARSE)
    top, left = (math.ceil(start) for start in np.max(ends, axis=0)[0])
    bottom, right = (math.floor(stop) for stop in np.min(ends, axis=0)[1])
    if top >= bottom or left >= right:
        message = "The rasters have no 60 m pixel in common; pass rasters of one place."
        raise SceneError(message)
    moved = Affine(COARSE, 0, corner.c + COARSE * left, 0, -COARSE, corner.f - COARSE * top)
    return GeoBox((bottom - top, right - left), moved, crs)


def _pixels(box: GeoBox, corner: Affine) -> tuple[float, float]:
    """Row and column of the corner of `box` seen from another corner, in pixels of `box`."""
    size = box.transform.a
    return (corner.f - box.transform.f) / size, (box.transform.c - corner.c) / size


def cut(array: xr.DataArray, box: GeoBox, grid: GeoBox) -> xr.DataArray:
    """The pixels of a raster that lie in a grid of the same resolution."""
    row, column = (-round(start) for start in _pixels(box, grid.transform))
    rows, columns = slice(row, row + grid.shape.y), slice(column, column + grid.shape.x)
    return array.isel(y=rows, x=columns)
