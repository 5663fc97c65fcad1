"""Scenes of any size without files, block by block, for benchmarks and tests of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from decametric.bands import BANDS, NETWORK_BANDS, group
from decametric.degradation import Degradation
from decametric.grid import NEST, check_chunk, nested
from decametric.testing.land import BAND_ORDER, Land

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

EPSG = 32633
ORIGIN = (300000, 6200040)
"""Upper-left corner of tile 33UUB in metres."""
TILE = "33UUB"


def lazy_scene(
    size: int = 1098,
    *,
    dates: int = 1,
    level: str = "L2A",
    chunk: int = 1098,
    seed: int = 0,
    oversampling: int = 1,
) -> xr.DataTree:
    """Make a scene that exists only while it is computed.

    Every pixel depends on its absolute place alone, so that the numbers are the same for every
    chunking, and a block costs no more memory in a large scene than in a small one.

    Parameters
    ----------
    size : int
        Edge in 10 m pixels, a multiple of 6; 10980 is a whole tile.
    dates : int
        Number of dates, spring and summer in turn.
    level : {"L2A", "L1C"}
        L2A scenes carry the scene classification ``SCL``.
    chunk : int
        Edge of the blocks in 10 m pixels, a multiple of 6.
    seed : int
        Another seed is another country.
    oversampling : int
        See `decametric.testing.land.Land`.

    Returns
    -------
    xarray.DataTree
        A scene as `decametric.load` returns it: float32 reflectance without gaps.
    """
    check_chunk(chunk)
    land = Land(seed, coast=0.83 * size, oversampling=oversampling)
    children = {
        group(resolution): _child(land, box, resolution, dates, chunk, level)
        for resolution, box in nested(coarse_grid(size)).items()
    }
    scenes = [
        {"time": str(time) + "Z", "items": [f"lazy-{n}"], "offset": [0], "rule": ["synthetic"]}
        for n, time in enumerate(times(dates))
    ]
    attrs = {"level": level, "tile": TILE, "provenance": {"scenes": scenes}}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **children})


def coarse_grid(size: int, origin: tuple[float, float] = ORIGIN, epsg: int = EPSG) -> GeoBox:
    """The 60 m grid of a synthetic scene of `size` pixels of 10 m."""
    edge = check_chunk(size) // NEST
    return GeoBox((edge, edge), Affine(60, 0, origin[0], 0, -60, origin[1]), f"EPSG:{epsg}")


def times(dates: int) -> NDArray[np.datetime64]:
    """Times of the synthetic dates: one in spring, one in summer, and so on."""
    first = np.datetime64("2024-05-14T10:20:31", "s")
    days = [365 * (n // 2) + 75 * (n % 2) for n in range(dates)]
    return first + np.array(days, "timedelta64[D]").astype("timedelta64[s]")


def native(
    land: Land,
    rows: tuple[int, int],
    cols: tuple[int, int],
    *,
    resolution: int,
    date: int,
    bands: tuple[str, ...],
) -> NDArray[np.float32]:
    """Reflectance as a sensor of `resolution` metres records a block given in its own pixels."""
    ratio = resolution // 10
    halo = NEST if ratio > 1 else 0  # the blur of the forward model reaches two fine pixels
    span = [(start * ratio - halo, stop * ratio + halo) for start, stop in (rows, cols)]
    fine = land.reflectance(span[0], span[1], bands=bands, date=date)
    if ratio == 1:
        return fine
    coarse = Degradation(ratio).forward(fine)
    cut = halo // ratio
    return coarse[:, cut:-cut, cut:-cut]


def classify(red: NDArray[np.float32], nir: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scene classification of a cloudless land: 4 vegetation, 5 bare or built up, 6 water."""
    ndvi = (nir - red) / (nir + red)
    green = np.where(ndvi > 0.4, 4, 5)  # noqa: PLR2004
    return np.where(nir < 0.05, 6, green).astype(np.uint8)  # noqa: PLR2004


def _child(
    land: Land, box: GeoBox, resolution: int, dates: int, chunk: int, level: str
) -> xr.Dataset:
    """One resolution of the scene."""
    bands = tuple(name for name in NETWORK_BANDS[resolution] if name in BAND_ORDER)
    edge = chunk * 10 // resolution
    cube = _lazy(_block, land, box, dates, edge, resolution=resolution, bands=bands)
    axes = ("time", "y", "x")
    data: dict[str, Any] = {
        name: (axes, cube[:, i], {"long_name": BANDS[name].title, "units": "1"})
        for i, name in enumerate(bands)
    }
    if level == "L2A" and resolution == 20:  # noqa: PLR2004
        data["SCL"] = (axes, _lazy(_classes, land, box, dates, edge, bands=("SCL",))[:, 0])
    coords = {"time": times(dates).astype("datetime64[ns]"), **xr_coords(box)}
    return xr.Dataset(data, coords=coords)


def _lazy(
    function: Any,  # noqa: ANN401  (a block function of dask, whose type dask does not state)
    land: Land,
    box: GeoBox,
    dates: int,
    edge: int,
    **options: Any,  # noqa: ANN401
) -> da.Array:
    """Array (time, band, y, x) of blocks that `function` makes from their place."""
    spatial = [(edge,) * (n // edge) + ((n % edge,) if n % edge else ()) for n in box.shape]
    chunks = ((1,) * dates, (len(options["bands"]),), *spatial)
    dtype = np.uint8 if function is _classes else np.float32
    made: da.Array = da.map_blocks(
        function, chunks=chunks, dtype=dtype, meta=np.empty((0,) * 4, dtype), land=land, **options
    )
    return made


def _block(
    *, land: Land, resolution: int, bands: tuple[str, ...], block_info: Mapping[Any, Any]
) -> NDArray[np.float32]:
    """One block (1, band, y, x) of reflectance."""
    (date, _), _, rows, cols = block_info[None]["array-location"]
    return native(land, rows, cols, resolution=resolution, date=date, bands=bands)[None]


def _classes(
    *, land: Land, bands: tuple[str, ...], block_info: Mapping[Any, Any]
) -> NDArray[np.uint8]:
    """One block (1, 1, y, x) of the scene classification."""
    del bands  # there is one layer only
    (date, _), _, rows, cols = block_info[None]["array-location"]
    red, nir = native(land, rows, cols, resolution=20, date=date, bands=("B04", "B08"))
    return classify(red, nir)[None, None]
