"""Any raster as one lazy array (band, y, x), its pixels without data NaN."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from decametric.errors import SceneError, UsageError
from decametric.evaluation.tables import MEAN
from decametric.scenes.items import SCL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".zarr"})
"""What counts as a raster in a folder, in lower case."""

ZARR = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files by which a folder is a Zarr store or a group of one (version 3, version 2)."""

STRIPS = {"band": 1, "y": 512, "x": -1}
"""Chunks of files: whole rows, for most formats cannot skip a part of one."""

SAME_PIXEL = 1e-3
"""Corners that differ by less, in pixels, are the same: programs round transforms differently."""


def open_raster(path: str | Path) -> xr.DataArray:
    """Open a raster file or a Zarr group, lazily.

    Parameters
    ----------
    path : str or Path
        GeoTIFF, PNG, JPEG or what else GDAL reads, or a folder that is a group of a Zarr store.

    Returns
    -------
    xarray.DataArray
        (band, y, x), for Zarr of several dates (band, time, y, x), named bands; scale and offset
        are applied. Attributes: ``stored``, the data type on disk, or of the values where they are
        packed; ``named``, whether the bands have names of their own, and ``by_name``, whether they
        are variables, which have no order. Where the file has a nodata value, an alpha band or a
        mask, the array is float and NaN where there is no data; an alpha band is no band.

    Raises
    ------
    SceneError
        If there is nothing that can be read, or the numbers stand for colours of a palette.
    """
    path = Path(path)
    if not path.exists():
        message = f"There is no file or folder {str(path)!r}."
        raise SceneError(message)
    return _open_zarr(path) if is_zarr(path) else _open_file(path)


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, or a group of one."""
    return path.is_dir() and any((path / name).is_file() for name in ZARR)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder of rasters."""
    return path.is_dir() and not is_zarr(path)


