"""Datasets as `sharpen` returns them, whose pixels tell where they are."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Hook = Callable[[str, int, int, int], None]

TILE = "33UUB"
BANDS = ("B02", "B05", "SCL")
TIMES = ("2017-05-27T10:20:31Z", "2017-06-01T10:20:31Z", "2017-06-06T10:20:29Z")
GEOBOX = GeoBox.from_bbox((300000, 6198600, 301200, 6199800), "EPSG:32633", resolution=10)


def scene(time: str, offset: int = -1000) -> dict[str, Any]:
    """A provenance record."""
    items = [f"S2B_33UUB_{time[:10].replace('-', '')}_0_L1C"]
    return {"time": time, "items": items, "offset": [offset], "rule": ["stated"]}


def numbers(time: str, band: str, shape: tuple[int, int] = (120, 120)) -> NDArray[np.uint16]:
    """Integers that the store must hold: place, band and date encoded, a wedge without data."""
    rows, cols = np.indices(shape)
    day = int(np.datetime64(time[:10]).astype(int))
    values = (rows * 211 + cols * 37 + sum(band.encode()) * 5003 + day * 977) % 65535 + 1
    values[rows + cols < 40] = 0
    return (values % 12 if band == "SCL" else values).astype(
        np.uint8 if band == "SCL" else np.uint16
    )


def reflectance(packed: NDArray[np.uint16]) -> NDArray[np.float32]:
    """What stored integers mean."""
    values = ((packed.astype(np.float64) - 1000) / 10000).astype(np.float32)
    return np.where(packed == 0, np.float32("nan"), values)


def _source(
    *,
    block_id: tuple[int, int, int],
    times: tuple[str, ...],
    band: str,
    shape: tuple[int, int],
    edge: int,
    hook: Hook | None,
) -> NDArray[Any]:
    time, row, col = block_id
    if hook:
        hook(band, time, row, col)
    whole = numbers(times[time], band, shape)
    part = whole[row * edge : (row + 1) * edge, col * edge : (col + 1) * edge][None]
    return part if band == "SCL" else reflectance(part)


def dataset(
    times: tuple[str, ...] = TIMES[:1],
    *,
    bands: tuple[str, ...] = BANDS,
    chunk: int = 60,
    geobox: GeoBox = GEOBOX,
    predictor: str = "bicubic",
    offset: int = -1000,
    hook: Hook | None = None,
) -> xr.Dataset:
    """A lazy dataset; `hook(band, date, row, column)` runs where a source block is computed."""
    variables = {}
    for band in bands:
        dtype = np.uint8 if band == "SCL" else np.float32
        array = da.map_blocks(
            _source,
            dtype=dtype,
            meta=np.empty((0, 0, 0), dtype),
            chunks=((1,) * len(times), *da.core.normalize_chunks(chunk, geobox.shape)),
            times=times,
            band=band,
            shape=geobox.shape,
            edge=chunk,
            hook=hook,
        )
        variables[band] = (("time", "y", "x"), array)
    provenance = {
        "package": "decametric 0.1.0",
        "level": "L1C",
        "tile": TILE,
        "scenes": [scene(time, offset) for time in times],
        "predictor": {"name": predictor, "sha256": None},
        "parameters": {"window": 1098, "bands": ("B05",)},
    }
    stamps = np.array([time.removesuffix("Z") for time in times], "datetime64[ns]")
    attrs = {"level": "L1C", "tile": TILE, "provenance": provenance}
    return xr.Dataset(variables, {"time": stamps, **xr_coords(geobox)}, attrs)


def big_dataset() -> xr.Dataset:
    """Four blocks of two bands, 1 MB in all: more than a tiny disk can hold."""
    box = GeoBox.from_bbox((300000, 6194800, 305000, 6199800), "EPSG:32633", resolution=10)
    return dataset(geobox=box, chunk=252, bands=("B02", "B05"))


def tree(folder: Path) -> dict[str, str]:
    """Every path below a folder with the digest of its content: equal trees are byte-identical."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }
