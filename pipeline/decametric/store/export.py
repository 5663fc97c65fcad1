"""`export`: series as files that every GIS opens, one cloud optimised GeoTIFF a date and band."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import odc.geo.xr  # noqa: F401  (the accessor that gives a dataset its grid)
import xarray as xr
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from decametric.bands import BANDS, listed
from decametric.errors import StoreError, UsageError
from decametric.store.cog import Raster, write_cogs
from decametric.store.layout import DIMS
from decametric.store.levels import FINEST
from decametric.store.packing import PACKED, PACKING, pack, stored_dtype
from decametric.store.series import MARK
from decametric.store.target import locate, read_document

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

_CREDIT = "Contains modified Copernicus Sentinel data."


def export(
    source: str | os.PathLike[str] | xr.Dataset,
    directory: str | os.PathLike[str],
    *,
    bands: Sequence[str] | None = None,
    tile: str | None = None,
    time: str | None = None,
    stacked: bool = False,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Path]:
    """Write dates as cloud optimised GeoTIFFs (COG), which QGIS and all that use GDAL open.

    The integers of the store are copied as they are; scale, offset and the value of no data (0) are
    in each file, so that readers show reflectance. Tiles have 512 pixels, Deflate and predictor 2;
    overviews are averages of the valid pixels, of the classification (SCL) the nearest pixels. The
    work is done in this process, a few blocks in memory at a time; the folder needs room for one
    date without compression beside the result. Several processes may export other dates at the
    same time.

    Parameters
    ----------
    source : path, URL or Dataset
        A store that `write` or `run_series` made, or a dataset as `sharpen` returns it or
        `xarray.open_zarr` opens it. What `sharpen` returns is computed here, each block once.
    directory : path
        Local folder, made if it is not there: ``33UUB_20240728_B11.tif``.
    bands : sequence of str, optional
        Variables to write. Default: all.
    tile : str, optional
        The tile of a store. Default: all.
    time : str, optional
        A date, a month or a period: ``"2024-07-28"``, ``"2024-07"``, ``"2024-06/2024-07-15"``,
        ``"2024-06/"`` for all that follow. Default: all dates.
    stacked : bool
        Write all bands of a date into one file, ``33UUB_20240728.tif``. Classes stay apart, as
        they have another type.
    overwrite : bool
        Write again what is there. Otherwise finished files are kept.
    storage_options : mapping, optional
        Options of the fsspec filesystem of a store.
    progress : callable, optional
        Called with (files finished, files in all) after each file, from any thread.

    Returns
    -------
    list of Path
        All files of the request in the order of tile, date and band, those kept included.

    Raises
    ------
    UsageError
        If a band, a tile or a date is not there, or the dataset is not of that form.
    StoreError
        If the source is no such store, a date is not finished, or a file cannot be written.
    """
    folder = local_folder(directory)
    opened = _datasets(source, tile, storage_options)
    dates = [one for dataset in opened for one in _dates(dataset, bands, time)]
    if not dates:
        message = f"There is no date in {time or 'the source'}; leave out time to export all."
        raise UsageError(message)
    files = [_rasters(date, folder, stacked=stacked) for date in dates]
    total = sum(len(rasters) for rasters in files)
    finished = [0]

    def written() -> None:
        finished[0] += 1
        if progress is not None:
            progress(finished[0], total)

    for rasters in files:
        _write(rasters, folder, written, overwrite=overwrite)
    return [raster.path for rasters in files for raster in rasters]


def local_folder(directory: str | os.PathLike[str]) -> Path:
    """The folder of the files.

    Raises
    ------
    UsageError
        If it cannot be one.
    """
    if "://" in str(directory):
        message = f"{directory} is not a local folder; export to one and copy the files there."
        raise UsageError(message)
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        message = f"{folder} is a file; give a folder."
        raise UsageError(message)
    return folder


def _datasets(
    source: str | os.PathLike[str] | xr.Dataset,
    tile: str | None,
    storage_options: Mapping[str, Any] | None,
) -> list[xr.Dataset]:
    """The series of a source, lazy; those of a store as its integers."""
    if isinstance(source, xr.Dataset):
        return [source]
    target = locate(source, "", storage_options)
    where = target.shown.rstrip("/")
    root = target.open(read_only=True)
    document = None
    with suppress(FileNotFoundError):
        document = read_document(root, "")
    if document is None or document.get("attributes") != MARK:
        message = f"{where} is not a store of decametric; give the path that sharpen wrote."
        raise StoreError(message)
    shown = document["consolidated_metadata"]["metadata"]
    tiles = [name for name in shown if "/" not in name]
    if not tiles or (tile is not None and tile not in tiles):
        message = f"{where} has no tile {tile or 'yet'}; it has {', '.join(tiles) or 'none'}."
        raise UsageError(message)
    return [
        xr.open_zarr(root, group=group, mask_and_scale=False, chunks={})
        for name in (tiles if tile is None else [tile])
        for group in (f"{name}/{FINEST}" if f"{name}/{FINEST}" in shown else name,)
    ]


def _dates(dataset: xr.Dataset, bands: Sequence[str] | None, time: str | None) -> list[xr.Dataset]:
    """The dates of a series that are wanted, with the wanted bands."""
    if "tile" not in dataset.attrs or "time" not in dataset.dims:
        message = "The dataset has no tile or no dimension time; export what sharpen returned."
        raise UsageError(message)
    chosen = _period(_banded(dataset, bands), time)
    missing = set(_unfinished(dataset)) & set(_times(chosen))
    if missing:
        message = (
            f"{dataset.attrs['tile']} of {', '.join(sorted(missing))} is not finished; give the "
            "command that writes the store again, or choose another time."
        )
        raise StoreError(message)
    return [chosen.isel(time=index) for index in range(chosen.sizes["time"])]


def _banded(dataset: xr.Dataset, bands: Sequence[str] | None) -> xr.Dataset:
    """The wanted variables of a dataset."""
    known = [str(name) for name, each in dataset.data_vars.items() if each.dims == DIMS]
    wanted = listed(bands or known)
    unknown = [name for name in wanted if name not in known]
    if unknown or not known:
        there = f"it has {', '.join(known)}" if known else "it has no band over (time, y, x)"
        message = f"{dataset.attrs['tile']} has no {', '.join(unknown) or 'bands'}; {there}."
        raise UsageError(message)
    return dataset[wanted]


def _period(dataset: xr.Dataset, time: str | None) -> xr.Dataset:
    """The dates of a period."""
    if time is None:
        return dataset
    first, period, last = (part.replace("..", "") for part in time.partition("/"))
    try:
        return dataset.sel(time=slice(first or None, (last or None) if period else first))
    except (TypeError, ValueError) as error:
        message = f"time {time!r} is no date or period; write 2024-07-28 or 2024-07/2024-09."
        raise UsageError(message) from error


def _unfinished(dataset: xr.Dataset) -> list[str]:
    """Times of the dates that a store does not have in whole.

    Raises
    ------
    StoreError
        If a run is at work, or was killed: then nobody has told yet.
    """
    attributes = dataset.attrs
    if attributes.get("complete", True):
        return []
    if "unfinished" not in attributes:
        message = (
            f"{attributes['tile']} is being written, or its run was killed; wait, or give the "
            "command that writes the store again."
        )
        raise StoreError(message)
    return list(attributes["unfinished"])


def _times(dataset: xr.Dataset) -> list[str]:
    """Times as manifests have them: ISO, whole seconds, UTC."""
    seconds = dataset["time"].to_numpy().astype("datetime64[s]")
    return [f"{each}Z" for each in seconds.astype(str)]


def _rasters(date: xr.Dataset, folder: Path, *, stacked: bool) -> list[Raster]:
    """The files of one date."""
    time = f"{date['time'].to_numpy().astype('datetime64[s]')}Z"
    stem = f"{date.attrs['tile']}_{time[:10].replace('-', '')}"
    arrays = {str(name): _integers(variable) for name, variable in date.data_vars.items()}
    groups = {f"{stem}_{name}": [name] for name in arrays}
    together = [name for name, array in arrays.items() if array.dtype == PACKED]
    if stacked and together:
        rest = {f"{stem}_{name}": [name] for name in arrays if name not in together}
        groups = {stem: together, **rest}
    facts: dict[str, Any] = {"geobox": date.odc.geobox, "tags": _tags(date, time)}
    return [
        Raster(
            folder / f"{name}.tif",
            {band: arrays[band] for band in members},
            {band: _title(date[band]) for band in members},
            **facts,
        )
        for name, members in groups.items()
    ]


def _integers(variable: xr.DataArray) -> da.Array:
    """A band of one date as it is in a store, or would be."""
    array: da.Array = da.asarray(variable.data)
    name = str(variable.name)
    if array.dtype != PACKED:
        packed: da.Array = da.map_blocks(pack, array, dtype=stored_dtype(array.dtype, name))
        return packed
    found = {key: variable.attrs.get(key) for key in PACKING}
    if found != PACKING:
        message = f"{name} has integers with {found}, not {PACKING}; export what sharpen returned."
        raise UsageError(message)
    return array


def _title(variable: xr.DataArray) -> str:
    """What a band shows."""
    name = str(variable.name)
    return str(variable.attrs.get("long_name") or (BANDS[name].title if name in BANDS else name))


def _tags(date: xr.Dataset, time: str) -> dict[str, str]:
    """What a file says about itself, beside its grid."""
    provenance = date.attrs.get("provenance", {})
    level, tile = date.attrs.get("level", ""), date.attrs["tile"]
    scenes = [s for s in provenance.get("scenes", ()) if s.get("time", "")[:19] == time[:19]]
    return {
        "TIFFTAG_DATETIME": time[:19].replace("-", ":").replace("T", " "),
        "TIFFTAG_SOFTWARE": provenance.get("package", "decametric"),
        "TIFFTAG_IMAGEDESCRIPTION": f"Sentinel-2 {level} at 10 m, tile {tile}, {time}. {_CREDIT}",
        "time": time,
        "tile": tile,
        "level": level,
        "items": " ".join(item for scene in scenes for item in scene["items"]),
    }


def _write(
    rasters: Sequence[Raster], folder: Path, written: Callable[[], None], *, overwrite: bool
) -> None:
    """Write the files of a date that are not there."""
    wanted = [raster for raster in rasters if overwrite or not raster.path.exists()]
    for _ in range(len(rasters) - len(wanted)):
        written()
    if not wanted:
        return
    tags = rasters[0].tags
    # What a killed run left there is written over by the next one.
    scratch = folder / f".{tags['tile']}_{tags['time'][:10]}.partial"
    try:
        write_cogs(wanted, scratch, written)
    except (OSError, RasterioError, CPLE_BaseError) as error:
        message = (
            f"{folder} cannot be written ({error}); mend that and run the same call again, "
            "finished files are kept."
        )
        raise StoreError(message) from error