def rasters_of(folder: Path) -> Iterator[Path]:
    """The rasters in a folder, by name."""
    return (
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def check_same_grid(reference: xr.DataArray, test: xr.DataArray, name: str) -> None:
    """Refuse rasters whose pixels do not lie on each other.

    Raises
    ------
    UsageError
        If shape, number of bands, dates, CRS or transform differ, or the names of bands that have
        no order. Where one of them has no CRS, as pictures have none, only the shapes are
        compared.
    """
    if "band" in reference.dims:
        _check_bands(reference, test, name)
    for dim, what in (("band", "bands"), ("y", "rows"), ("x", "columns"), ("time", "dates")):
        mine, its = (array.sizes.get(dim, 1) for array in (reference, test))
        if mine != its:
            message = f"{name} has {its} {what} and the reference {mine}; bring both to one grid."
            raise UsageError(message)
    if "time" in reference.indexes and "time" in test.indexes:
        _check_dates(reference, test, name)
    if reference.rio.crs is None or test.rio.crs is None:
        return
    if reference.rio.crs != test.rio.crs:
        message = (
            f"{name} is in {test.rio.crs} and the reference in {reference.rio.crs}; warp one of "
            "them first."
        )
        raise UsageError(message)
    mine, its = (_corners(array) for array in (reference, test))
    step = math.hypot(reference.rio.transform().a, reference.rio.transform().d)
    if (apart := float(np.abs(mine - its).max()) / step) > SAME_PIXEL:
        message = (
            f"{name} lies up to {apart:.3g} pixels beside the reference; cut or warp one of them "
            "to the grid of the other."
        )
        raise UsageError(message)


def in_order_of(reference: xr.DataArray, test: xr.DataArray) -> xr.DataArray:
    """The test with its bands in the order of the reference, where both have the same names."""
    if not (reference.attrs["named"] and test.attrs["named"]):
        return test
    names = list(reference["band"].values)
    return test.sel(band=names) if set(names) == set(test["band"].values) else test


def _check_bands(reference: xr.DataArray, test: xr.DataArray, name: str) -> None:
    """Refuse several bands without an order, unless they have the same names."""
    sorts = [array.attrs["by_name"] for array in (reference, test)]
    mine, its = set(reference["band"].values), set(test["band"].values)
    if not any(sorts) or mine == its or (not all(sorts) and len(mine) == len(its) == 1):
        return
    alone = ", ".join(sorted(mine ^ its))
    way = "" if all(sorts) else "; those of Zarr have no order: name the bands of the file alike"
    message = f"Bands that only one of {name} and the reference has: {alone}{way}."
    raise UsageError(message)


def _check_dates(reference: xr.DataArray, test: xr.DataArray, name: str) -> None:
    """Refuse series of different days."""
    mine, its = (array["time"].to_numpy().astype("datetime64[D]") for array in (reference, test))
    if (mine != its).any():
        at = int((mine != its).argmax())
        message = (
            f"{name} has the date {its[at]} where the reference has {mine[at]}; cut both alike."
        )
        raise UsageError(message)


def _corners(array: xr.DataArray) -> Any:  # noqa: ANN401  (float64 array of four corners)
    """Upper left and lower right corner, and the other two."""
    transform, (rows, cols) = array.rio.transform(), array.shape[-2:]
    return np.array([transform @ corner for corner in ((0, 0), (cols, 0), (0, rows), (cols, rows))])


def _open_file(path: Path) -> xr.DataArray:
    """A file that GDAL reads."""
    import rasterio
    import rioxarray

    try:
        with rasterio.open(path) as source:
            stored, kinds = source.dtypes[0], source.colorinterp
            descriptions, flags = source.descriptions, source.mask_flag_enums
            scales, offsets = source.scales, source.offsets
        gaps = any(flag != [rasterio.enums.MaskFlags.all_valid] for flag in flags)
        array: Any = rioxarray.open_rasterio(path, chunks=STRIPS, masked=gaps)
    except rasterio.errors.RasterioIOError as error:
        message = f"{path} cannot be read as a raster: {str(error).rstrip('.')}."
        raise SceneError(message) from error
    if not isinstance(array, xr.DataArray):
        message = f"{path} holds several images; save the one to compare as a file of its own."
        raise SceneError(message)
    if rasterio.enums.ColorInterp.palette in kinds:
        message = f"{path} holds numbers of a palette, not colours; save it as RGB first."
        raise SceneError(message)
    alpha = [n for n, kind in enumerate(kinds) if kind == rasterio.enums.ColorInterp.alpha]
    bands = [n for n in range(len(kinds)) if n not in alpha]
    names, named = _names([descriptions[n] for n in bands])
    image: xr.DataArray = array.isel(band=bands).assign_coords(band=names)
    if alpha:
        # GDAL calls it a mask in some files only: of one band or three, of eight bits or sixteen.
        image = image.where(array.isel(band=alpha[0], drop=True) > 0)
    packing = {(scales[n], offsets[n]) for n in bands}
    if packing != {(1.0, 0.0)}:
        factors, terms = (
            xr.DataArray([v[n] for n in bands], dims="band") for v in (scales, offsets)
        )
        image, stored = image * factors + terms, "float64"
    image.attrs = {"by_name": False, "named": named, "stored": stored}
    return image.rio.write_crs(array.rio.crs) if array.rio.crs is not None else image


def _names(descriptions: Sequence[str | None]) -> tuple[list[str], bool]:
    """Names of the bands of a file, and whether they have all of them names of their own."""
    named = [name for name in descriptions if name and name != MEAN]
    if len(set(named)) == len(descriptions):
        return named, True
    return [f"{n}" for n in range(1, len(descriptions) + 1)], False


def _open_zarr(path: Path) -> xr.DataArray:
    """The bands of a Zarr group."""
    import rioxarray  # noqa: F401  (gives arrays `rio`)

    dataset = xr.open_zarr(path, consolidated=False)
    # By name: a store lists its variables in no order.
    bands = sorted(
        str(name)
        for name, value in dataset.data_vars.items()
        if {"y", "x"} <= set(value.dims) and value.dtype.kind in "uif" and name != SCL
    )
    if not bands:
        groups = sorted(part.name for part in path.iterdir() if is_zarr(part))
        way = f"; give a group of it: {', '.join(groups)}" if groups else ""
        message = f"{path} holds no variable over y and x{way}."
        raise SceneError(message)
    array = dataset[bands].to_dataarray("band")
    if array.sizes.get("time") == 1:
        array = array.isel(time=0, drop=True)
    kinds = {_stored(dataset[name]) for name in bands}
    array.attrs = {
        "by_name": True,
        "named": True,
        "stored": kinds.pop() if len(kinds) == 1 else str(array.dtype),
    }
    ordered: xr.DataArray = array.transpose("band", ..., "y", "x")
    return ordered


def _stored(variable: xr.DataArray) -> str:
    """Type of a variable on the disk, or that of its values where numbers are packed."""
    encoding = variable.encoding
    packed = {"scale_factor", "add_offset"} & set(encoding)
    return str(variable.dtype if packed else encoding.get("dtype", variable.dtype))
