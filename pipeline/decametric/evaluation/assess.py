"""`assess`: scores without ground truth, by Wald's protocol.

The scene is degraded by the ratio of each network, sharpened back, and compared with the bands
that were measured (Wald, Ranchin, Mangolini 1997). Everything of a ratio is one graph: a network
runs once, however many metrics and bands read what it made.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from decametric.bands import BANDS, SHARPENED, group
from decametric.degradation import degrade
from decametric.errors import SceneError, UsageError
from decametric.evaluation.full_resolution import full_resolution_scores
from decametric.evaluation.tables import by_band, join, stack, valid_in_all
from decametric.metrics import scores
from decametric.superres.inference import sharpen
from decametric.superres.predictor import Predictor, provenance
from decametric.superres.presets import load_predictor, predictor_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import xarray as xr

BASELINES = ("bilinear", "bicubic")
RATIOS = (2, 6)

METRICS = ("rmse", "mae", "bias", "psnr", "sre", "cc", "ssim", "uiq", "sam", "ergas")
"""What is computed unless asked otherwise; not FSIM, which reads the images three times and so
would run every network as often."""

DATA_RANGE = 1.0
"""Span of possible values of reflectance."""


def assess(
    scene: xr.DataTree,
    predictors: Predictor | str | Path | Sequence[Predictor | str | Path] | None = None,
    *,
    metrics: Iterable[str] = METRICS,
    full_resolution: bool = False,
    any_level: bool = False,
) -> xr.Dataset:
    """Score predictors on a scene, with bilinear and bicubic interpolation beside them.

    Parameters
    ----------
    scene : xarray.DataTree
        What `decametric.load` returns.
    predictors : Predictor, str or Path, or a sequence of them, optional
        What to score; names and paths go through `load_predictor`. Default: the preset of the
        level of the scene.
    metrics : iterable of str
        Names of `decametric.metrics.scores`; the data range is 1.0, the ratio that of the bands.
    full_resolution : bool
        Sharpen the scene itself, too, and add what can be said of the result without a reference:
        D_lambda, D_s, QNR, Khan's D_lambda, HQNR, D_rho, and RMSE and bias of what each band
        becomes when it is degraded again. Every network runs a second time for it.
    any_level : bool
        Accept a scene of another level than a predictor was trained for.

    Returns
    -------
    xarray.Dataset
        Lazy. One variable for each metric over (predictor, ratio, band), in reflectance where it
        has a unit of the data. ``band`` holds the eight sharpened bands and ``"mean"``, the mean
        over the bands of the ratio; metrics of the whole spectrum stand at ``"mean"`` alone. NaN
        where a band does not belong to a ratio or a predictor does not return it; a predictor
        that lacks a band of a ratio has no mean there. Only pixels count that every predictor
        made and the reference has; all dates are pooled.

    Raises
    ------
    UsageError
        If two different predictors have the same name, or a metric is unknown.
    SceneError
        If the scene has no band to sharpen, or is of another level than a predictor takes.

    Examples
    --------
    >>> import decametric as dm
    >>> from decametric.testing import synthetic_scene
    >>> from tempfile import mkdtemp
    >>> scene = dm.load(synthetic_scene(mkdtemp(), size=72))
    >>> found = assess(scene, "bicubic", metrics=["rmse"])
    >>> found["rmse"].dims
    ('predictor', 'ratio', 'band')
    """
    default = predictor_for([scene.attrs.get("level")]) if predictors is None else predictors
    known = named(default)
    wanted = list(metrics)
    parts = {
        ratio: _wald(scene, known, ratio, wanted, any_level=any_level)
        for ratio in RATIOS
        if bands_of(scene, ratio)
    }
    if not parts:
        message = f"The scene holds none of the bands {', '.join(SHARPENED)}; load some."
        raise SceneError(message)
    found = join(parts, "ratio", RATIOS)
    if full_resolution:
        images = sharpened(scene, known, bands_of(scene), any_level=any_level)
        indices = {ratio: full_resolution_scores(scene, images, ratio) for ratio in parts}
        found = found.merge(join(indices, "ratio", RATIOS))
    return found.reindex(predictor=list(known)).transpose("predictor", "ratio", "band")


def named(
    predictors: Predictor | str | Path | Sequence[Predictor | str | Path],
) -> dict[str, Predictor]:
    """The predictors by name, interpolation first.

    Raises
    ------
    UsageError
        If two different ones have the same name.
    """
    one = isinstance(predictors, (str, Path, Predictor))
    given: list[Predictor | str | Path] = [predictors] if one else list(predictors)  # type: ignore[list-item, arg-type]  # mypy does not follow `one`
    known = {name: load_predictor(name) for name in BASELINES}
    for each in given:
        predictor = load_predictor(each) if isinstance(each, (str, Path)) else each
        name = str(provenance(predictor)["name"])
        if name in known and known[name] != predictor:
            message = f"Two predictors are called {name!r}; score them one at a time."
            raise UsageError(message)
        known[name] = predictor
    return known


def bands_of(scene: xr.DataTree, ratio: int | None = None) -> list[str]:
    """Bands of a scene that can be sharpened, by one ratio or by any."""
    return [
        band
        for band in SHARPENED
        if ratio in (None, BANDS[band].resolution // 10)
        and group(BANDS[band].resolution) in scene.children
        and band in scene[group(BANDS[band].resolution)]
    ]


def sharpened(
    scene: xr.DataTree, predictors: dict[str, Predictor], bands: list[str], *, any_level: bool
) -> dict[str, xr.DataArray]:
    """What every predictor makes of those of `bands` that it returns: (band, time, y, x), lazy."""
    images = {}
    for name, predictor in predictors.items():
        if made := [band for band in bands if band in predictor.bands_out]:
            images[name] = stack(sharpen(scene, predictor, bands=made, any_level=any_level), made)
    return images


def _wald(
    scene: xr.DataTree,
    predictors: dict[str, Predictor],
    ratio: int,
    metrics: list[str],
    *,
    any_level: bool,
) -> xr.Dataset:
    """Scores of every predictor for the bands of one ratio, over (predictor, band)."""
    bands = bands_of(scene, ratio)
    images = sharpened(degrade(scene, ratio), predictors, bands, any_level=any_level)
    some = next(iter(images.values()))
    # Degrading leaves out rows and columns that fill no coarse pixel; positions are exact.
    truth = stack(scene[group(10 * ratio)].to_dataset(), bands)
    truth = truth.isel(y=slice(some.sizes["y"]), x=slice(some.sizes["x"]))
    truth = truth.assign_coords(y=some.y, x=some.x)
    valid = valid_in_all(images.values(), bands)
    found = {}
    for name, image in images.items():
        made = list(image.band.values)
        numbers = scores(
            truth.sel(band=made),
            image,
            metrics,
            dim=("time", "y", "x"),
            data_range=DATA_RANGE,
            ratio=ratio,
            mask=valid.sel(band=made),
        )
        if len(bands) == 1:  # the angle between spectra of one band is 0, whatever they are
            angles = [numbers[name] for name in ("sam",) if name in numbers]
            numbers = numbers.assign({a.name: (a * math.nan).assign_attrs(a.attrs) for a in angles})
        found[name] = by_band(numbers, complete=made == bands)
    return join(found, "predictor", list(predictors))
