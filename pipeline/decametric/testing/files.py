"""Synthetic scenes as files: COGs on the native grids, STAC items around them, and the truth."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.bands import BANDS, SHARPENED
from decametric.degradation import Degradation
from decametric.grid import nested
from decametric.testing.land import BAND_ORDER, Land
from decametric.testing.lazy import EPSG, ORIGIN, TILE, classify, coarse_grid, times

if TYPE_CHECKING:
    from collections.abc import Callable

    import pystac
    import xarray as xr
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

NOISE_DN = {10: 6.0, 20: 5.0, 60: 4.0}
"""Standard deviation of the sensor noise in digital numbers at each resolution."""

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
]


def synthetic_scene(
    folder: str | Path,
    *,
    size: int = 1800,
    dates: int = 2,
    level: str = "L2A",
    seed: int = 0,
    offset: int = -1000,
    epsg: int = EPSG,
    origin: tuple[int, int] = ORIGIN,
    tile: str = TILE,
) -> Path:
    """Write a scene as a provider would, and the truth beside it.

    The scene is made at 5 m from mixtures of eight materials, averaged to 10 m (the truth), and
    from there degraded to 20 m and 60 m by the forward model of the package. Noise is added, and
    the numbers are stored as baseline 05.10 stores them: DN = reflectance * 10000 - offset,
    0 = no data. The last of several dates lacks a wedge at the edge of the swath.

    Parameters
    ----------
    folder : path
        Made if it is not there. Gets ``catalog.json``, a folder per item, and ``truth``.
    size : int
        Edge of the square scene in 10 m pixels, a multiple of 6.
    dates : int
        Number of dates, spring and summer in turn.
    level : {"L2A", "L1C"}
        L2A items carry the scene classification.
    seed : int
        Another seed is another country.
    offset : int
        Radiometric offset of the files: -1000 as since baseline 04.00, or 0 as before.
    epsg, origin, tile : int, (x, y) in metres, str
        UTM zone, upper-left corner of the 60 m grid, and MGRS name of the tile.

    Returns
    -------
    pathlib.Path
        The static catalog of the items, ``folder/catalog.json``.
    """
    import pystac

    folder = Path(folder)
    catalog = pystac.Catalog("synthetic", "A made-up Sentinel-2 scene of a made-up country.")
    catalog.set_self_href(str(folder / "catalog.json"))
    coarse = coarse_grid(size, origin, epsg)
    for date, time in enumerate(times(dates)):
        fine = _fine(Land(seed, coast=0.83 * size), size, date)
        item = _item(coarse, time.item().replace(tzinfo=UTC), level, tile, offset)
        catalog.add_item(item)
        swath = _swath(size, cut=date > 0 and date == dates - 1)
        _write_item(folder / item.id, item, coarse, fine, swath, offset=offset, seed=(seed, date))
        for band in SHARPENED:
            dn = _pack(fine[BAND_ORDER.index(band)], -1000)
            _cog(folder / "truth" / item.id / f"{band}.tif", dn, nested(coarse)[10])
        item.set_self_href(str(folder / item.id / f"{item.id}.json"))
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


def synthetic_truth(catalog: str | Path) -> xr.Dataset:
    """Read what the sharpened bands should be.

    Parameters
    ----------
    catalog : path
        What `synthetic_scene` returned.

    Returns
    -------
    xarray.Dataset
        The bands of 20 m and 60 m at 10 m over (time, y, x): float32 reflectance without noise
        and without gaps, in memory.
    """
    import pystac
    import rasterio
    import xarray as xr
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    catalog = Path(catalog)
    items = sorted(pystac.Catalog.from_file(str(catalog)).get_items(), key=lambda item: item.id)
    layers: dict[str, list[NDArray[np.float32]]] = {band: [] for band in SHARPENED}
    for item in items:
        for band, dates in layers.items():
            with rasterio.open(catalog.parent / "truth" / item.id / f"{band}.tif") as file:
                dates.append((file.read(1).astype(np.float32) - 1000) / 10000)
                box = GeoBox(file.shape, file.transform, str(file.crs))
    stamps = np.array([item.properties["datetime"].rstrip("Z") for item in items])
    coords = {"time": stamps.astype("datetime64[ns]"), **xr_coords(box)}
    return xr.Dataset(
        {band: (("time", "y", "x"), np.stack(dates)) for band, dates in layers.items()}, coords
    )


def _fine(land: Land, size: int, date: int) -> NDArray[np.float32]:
    """All bands at 10 m, (band, y, x), made in strips by the threads of Dask."""
    import dask

    strips = [(row, min(row + 240, size)) for row in range(0, size, 240)]
    made = dask.compute(
        *(dask.delayed(land.reflectance)(strip, (0, size), date=date) for strip in strips),
        scheduler="threads",
    )
    return np.concatenate(made, axis=1)


def _swath(size: int, *, cut: bool) -> Callable[[int], NDArray[np.bool_]]:
    """Which pixels of each resolution lie inside the swath: all, or all but a wedge in the west."""

    def inside(resolution: int) -> NDArray[np.bool_]:
        centre = (np.arange(size * 10 // resolution) + 0.5) * resolution / 10
        edge = 0.22 * size - 0.27 * centre[:, None] if cut else np.full((centre.size, 1), -1.0)
        return centre[None, :] > edge

    return inside


def _pack(reflectance: NDArray[np.float32], offset: int) -> NDArray[np.uint16]:
    """Digital numbers of a baseline with that offset; 0 is left for no data."""
    dn = np.rint(reflectance * 10000) - offset
    packed: NDArray[np.uint16] = np.clip(dn, 1, 65535).astype(np.uint16)
    return packed


def _write_item(
    folder: Path,
    item: pystac.Item,
    coarse: GeoBox,
    fine: NDArray[np.float32],
    swath: Callable[[int], NDArray[np.bool_]],
    *,
    offset: int,
    seed: tuple[int, int],
) -> None:
    """Write every band of one date, and add its asset to the item."""
    level = item.properties["s2:product_type"]
    for resolution, box in nested(coarse).items():
        ratio, inside = resolution // 10, swath(resolution)
        degrade = Degradation(ratio).forward if ratio > 1 else np.copy
        for band in (name for name in BAND_ORDER if BANDS[name].resolution == resolution):
            index = BAND_ORDER.index(band)
            noise = np.random.default_rng((*seed, index)).standard_normal(box.shape, np.float32)
            clean = degrade(fine[index])
            dn = _pack(clean + noise * np.float32(NOISE_DN[resolution] / 10000), offset)
            _cog(folder / f"{band}.tif", np.where(inside, dn, 0).astype(np.uint16), box)
            item.add_asset(BANDS[band].key, _band_asset(band, box, offset))
        if resolution == 20 and level == "S2MSI2A":  # noqa: PLR2004
            red, nir = (degrade(fine[BAND_ORDER.index(band)]) for band in ("B04", "B08"))
            _cog(folder / "SCL.tif", np.where(inside, classify(red, nir), 0).astype(np.uint8), box)
            item.add_asset("scl", _asset("SCL", box, "uint8"))


def _cog(path: Path, array: NDArray[np.generic], box: GeoBox) -> None:
    """Write one cloud-optimised GeoTIFF with 0 as no data."""
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "COG", "count": 1, "dtype": str(array.dtype), "nodata": 0}
    profile |= {"height": array.shape[0], "width": array.shape[1], "blocksize": 512}
    profile |= {"compress": "DEFLATE", "predictor": "YES", "level": 1, "overviews": "NONE"}
    with rasterio.open(path, "w", crs=str(box.crs), transform=box.affine, **profile) as file:
        file.write(array, 1)


def _item(coarse: GeoBox, time: datetime, level: str, tile: str, offset: int) -> pystac.Item:
    """An item in the dialect of Earth Search, still without assets."""
    import pystac

    outline = coarse.boundingbox.polygon.to_crs("EPSG:4326", resolution=math.inf)
    day, second = f"{time:%Y%m%d}", f"{time:%Y%m%dT%H%M%S}"
    baseline = "05.10" if offset else "02.14"
    code = "N" + baseline.replace(".", "")
    return pystac.Item(
        id=f"S2B_{tile}_{day}_0_{level}",
        geometry=outline.json,
        bbox=list(outline.boundingbox.bbox),
        datetime=time,
        stac_extensions=_EXTENSIONS,
        properties={
            "platform": "sentinel-2b",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": 10,
            "eo:cloud_cover": 0.0,
            "proj:code": str(coarse.crs),
            "grid:code": f"MGRS-{tile}",
            "s2:product_type": f"S2MSI{level[1:]}",
            "s2:processing_baseline": baseline,
            "s2:product_uri": f"S2B_MSI{level}_{second}_{code}_R065_T{tile}_{second}.SAFE",
        },
    )


def _band_asset(band: str, box: GeoBox, offset: int) -> pystac.Asset:
    """Asset of one band, with the radiometry that the file has."""
    asset = _asset(band, box, "uint16")
    fields = asset.extra_fields
    fields["eo:bands"] = [{"name": band, "description": BANDS[band].title}]
    fields["raster:bands"][0] |= {"scale": 0.0001, "offset": offset / 10000}
    return asset


def _asset(name: str, box: GeoBox, dtype: str) -> pystac.Asset:
    """Asset of one file with the place of its pixels."""
    import pystac

    resolution = round(box.resolution.x)
    fields: dict[str, Any] = {
        "gsd": resolution,
        "proj:shape": list(box.shape),
        "proj:transform": list(box.affine)[:6],
        "raster:bands": [{"nodata": 0, "data_type": dtype, "spatial_resolution": resolution}],
    }
    return pystac.Asset(
        f"./{name}.tif", media_type=pystac.MediaType.COG, roles=["data"], extra_fields=fields
    )
