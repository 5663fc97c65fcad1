"""Scores over (predictor, ratio, band): how images are stacked, and numbers set side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from decametric.bands import SHARPENED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MEAN = "mean"
"""Label of the mean over the bands, and of what is told of all bands together."""

LABELS = (*SHARPENED, MEAN)
"""Labels along the dimension ``band`` of a table."""

REFLECTANCE = "reflectance"
"""Unit of scores that are a reflectance."""


def stack(dataset: xr.Dataset, bands: Sequence[str]) -> xr.DataArray:
    """Bands of a dataset as one array (band, ...), without what only describes the grid."""
    array = dataset[list(bands)].to_dataarray("band").drop_vars("spatial_ref", errors="ignore")
    array.attrs = {"units": REFLECTANCE}
    return array


def valid_in_all(images: Iterable[xr.DataArray], bands: Sequence[str]) -> xr.DataArray:
    """Pixels (band, ...) that every image has which holds the band at all."""
    masks = [image.notnull().reindex(band=list(bands), fill_value=True) for image in images]
    valid = masks[0]
    for mask in masks[1:]:
        valid = valid & mask
    return valid


def by_band(numbers: xr.Dataset, *, complete: bool) -> xr.Dataset:
    """Scores over `LABELS`: those of each band and their mean, or of the whole spectrum.

    Parameters
    ----------
    numbers : xarray.Dataset
        Variables over ``band``, or without dimension: then they tell of all bands together.
    complete : bool
        Whether all bands of the ratio are there; if not, what is told of all of them is NaN.
    """
    return xr.Dataset({name: _by_band(value, complete) for name, value in numbers.items()})


def _by_band(value: xr.DataArray, complete: bool) -> xr.DataArray:  # noqa: FBT001  (see `by_band`)
    # In one chunk: a handful of numbers is not worth a task for each.
    each = [value.chunk(band=-1)] if "band" in value.dims else []
    whole = each[0].mean("band", skipna=False) if each else value
    whole = (whole if complete else whole * np.nan).expand_dims(band=[MEAN])
    joined: xr.DataArray = xr.concat([*each, whole], "band", coords="minimal", compat="override")
    return joined.reindex(band=list(LABELS)).assign_attrs(value.attrs)


def join(
    parts: Mapping[str, xr.Dataset] | Mapping[int, xr.Dataset], name: str, labels: Sequence[object]
) -> xr.Dataset:
    """Tables side by side along a new dimension; NaN under the labels that have none."""
    joined: xr.Dataset = xr.concat(
        list(parts.values()),
        name,
        coords="minimal",
        compat="override",
        combine_attrs="drop_conflicts",
        join="outer",
    )
    return joined.assign_coords({name: list(parts)}).reindex({name: list(labels)})
