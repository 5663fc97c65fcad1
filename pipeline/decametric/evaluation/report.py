"""Scores of items as rows for a JSON document and as lines for a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric import __version__
from decametric.evaluation.assess import DATA_RANGE, RATIOS, assess
from decametric.evaluation.tables import MEAN, REFLECTANCE
from decametric.superres.predictor import provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr

    from decametric.superres.predictor import Predictor

DN = 10000
"""Digital numbers of a reflectance of 1: scores of reflectance are read more easily in DN."""

DECIMALS = 4
"""Decimals of a score that are shown: what is less is rounding."""


@dataclass(frozen=True)
class Scored:
    """One item, that is, one date of a tile, with its scores."""

    name: str
    """Identifiers of its STAC items."""
    scene: xr.DataTree
    """The date alone, lazy."""
    scores: xr.Dataset
    """What `assess` returned, computed."""


def score(
    scene: xr.DataTree,
    predictors: Mapping[str, Predictor],
    **how: Any,  # noqa: ANN401
) -> Iterator[Scored]:
    """Score each date of a scene by itself; one computation each.

    Parameters
    ----------
    scene : xarray.DataTree
        What `decametric.load` returns.
    predictors : mapping of str to Predictor
        What to score, by name.
    **how
        Keyword arguments of `decametric.assess`.
    """
    for name, date in dates(scene):
        yield Scored(name, date, assess(date, list(predictors.values()), **how).compute())


def dates(scene: xr.DataTree) -> Iterator[tuple[str, xr.DataTree]]:
    """Each date of a scene, as a scene of its own, under the names of its items."""
    facts = scene.attrs["provenance"]["scenes"]
    for step, fact in enumerate(facts):
        one = scene.isel(time=[step])
        one.attrs = scene.attrs | {"provenance": {"scenes": [fact]}}
        yield " + ".join(fact["items"]), one


def in_dn(scores: xr.Dataset) -> xr.Dataset:
    """The same scores, those of reflectance in digital numbers of 1/10000."""
    found = {
        name: (value * DN).assign_attrs(value.attrs, units="DN")
        for name, value in scores.items()
        if value.attrs["units"] == REFLECTANCE
    }
    return scores.assign(found)


def rows(scores: xr.Dataset) -> list[dict[str, Any]]:
    """Every score as a row: predictor, ratio, band, metric, value and unit.

    Parameters
    ----------
    scores : xarray.Dataset
        What `decametric.assess` returns; it is computed.

    Returns
    -------
    list of dict
        ``value`` in ``unit``, DN for what is a reflectance; None where it is not a finite number
        (a perfect result has a PSNR of infinity, and no predictor has to return every band).
        Bands that belong to another ratio, or that nobody scored, are left out.
    """
    table = in_dn(scores.compute()).transpose("ratio", "predictor", "band")
    return [
        {
            "predictor": str(predictor),
            "ratio": int(ratio),
            "band": str(band),
            "metric": str(metric),
            "value": _finite(float(value.sel(ratio=ratio, predictor=predictor, band=band))),
            "unit": value.attrs["units"],
        }
        for ratio in table["ratio"].values
        for metric, value in table.items()
        for band in scored(value, ratio)
        for predictor in table["predictor"].values
    ]


def scored(value: xr.DataArray, ratio: int) -> list[str]:
    """Bands for which some predictor has this score at a ratio, ``"mean"`` among them."""
    known = value.sel(ratio=ratio).notnull().any("predictor")
    return [str(band) for band in value["band"].values[known.values]]


def document(items: Sequence[Scored], predictors: Mapping[str, Predictor]) -> dict[str, Any]:
    """Scores of items as one JSON document: items, protocol, scores."""
    found = [{"item": item.name, **row} for item in items for row in rows(item.scores)]
    return {
        "items": [item.name for item in items],
        "protocol": protocol(items, predictors),
        "scores": found,
    }


def protocol(items: Sequence[Scored], predictors: Mapping[str, Predictor]) -> dict[str, Any]:
    """How the scores came about, as plain data."""
    metrics = {
        str(name): {key: _plain(fact) for key, fact in value.attrs.items()}
        for item in items[:1]
        for name, value in in_dn(item.scores).items()
    }
    return {
        "package": f"decametric {__version__}",
        "name": "Wald, Ranchin and Mangolini 1997",
        "degradation": "gaussian sigma 1/ratio, block mean",
        "ratios": list(RATIOS),
        "data_range": DATA_RANGE,
        "pixels": "those that every predictor made and the reference has",
        "mean": "mean over the bands of the ratio, or one score of the whole spectrum",
        "null": "not a finite number: not returned by the predictor, undefined, or infinite",
        "metrics": metrics,
        "predictors": [provenance(predictor) for predictor in predictors.values()],
    }


def lines(item: Scored) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
    """Header, lines and title of the table of one item: what holds for all bands of a ratio."""
    table = in_dn(item.scores)
    found = [
        (item.name, f"{ratio}x", str(metric), value.attrs["units"], *map(text, part.values))
        for ratio in table["ratio"].values
        for metric, value in table.items()
        if MEAN in scored(value, ratio)
        for part in [value.sel(band=MEAN, ratio=ratio)]
    ]
    names = tuple(str(name) for name in table["predictor"].values)
    header = ("item", "ratio", "metric", "unit", *names)
    return header, found, "By Wald's protocol, means over the bands"


def text(value: float) -> str:
    """A score for the eye: four digits, and none beyond the fourth decimal."""
    if math.isnan(value):
        return "-"
    rounded = round(value, DECIMALS) + 0.0  # no minus before a zero
    return f"{rounded:.1f}" if 1000 <= abs(value) < math.inf else f"{rounded:.4g}"  # noqa: PLR2004


def _finite(value: float) -> float | None:
    """A number that JSON knows, or None."""
    return value if math.isfinite(value) else None


def _plain(fact: Any) -> Any:  # noqa: ANN401  (attributes of any kind)
    """An attribute as JSON knows it."""
    return fact.tolist() if isinstance(fact, (np.ndarray, np.generic)) else fact
