"""`assess`: scores without ground truth, by Wald's protocol.

The scene is degraded by the ratio of each network, sharpened back, and compared with the bands
that were measured (Wald, Ranchin, Mangolini 1997).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from decametric.bands import BANDS, SHARPENED, group
from decametric.degradation import degrade
from decametric.errors import UsageError
from decametric.metrics import rmse
from decametric.superres.inference import sharpen
from decametric.superres.predictor import Predictor, provenance
from decametric.superres.presets import load_predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINES = ("bilinear", "bicubic")
RATIOS = (2, 6)


def assess(
    scene: xr.DataTree,
    predictors: Predictor | str | Path | Sequence[Predictor | str | Path],
    *,
    any_level: bool = False,
) -> xr.Dataset:
    """Score predictors on a scene, with bilinear and bicubic interpolation beside them.

    Parameters
    ----------
    scene : xarray.DataTree
        What `decametric.load` returns.
    predictors : Predictor, str or Path, or a sequence of them
        What to score; names and paths go through `load_predictor`.
    any_level : bool
        Accept a scene of another level than a predictor was trained for.

    Returns
    -------
    xarray.Dataset
        Lazy ``rmse`` in reflectance over (predictor, ratio, band), NaN where a band does not belong
        to a ratio or a predictor does not return it. Only pixels count that every predictor made
        and the reference has; all dates are pooled.

    Raises
    ------
    UsageError
        If two different predictors have the same name.
    """
    one = isinstance(predictors, (str, Path, Predictor))
    given: list[Predictor | str | Path] = [predictors] if one else list(predictors)  # type: ignore[list-item, arg-type]  # mypy does not follow `one`
    loaded = [load_predictor(p) if isinstance(p, (str, Path)) else p for p in given]
    known = {name: load_predictor(name) for name in BASELINES}
    for predictor in loaded:
        name = str(provenance(predictor)["name"])
        if name in known and known[name] != predictor:
            message = f"Two predictors are called {name!r}; score them one at a time."
            raise UsageError(message)
        known[name] = predictor
    scores = [_scores(scene, known, ratio, any_level=any_level) for ratio in RATIOS]
    joined = _join(scores, "ratio", RATIOS).transpose("predictor", "ratio", "band")
    return joined.to_dataset(name="rmse")


def _scores(
    scene: xr.DataTree, predictors: dict[str, Predictor], ratio: int, *, any_level: bool
) -> xr.DataArray:
    """RMSE of every predictor for the bands of one ratio, over (predictor, band)."""
    reference = scene[group(10 * ratio)].to_dataset()
    bands = [b for b in SHARPENED if BANDS[b].resolution == 10 * ratio and b in reference]
    coarse = degrade(scene, ratio)
    results = {}
    for name, predictor in predictors.items():
        returned = [band for band in bands if band in predictor.bands_out]
        results[name] = sharpen(coarse, predictor, bands=returned, any_level=any_level)
    rows = [_band_scores(reference, results, band) for band in bands]
    return _join(rows, "band", bands).reindex(band=list(SHARPENED))


def _band_scores(reference: xr.Dataset, results: dict[str, xr.Dataset], band: str) -> xr.DataArray:
    """RMSE of one band for every predictor, on the pixels that all of them made."""
    made = {name: result[band] for name, result in results.items() if band in result}
    some = next(iter(made.values()))
    # Degrading leaves out rows and columns that fill no coarse pixel; positions are exact.
    truth = reference[band].isel(y=slice(some.sizes["y"]), x=slice(some.sizes["x"]))
    truth = truth.assign_coords(y=some.y, x=some.x)
    common = xr.concat([data.notnull() for data in made.values()], "predictor").all("predictor")
    nothing = xr.DataArray(np.nan)
    values = [
        rmse(truth.where(common), made[name], dim=("time", "y", "x")) if name in made else nothing
        for name in results
    ]
    return _join(values, "predictor", list(results))


def _join(arrays: Sequence[xr.DataArray], name: str, labels: Sequence[object]) -> xr.DataArray:
    """Arrays side by side along a new, labelled dimension."""
    # A score that is missing carries no grid, hence `minimal`: take the coordinates that there are.
    joined: xr.DataArray = xr.concat(
        arrays, name, coords="minimal", compat="override", combine_attrs="drop"
    )
    return joined.assign_coords({name: list(labels)})
