"""Scenes, presets and recipes for the tests: small, of any shape, random, with gaps if wanted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from decametric.bands import BANDS, NETWORK_BANDS
from decametric.degradation import degrade_image
from decametric.grid import nested

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

ORIGIN = (300000, 6200040)
RES = {name: band.resolution for name, band in BANDS.items()} | {"SCL": 20}

LONG = "read_by_a_function_whose_name_and_those_of_all_that_follow_it_are_longer_than_a_key_may_be"


def images_with_long_names(count: int) -> Iterator[xr.DataArray]:
    """Images of one chunk, each full of its own number, made coarser.

    If all that tells 1000 keys apart is four digits of a hash, some are equal, as good as surely.
    """
    make = dask.delayed(np.full, pure=False)
    for number in range(count):
        source = make((4, 4), float(number), dask_key_name=f"{LONG}-{number}")
        lazy = da.from_delayed(source, (4, 4), "f8")
        yield degrade_image(xr.DataArray(lazy, dims=("y", "x")), 2)


def random_bands(
    rows: int, cols: int, *, dates: int = 1, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Reflectance (time, y, x) of all network bands; `rows` and `cols` count 10 m pixels."""
    rng = np.random.default_rng(seed)
    return {
        band: (rng.random((dates, rows * 10 // res, cols * 10 // res)) * 0.5).astype("float32")
        for res, bands in NETWORK_BANDS.items()
        for band in bands
    }


def with_gaps(
    bands: dict[str, NDArray[np.float32]], *, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """The same bands with a wedge without data in all, and odd pixels in each."""
    rng = np.random.default_rng(seed)
    result = {}
    for band, values in bands.items():
        step = RES[band] // 10
        rows, cols = (step * index for index in np.indices(values.shape[1:]))
        wedge = rows + 2 * cols < 0.4 * values.shape[1] * step
        result[band] = np.where(
            wedge | (rng.random(values.shape) < 0.01), np.float32("nan"), values
        )
    return result


def scene_of(
    bands: dict[str, object],
    chunk: int,
    *,
    level: str = "L1C",
    origin: tuple[float, float] = ORIGIN,
) -> xr.DataTree:
    """A scene as `load` returns it, of arrays (time, y, x); Dask arrays are taken as they are."""
    some = next(iter(bands))
    dates, rows, cols = bands[some].shape
    rows, cols = (size * RES[some] // 60 for size in (rows, cols))
    boxes = nested(GeoBox((rows, cols), Affine(60, 0, origin[0], 0, -60, origin[1]), "EPSG:32633"))
    days = np.array(["2020-01-01", "2020-01-06", "2020-01-11"][:dates], "datetime64[ns]")
    children = {}
    for res, box in boxes.items():
        edges = (1, chunk * 10 // res, chunk * 10 // res)
        data = {
            band: (
                ("time", "y", "x"),
                values if isinstance(values, da.Array) else da.from_array(values, chunks=edges),
            )
            for band, values in bands.items()
            if RES[band] == res
        }
        children[f"r{res}m"] = xr.Dataset(data, {"time": days, **xr_coords(box)})
    attrs = {"level": level, "tile": "33UUB", "provenance": {"scenes": []}}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **children})


def save_preset(folder: Path, *, blocks: int = 2, features: int = 16, level: str = "L1C") -> Path:
    """A preset of two DSen2 networks with random weights, which change the bands moderately."""
    import keras

    from decametric.superres import networks
    from decametric.superres.presets import BANDS_OF_RATIO, save_bundle

    for ratio, bands in BANDS_OF_RATIO.items():
        keras.utils.set_random_seed(ratio)
        model = networks.dsen2(*bands, blocks=blocks, features=features)
        tail = model.get_layer("tail")
        tail.set_weights([0.02 * weight for weight in tail.get_weights()])
        save_bundle(model, folder / f"{ratio}x", name="random", ratio=ratio, level=level)
    return folder


def untouchable(shape: tuple[int, ...], edge: int) -> da.Array:
    """A lazy array that no test may compute."""
    return da.map_blocks(
        _touched,
        chunks=((1,) * shape[0], *(_edges(size, edge) for size in shape[1:])),
        dtype="float32",
        meta=np.empty((0, 0, 0), "float32"),
    )


def _edges(size: int, edge: int) -> tuple[int, ...]:
    return (edge,) * (size // edge) + ((size % edge,) if size % edge else ())


def _touched() -> NDArray[np.float32]:
    message = "this band must not be read"
    raise AssertionError(message)


def tiny_recipe(**settings: object) -> str:
    """TOML of a training that takes seconds; `settings` go before its own."""
    run = {"ratio": 2, "level": "L1C", "network": "fast", "blocks": 1, "features": 4, "batch": 8}
    tables = "sampling = {size = 24, count = 8}\nchoosing = {size = 24, count = 4}\n"
    return "".join(f"{k} = {json.dumps(v)}\n" for k, v in (run | settings).items()) + tables
