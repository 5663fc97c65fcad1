"""`preview`: a figure of what sharpening did, where it can be seen: pixel by pixel.

Strategy. A small map of the whole scene tells where one is; a detail, drawn with a few screen
pixels for each pixel, tells what changed. All is picked by coordinates from lazy bands, so that
bands of 10, 20 and 60 m fall onto each other, and nothing is computed but the blocks of the detail
and every n-th pixel for the map. The map is drawn from the scene where one is given: a scene costs
no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import odc.geo.xr  # noqa: F401  (gives datasets `odc`)
import xarray as xr
from odc.geo.geom import point

from decametric.bands import BANDS, band_name, group
from decametric.errors import SceneError, UsageError
from decametric.evaluation.panels import COLOURS, Panel, draw
from decametric.evaluation.pictures import FALSE_COLOUR
from decametric.grid import NEST, degrees
from decametric.superres.inference import sharpen
from decametric.superres.predictor import Bicubic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from decametric.evaluation.panels import Floats, Places

    Bands = list[xr.DataArray]

SIZE = 120
"""Edge of the detail in pixels, unless asked otherwise."""

LARGEST = 600
"""Larger details would not show their pixels."""

MAP = 240
"""Edge of the map in pixels, at most."""

MANY = 8
"""More dates are not listed."""


def preview(
    ds: xr.Dataset | xr.DataTree,
    bands: Sequence[str] = FALSE_COLOUR,
    *,
    compare: xr.Dataset | xr.DataTree | None = None,
    time: int | str = 0,
    at: tuple[float, float] | None = None,
    size: int = SIZE,
) -> Figure:
    """Draw a detail of a scene pixel by pixel, and a small map that tells where it is.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataTree
        What `sharpen` returns or `xarray.open_zarr` opens: one variable for each band over
        (time, y, x), or over (y, x). A scene, as `load` returns it, is drawn interpolated.
    bands : sequence of one to three str
        What is drawn as red, green and blue; one band is drawn grey.
    compare : xarray.Dataset or xarray.DataTree, optional
        What is drawn beside `ds`, of the same ground and with the same stretch: the scene that
        `ds` was made of, interpolated (bicubic), or another dataset in the same CRS.
    time : int or str
        Which date: its position, or its day as ``"2024-07-28"``. Of `compare` the same day.
    at : (longitude, latitude), optional
        Centre of the detail in degrees. Default: the middle, or where data are next to it.
    size : int
        Edge of the detail in pixels of `ds`, 6 to 600.

    Returns
    -------
    matplotlib.figure.Figure
        It shows itself in a notebook; ``figure.savefig("picture.png")`` stores it. The 2nd
        percentile of a band in all details together is drawn black, the 98th at full brightness;
        the map has a stretch of its own. Axes are in km of the CRS.

    Raises
    ------
    UsageError
        If a band or date is not there, the place lies outside, or the CRS differ.
    SceneError
        If no pixel of the date or of the detail has data.

    Notes
    -----
    Only the detail's blocks are computed, and every n-th pixel for the map: of the scene where one
    is given, else of `ds`. So draw a dataset that is sharpened but not yet written with
    ``compare=scene``; else its network has to run on the whole scene for the map.

    Examples
    --------
    >>> import decametric as dm
    >>> from decametric.testing import synthetic_scene
    >>> from tempfile import mkdtemp
    >>> scene = dm.load(synthetic_scene(mkdtemp(), size=72))
    >>> figure = preview(dm.sharpen(scene, "bilinear"), compare=scene, size=36)
    >>> [axes.get_title() for axes in figure.axes]
    ['2024-05-14', 'bicubic, 20 m to 10 m', 'bilinear, 20 m to 10 m']
    """
    names = _names(bands)
    if not NEST <= size <= LARGEST:
        message = f"size={size} cannot be drawn; give {NEST} to {LARGEST} pixels (size, --size)."
        raise UsageError(message)
    main = _on(_fine(ds, names), time)
    day = _day(main) or time
    sides = [main] if compare is None else [_on(_fine(compare, names), day), main]
    for side in sides:
        _check_crs(side, main)
    scene = next((each for each in (ds, compare) if isinstance(each, xr.DataTree)), None)
    far = main if scene is None else _on(_native(scene, names), day)
    whole = _whole(main)
    small = Panel(_day(main) or "the whole scene", _read([far], whole)[0], whole)
    part = _around(main, _centre(main, small, at), size)
    titles = (_title(side) for side in sides)
    panels = [Panel(*each, part) for each in zip(titles, _read(sides, part), strict=True)]
    return draw(names, small, panels, _crs(main))


# === What is drawn ===


def _names(bands: Sequence[str]) -> list[str]:
    """Official names, each once."""
    given = [bands] if isinstance(bands, str) else bands
    names = list(dict.fromkeys(band_name(name.strip()) for name in given))
    if not 1 <= len(names) <= len(COLOURS):
        message = f"A picture has one to three bands, not {len(names)} (bands, --bands)."
        raise UsageError(message)
    return names


def _fine(source: xr.Dataset | xr.DataTree, names: list[str]) -> Bands:
    """The bands of a dataset as they are, or of a scene interpolated."""
    if isinstance(source, xr.DataTree):
        source = sharpen(source, Bicubic(), bands=names)
    if lacking := [name for name in names if name not in source]:
        has = ", ".join(map(str, source.data_vars)) or "none"
        message = f"The dataset has no {', '.join(lacking)}; its bands are {has} (bands, --bands)."
        raise UsageError(message)
    return [source[name] for name in names]


def _native(scene: xr.DataTree, names: list[str]) -> Bands:
    """The bands of a scene as they were measured, each on its own grid."""
    return [scene[group(BANDS[name].resolution)].to_dataset()[name] for name in names]


def _on(bands: Bands, time: int | str) -> Bands:
    """One date of bands; what has no dates is taken as it is."""
    if "time" not in bands[0].dims:
        return bands
    days = bands[0]["time"].values.astype("datetime64[D]").astype(str).tolist()
    day = str(time)[:10]
    position = time if isinstance(time, int) else days.index(day) if day in days else len(days)
    if not -len(days) <= position < len(days):
        known = (
            ", ".join(days) if len(days) <= MANY else f"{len(days)} from {days[0]} to {days[-1]}"
        )
        message = f"There is no date {time}; the dates are {known} (time, --time)."
        raise UsageError(message)
    return [band.isel(time=position) for band in bands]


def _day(bands: Bands) -> str | None:
    """Day of bands of one date, if they tell it."""
    return str(bands[0]["time"].values)[:10] if "time" in bands[0].coords else None


def _title(bands: Bands) -> str:
    """Who made the bands, and how large their pixels were and are."""
    makers = {band.attrs["sharpened_by"]: None for band in bands if "sharpened_by" in band.attrs}
    natives = sorted({BANDS[str(band.name)].resolution for band in bands})
    size = abs(bands[0].odc.geobox.resolution.x)
    if makers:
        return f"{' and '.join(makers)}, {' and '.join(map(str, natives))} m to {size:g} m"
    return f"{'as measured' if natives == [size] else 'as given'}, {size:g} m"


# === Where ===


def _check_crs(bands: Bands, main: Bands) -> None:
    """Refuse what has no grid in metres, or not the same as the other."""
    box, its = bands[0].odc.geobox, main[0].odc.geobox
    if box is None or box.crs is None or not box.crs.projected:
        message = "A picture needs a grid in metres: x, y, and a spatial_ref with a projected CRS."
        raise UsageError(message)
    if box.crs != its.crs:
        message = f"One dataset is in {_crs(main)}, the other in {_crs(bands)}; warp one first."
        raise UsageError(message)


def _crs(bands: Bands) -> str:
    """Name of the CRS, as short as it has one."""
    crs = bands[0].odc.geobox.crs
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs.proj.name)


def _centres(bands: Bands) -> Places:
    """Rows from north to south and columns from west to east."""
    ys, xs = (np.sort(bands[0][axis].values) for axis in ("y", "x"))
    return ys[::-1], xs


def _whole(bands: Bands) -> Places:
    """Every n-th row and column."""
    ys, xs = _centres(bands)
    step = -(-max(len(ys), len(xs)) // MAP)
    return ys[step // 2 :: step], xs[step // 2 :: step]


def _around(bands: Bands, centre: tuple[float, float], size: int) -> Places:
    """Rows and columns about a place, from a whole 60 m pixel on."""
    picked = []
    for values, middle in zip(_centres(bands), centre, strict=True):
        start = int(np.abs(values - middle).argmin()) - size // 2
        start = max(0, min(start, len(values) - size))
        picked.append(values[start - start % NEST :][:size])
    return picked[0], picked[1]


def _centre(bands: Bands, small: Panel, at: tuple[float, float] | None) -> tuple[float, float]:
    """The place asked for, else the one with data that is next to the middle."""
    box = bands[0].odc.geobox
    if at is not None:
        x, y = point(*at, "EPSG:4326").to_crs(box.crs).coords[0]
        left, bottom, right, top = box.boundingbox
        if not (left <= x <= right and bottom <= y <= top):
            around = ", ".join(f"{v:.4f}" for v in degrees(box).bbox)
            message = (
                f"at={tuple(at)} lies outside; the data cover {around} (west, south, east, north)."
            )
            raise UsageError(message)
        return y, x
    ys, xs = np.meshgrid(*small.places, indexing="ij")
    far = np.hypot(ys - ys.mean(), xs - xs.mean())
    far[~np.isfinite(small.layers).all(axis=0)] = np.inf
    if np.isinf(far).all():
        message = f"No pixel of {small.title} has data in all bands; choose another date or bands."
        raise SceneError(message)
    nearest = np.unravel_index(far.argmin(), far.shape)
    return float(ys[nearest]), float(xs[nearest])


# === Pixels ===


def _read(sides: Sequence[Bands], places: Places) -> list[Floats]:
    """Pixels (band, y, x) of every side at places; all are computed together."""
    lazy = [[_pick(band, places) for band in side] for side in sides]
    (read,) = dask.compute(lazy)
    return [np.stack(layers).astype(np.float32) for layers in read]


def _pick(band: xr.DataArray, places: Places) -> Any:  # noqa: ANN401  (a Dask or NumPy array)
    """The pixel that covers each place, NaN beyond the band."""
    ys, xs = places
    half = 0.51 * abs(band.odc.geobox.resolution.x)
    return band.reindex(y=ys, x=xs, method="nearest", tolerance=half).data
