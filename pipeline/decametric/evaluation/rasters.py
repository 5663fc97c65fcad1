"""Any raster as one lazy array (band, y, x), its pixels without data NaN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from decametric.errors import SceneError, UsageError
from decametric.scenes.items import SCL

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        (band, y, x), for Zarr with a time also (band, time, y, x), named bands. Attributes:
        ``stored``, the data type on disk, and ``by_name``, whether the bands are variables, which
        have a name and no order. Where the file has a nodata value, an alpha band
        or a mask, the array is float and NaN where there is no data; an alpha band is no band.

    Raises
    ------
    SceneError
        If there is nothing that can be read.
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
        If shape, number of bands, CRS or transform differ, or the names of the bands where both
        have names. Where one of them has no CRS, as pictures have none, only the shapes are
        compared.
    """
    if reference.attrs["by_name"] and test.attrs["by_name"]:
        _check_names(set(reference["band"].values), set(test["band"].values), name)
    for dim, what in (("band", "bands"), ("y", "rows"), ("x", "columns"), ("time", "dates")):
        mine, its = (array.sizes.get(dim, 1) for array in (reference, test))
        if mine != its:
            message = f"{name} has {its} {what} and the reference {mine}; bring both to one grid."
            raise UsageError(message)
    if reference.rio.crs is None or test.rio.crs is None:
        return
    if reference.rio.crs != test.rio.crs:
        message = (
            f"{name} is in {test.rio.crs} and the reference in {reference.rio.crs}; warp one of "
            "them first."
        )
        raise UsageError(message)
    mine, its = (_corners(array) for array in (reference, test))
    step = abs(reference.rio.transform().a)
    if (apart := float(np.abs(mine - its).max()) / step) > SAME_PIXEL:
        message = (
            f"{name} lies up to {apart:.3g} pixels beside the reference; cut or warp one of them "
            "to the grid of the other."
        )
        raise UsageError(message)


def _check_names(mine: set[str], its: set[str], name: str) -> None:
    """Refuse groups that hold different variables."""
    if alone := sorted(mine ^ its):
        message = f"Bands that only one of {name} and the reference has: {', '.join(alone)}."
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
            names = [name or f"{n}" for n, name in enumerate(source.descriptions, 1)]
            flags = source.mask_flag_enums
        gaps = any(flag != [rasterio.enums.MaskFlags.all_valid] for flag in flags)
        array: Any = rioxarray.open_rasterio(path, chunks=STRIPS, masked=gaps)
    except rasterio.errors.RasterioIOError as error:
        message = f"{path} cannot be read as a raster: {str(error).rstrip('.')}."
        raise SceneError(message) from error
    bands = [n for n, kind in enumerate(kinds) if kind != rasterio.enums.ColorInterp.alpha]
    named: xr.DataArray = array.isel(band=bands).assign_coords(band=[names[n] for n in bands])
    named.attrs = {"by_name": False, "stored": stored}
    return named


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
    array.attrs = {
        "by_name": True,
        "stored": str(dataset[bands[0]].encoding.get("dtype", array.dtype)),
    }
    ordered: xr.DataArray = array.transpose("band", ..., "y", "x")
    return ordered
