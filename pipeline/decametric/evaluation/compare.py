"""`compare`: any two rasters, or two folders of them, by any of the metrics."""

from __future__ import annotations

import math
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from decametric import __version__
from decametric.errors import UsageError
from decametric.evaluation.rasters import (
    check_same_grid,
    in_order_of,
    is_folder,
    open_raster,
    rasters_of,
)
from decametric.evaluation.report import text
from decametric.evaluation.tables import MEAN
from decametric.metrics import DEFAULT, REGISTRY, SPECTRAL, scores
from decametric.metrics.pairs import SPATIAL, data_range_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OF_DATA = "data"
"""Unit of scores that are values of the rasters themselves."""


def compare(
    reference: str | Path,
    test: str | Path,
    metrics: Iterable[str] = (),
    *,
    data_range: float | str | None = None,
    ratio: float | None = None,
    mask: str | Path | None = None,
) -> xr.Dataset:
    """Compare two rasters on the same grid, band by band.

    Parameters
    ----------
    reference, test : path
        The truth and the image to judge: GeoTIFF, PNG, JPEG or groups of a Zarr store. What is
        compared is what they mean: scale and offset are applied, pixels without data are left out.
        Bands are paired by name where both have the same names, else in their order.
    metrics : iterable of str
        Names of `decametric.metrics.scores`; by default its own default, without what makes no
        sense for one band or without a ratio.
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values; it is 255 where both rasters are stored as plain uint8, and
        required otherwise by the metrics that need it.
    ratio : float
        Coarse pixel size over fine pixel size, for ``ergas``.
    mask : path, optional
        A raster of one band on the same grid: pixels count where it is valid and not 0.

    Returns
    -------
    xarray.Dataset
        One variable for each metric over ``band``, the last of which is ``"mean"``; metrics of
        the whole spectrum stand there alone. Computed.

    Raises
    ------
    UsageError
        If the grids differ, or a metric lacks what it needs.
    SceneError
        If a raster cannot be read.
    """
    first, second = open_raster(reference), open_raster(test)
    check_same_grid(first, second, str(test))
    second = in_order_of(first, second)
    names = list(metrics) or _default(first, ratio)
    found = scores(
        first.assign_attrs(units=OF_DATA),
        _on_grid(second, first),
        names,
        dim=[dim for dim in first.dims if dim != "band"],
        data_range=_span(names, data_range, first, second),
        ratio=ratio,
        mask=None if mask is None else _mask(mask, first),
    )
    return xr.Dataset({name: _with_mean(value) for name, value in found.items()}).compute()


def pairs(reference: str | Path, test: str | Path) -> list[tuple[str, Path, Path]]:
    """Two rasters, or the rasters of two folders that have the same name.

    Returns
    -------
    list of tuple
        Name of the test raster, reference and test of every pair.

    Raises
    ------
    UsageError
        If a file of one folder has no partner in the other, or there are none.
    """
    reference, test = Path(reference), Path(test)
    if not (is_folder(reference) or is_folder(test)):
        return [(test.name, reference, test)]
    if not (is_folder(reference) and is_folder(test)):
        message = f"One of {str(reference)!r} and {str(test)!r} is a folder; give two of a kind."
        raise UsageError(message)
    mine, its = ({path.name: path for path in rasters_of(folder)} for folder in (reference, test))
    if alone := sorted(set(mine) ^ set(its)):
        message = f"Files that only one of the folders has: {', '.join(alone)}; names must match."
        raise UsageError(message)
    if not mine:
        message = f"{str(reference)!r} holds no raster (GeoTIFF, PNG, JPEG, Zarr)."
        raise UsageError(message)
    return [(name, mine[name], its[name]) for name in mine]


