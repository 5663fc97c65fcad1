"""Scores as rows for a table or a JSON document."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

DN = 10000
"""Digital numbers of a reflectance of 1: scores of reflectance are read more easily in DN."""


def rows(scores: xr.Dataset) -> list[dict[str, float | int | str | None]]:
    """RMSE of every band that was scored, in DN.

    Parameters
    ----------
    scores : xarray.Dataset
        What `decametric.assess` returns; it is computed.

    Returns
    -------
    list of dict
        ``band``, ``ratio``, and one value for each predictor; None where it does not return the
        band. Bands that belong to another ratio are left out.
    """
    rmse = scores["rmse"].transpose("ratio", "band", "predictor").compute()
    names = [str(name) for name in rmse["predictor"].values]
    found: list[dict[str, float | int | str | None]] = []
    for ratio, bands in zip(rmse["ratio"].values, rmse.values, strict=True):
        for band, values in zip(rmse["band"].values, bands, strict=True):
            made = [None if math.isnan(v) else round(float(v) * DN, 2) for v in values]
            if any(value is not None for value in made):
                scored = dict(zip(names, made, strict=True))
                found.append({"band": str(band), "ratio": int(ratio), **scored})
    return found
