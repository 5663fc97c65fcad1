"""`from_bands`: a scene of a user's own rasters, of the same kind as `load` returns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from decametric.bands import RESOLUTIONS, band_name, group
from decametric.errors import SceneError, UsageError
from decametric.grid import nested
from decametric.scenes.grouping import corner_name
from decametric.scenes.items import RESOLUTION, SCL
from decametric.scenes.lattice import common_area, cut, native_grid
from decametric.scenes.numbers import Numbers, check_statement, classes, reflectance, told
from decametric.scenes.reader import STANDARD_NAMES, block_shape, variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Arrays = dict[str, xr.DataArray]
    Times = NDArray[np.datetime64]


def from_bands(
    bands: Mapping[str, xr.DataArray] | xr.Dataset | xr.DataTree,
    *,
    level: str,
    offset: float | None = None,
    scale: float | None = None,
    nodata: float | None = None,
    time: str | datetime | np.datetime64 | None = None,
    tile: str | None = None,
    name: str = "own bands",
    chunk: int | None = None,
) -> xr.DataTree:
    """Make a scene of your own rasters: what `sharpen`, `assess` and `write` take; lazy.

    Bands that a predictor does not need may be missing. Rasters must be native: each band in its
    own pixels of 10, 20 or 60 m, all in one CRS and on one lattice, whose pixels nest in those of
    the coarsest band. The scene is the area that all of them cover, in whole 60 m pixels counted
    from the corner of the coarsest band; what lies outside is left away.

    Parameters
    ----------
    bands : mapping, xarray.Dataset or xarray.DataTree
        Rasters by band in any usual spelling (``"B04"``, ``"b4"``, ``"red"``, ``"SCL"``), over
        (y, x), (band=1, y, x) or (time, y, x), as rioxarray opens them, lazy or not. A Dataset
        holds the bands of one resolution; a DataTree has the nodes ``r10m``, ``r20m``, ``r60m``,
        from which only native bands are taken.
    level : {"L1C", "L2A"}
        Processing level, on which the networks depend.
    offset : float, optional
        States that the numbers are digital numbers: ``reflectance = (DN + offset) * scale``, as for
        `load`; -1000 for numbers that carry the shift of baseline 04.00, 0 for others. Without it,
        rasters with ``scale_factor`` and ``add_offset`` among their attributes are decoded by them,
        those that were decoded when they were opened, and other floats, are reflectance, and
        integers are refused.
    scale : float, optional
        Reflectance per digital number, if it is not 1e-4; needs `offset`.
    nodata : float, optional
        The number that marks no data. Default: ``_FillValue`` of each raster, else 0 for digital
        numbers and NaN alone for reflectance.
    time : str, datetime or datetime64, optional
        When the bands were seen (UTC), if they have no coordinate ``time``.
    tile : str, optional
        Name of the place, under which `write` stores it. Default: CRS and corner,
        ``"EPSG32633_300000_6200040"``.
    name : str
        What the rasters are called in the provenance. A store takes scenes of one name, time and
        offset for the same and does not compute them again.
    chunk : int, optional
        Edge of a block in 10 m pixels, a multiple of 6; default as for `load`.

    Returns
    -------
    xarray.DataTree
        As `load` returns it: children ``r10m``, ``r20m`` and ``r60m`` over (time, y, x), float32
        reflectance with NaN for no data, SCL uint8 with 0 for no data.

    Raises
    ------
    RadiometryError
        If it is not known how numbers become reflectance, or two statements contradict each other.
    SceneError
        If the rasters form no scene; on computing, if a value is no reflectance.
    UsageError
        If an argument is wrong.
    """
    if level not in STANDARD_NAMES:
        message = f"level={level!r} is unknown; choose from {', '.join(STANDARD_NAMES)}."
        raise UsageError(message)
    check_statement(offset, scale)
    arrays = {band: _raster(band, array) for band, array in _named(bands).items()}
    boxes = {band: native_grid(band, array) for band, array in arrays.items()}
    coarse, times = common_area(boxes), _times(arrays, time)
    _check_dates(arrays, times)
    numbers = {
        band: told(band, array, offset=offset, scale=scale, nodata=nodata)
        for band, array in arrays.items()
        if band != SCL
    }
    shape = block_shape(nested(coarse)[10], chunk)
    children = {}
    for res, grid in nested(coarse).items():
        parts = {
            band: cut(array, boxes[band], grid)
            for band, array in arrays.items()
            if RESOLUTION[band] == res
        }
        data = {
            band: variable(band, _values(band, part, numbers.get(band), shape), level)
            for band, part in parts.items()
        }
        children[group(res)] = xr.Dataset(data, {"time": times, **xr_coords(grid)})
    scene = xr.DataTree.from_dict(children)
    facts = _provenance(times, name, numbers.values())
    scene.attrs = {"level": level, "tile": tile or corner_name(coarse), "provenance": facts}
    return scene


def _named(bands: Mapping[str, xr.DataArray] | xr.Dataset | xr.DataTree) -> Arrays:
    """Rasters by official band name.

    Raises
    ------
    UsageError
        If a name means no band, two mean the same, or there is no array under one.
    """
    if isinstance(bands, xr.DataTree):
        return _of_tree(bands)
    found: Arrays = {}
    for key, array in bands.items():
        if isinstance(bands, xr.Dataset) and not {"y", "x"} <= set(array.dims):
            continue  # spatial_ref and its like
        name = SCL if str(key).upper() == SCL else band_name(str(key))
        if name in found:
            message = f"{name} is given twice ({', '.join(map(str, bands))}); give it once."
            raise UsageError(message)
        if not hasattr(array, "dims"):
            message = (
                f"{name} is a {type(array).__name__}, not a DataArray; open files with "
                "rioxarray.open_rasterio."
            )
            raise UsageError(message)
        found[name] = array
    if not found:
        message = "There is no band; give a mapping from band names to arrays, or a Dataset."
        raise UsageError(message)
    return {name: found[name] for name in RESOLUTION if name in found}


def _of_tree(tree: xr.DataTree) -> Arrays:
    """The native bands of a tree; resampled copies and everything else are passed over."""
    nodes = [(res, tree.children[group(res)]) for res in RESOLUTIONS if group(res) in tree.children]
    native = {
        str(key): array
        for res, node in nodes
        for key, array in node.to_dataset().data_vars.items()
        if RESOLUTION.get(str(key).upper()) == res
    }
    if not native:
        message = (
            f"The tree has no bands below r10m, r20m or r60m, only {', '.join(tree.children)}; "
            f"pass the node that has them."
        )
        raise UsageError(message)
    return _named(native)


def _raster(name: str, array: xr.DataArray) -> xr.DataArray:
    """The raster over (y, x) or (time, y, x).

    Raises
    ------
    SceneError
        If it has other dimensions.
    """
    if "band" in array.dims and array.sizes["band"] == 1:
        array = array.isel(band=0)
    axes = [axis for axis in ("time", "y", "x") if axis in array.dims]
    if axes[-2:] != ["y", "x"] or len(axes) != array.ndim:
        message = (
            f"{name} has the dimensions ({', '.join(map(str, array.dims))}); pass one band each, "
            f"over (y, x) or (time, y, x)."
        )
        raise SceneError(message)
    return array.transpose(*axes)


def _times(arrays: Arrays, time: str | datetime | np.datetime64 | None) -> Times:
    """Times of the scene: those of the rasters, or the one that was stated.

    Raises
    ------
    UsageError
        If nobody states one, or all do.
    SceneError
        If the rasters' times differ or are not in order.
    """
    found = {
        name: np.atleast_1d(a["time"].values) for name, a in arrays.items() if "time" in a.coords
    }
    if bool(found) == (time is not None):
        message = (
            "The bands have times of their own; leave out time."
            if found
            else "The bands have no time; say when they were seen: time='2024-07-01'."
        )
        raise UsageError(message)
    if not found:
        return _instant(time)
    name, first = next(iter(found.items()))
    for other, times in found.items():
        if not np.array_equal(times, first):
            message = f"{name} and {other} have different times; select common ones before."
            raise SceneError(message)
    if (np.diff(first) <= np.timedelta64(0, "s")).any():
        message = "The times of the bands are not in order; sort them: array.sortby('time')."
        raise SceneError(message)
    return first.astype("datetime64[ns]")


def _instant(time: str | datetime | np.datetime64 | None) -> Times:
    """One stated time (UTC)."""
    try:
        moment = datetime.fromisoformat(str(time))
    except ValueError:
        message = f"time={time!r} is no time; write it like '2024-07-01T10:20:31'."
        raise UsageError(message) from None
    utc = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return np.array([utc], "datetime64[ns]")


def _check_dates(arrays: Arrays, times: Times) -> None:
    """See that every raster has the dates of the scene.

    Raises
    ------
    SceneError
        If one has no dates where others have several.
    """
    flat = [name for name, array in arrays.items() if "time" not in array.dims]
    if flat and len(times) > 1:
        message = f"{', '.join(flat)} has no dimension time, other bands have {len(times)} dates."
        raise SceneError(message)


def _values(
    band: str, array: xr.DataArray, numbers: Numbers | None, shape: tuple[int, int]
) -> da.Array:
    """Lazy reflectance, or classes, over (time, y, x) in blocks of `shape` 10 m pixels."""
    rows, columns = (edge * 10 // RESOLUTION[band] for edge in shape)
    edges = dict(zip(array.dims, (1, rows, columns)[-array.ndim :], strict=True))
    # Lazy first: adding an axis to a file that xarray has opened would read it.
    blocks: da.Array = array.chunk(edges).data
    blocks = blocks if blocks.ndim == 3 else blocks[np.newaxis]  # noqa: PLR2004  (time, y, x)
    if numbers is None:
        mark, meta = array.attrs.get("_FillValue"), np.empty((0, 0, 0), np.uint8)
        found: da.Array = da.map_blocks(classes, blocks, nodata=mark, meta=meta)
        return found
    empty = np.empty((0, 0, 0), np.float32)
    values: da.Array = da.map_blocks(reflectance, blocks, band=band, numbers=numbers, meta=empty)
    return values


def _provenance(times: Times, name: str, numbers: Iterable[Numbers]) -> dict[str, Any]:
    """What made each date: the rasters' name, and each offset with its reason once."""
    rules = list(dict.fromkeys((rule.offset, rule.reason) for rule in numbers))
    seconds = times.astype("datetime64[s]").astype(str)
    return {
        "scenes": [
            {
                "time": f"{second}Z",
                "items": [name],
                "offset": [offset for offset, _ in rules],
                "rule": [reason for _, reason in rules],
            }
            for second in seconds
        ]
    }