def rows(name: str, found: xr.Dataset) -> list[dict[str, Any]]:
    """Every score of a pair as a row; what is not a finite number is None."""
    return [
        {
            "image": name,
            "band": str(band),
            "metric": str(metric),
            "value": float(number) if math.isfinite(number) else None,
            "unit": value.attrs["units"],
        }
        for metric, value in found.items()
        for band, number in zip(value["band"].values, value.values, strict=True)
        if band == MEAN or metric not in SPECTRAL
    ]


def document(reference: str, test: str, found: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Scores of all pairs as one JSON document: images, protocol, scores."""
    metrics = {
        str(name): dict(value.attrs) for scored in found.values() for name, value in scored.items()
    }
    null = "not a finite number: undefined, without a valid pixel, or infinite (equal images)"
    return {
        "images": list(found),
        "protocol": {
            "package": f"decametric {__version__}",
            "reference": reference,
            "test": test,
            "metrics": metrics,
            "mean": "mean over the bands, or one score of the whole spectrum",
            "null": null,
        },
        "scores": [row for name, scored in found.items() for row in rows(name, scored)],
    }


def lines(name: str, found: xr.Dataset) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
    """Header, lines and title (none) of the table of one pair."""
    bands = [str(band) for band in found["band"].values]
    ordered = [MEAN, *(band for band in bands if band != MEAN)]
    body = [
        (name, str(metric), value.attrs["units"], *map(text, value.values))
        for metric, value in found.sel(band=ordered).items()
    ]
    return ("image", "metric", "unit", *ordered), body, ""


def _default(image: xr.DataArray, ratio: float | None) -> list[str]:
    """Metrics that can be told of an image unless others are asked for."""
    left_out = SPECTRAL if image.sizes["band"] == 1 else set()
    left_out |= {"ergas"} if ratio is None else set()
    return [name for name in DEFAULT if name not in left_out]


def _span(metrics: Iterable[str], given: float | str | None, *images: xr.DataArray) -> float | None:
    """The data range as given, or as the type of the rasters tells.

    Raises
    ------
    UsageError
        If neither does, and a metric needs it.
    """
    if given is not None:
        try:
            return data_range_of(float(given))
        except ValueError:
            return data_range_of(given)
    if all(image.attrs["stored"] == "uint8" for image in images):
        return data_range_of("uint8")
    known = [name for name in metrics if name in REGISTRY]
    needy = [name for name in known if "data_range" in signature(REGISTRY[name]).parameters]
    if needy:
        message = (
            f"{', '.join(needy)} cannot do without the span of possible values, which "
            f"{images[0].attrs['stored']} does not tell: give data_range (--data-range), 10000 for "
            "digital numbers or 1 for reflectance, or choose other metrics (--metric)."
        )
        raise UsageError(message)
    return None


def _mask(path: str | Path, image: xr.DataArray) -> xr.DataArray:
    """Where pixels count, over (y, x).

    Raises
    ------
    UsageError
        If the mask has several bands or another grid.
    """
    mask = open_raster(path)
    one = _first(image)
    check_same_grid(one, mask, str(path))
    return _on_grid(_first(mask.notnull() & (mask != 0)), one)


def _first(array: xr.DataArray) -> xr.DataArray:
    """The first band of the first date, over (y, x)."""
    return array.isel({dim: 0 for dim in array.dims if dim not in SPATIAL}, drop=True)


def _on_grid(array: xr.DataArray, grid: xr.DataArray) -> xr.DataArray:
    """The pixels of one array under the labels of another, which have been found to agree."""
    return grid.copy(data=array.transpose(*grid.dims).data)


def _with_mean(value: xr.DataArray) -> xr.DataArray:
    """Scores of the bands and their mean, or the one of all bands as mean."""
    if "band" not in value.dims:
        return value.expand_dims(band=[MEAN])
    mean = value.mean("band", skipna=False).expand_dims(band=[MEAN])
    joined: xr.DataArray = xr.concat([value, mean], "band", coords="minimal", compat="override")
    return joined.assign_attrs(value.attrs)
