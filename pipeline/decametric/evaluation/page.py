"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.evaluation.assess import BASELINES
from decametric.evaluation.bars import svg
from decametric.evaluation.pictures import detail
from decametric.evaluation.report import DECIMALS, DN, Scored, document, in_dn, scored, text
from decametric.evaluation.tables import MEAN

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    import xarray as xr

    from decametric.evaluation.pictures import Detail, Picture
    from decametric.superres.predictor import Predictor

LARGEST = {"psnr": math.inf, "sre": math.inf}
LARGEST |= dict.fromkeys(
    ("cc", "ssim", "ms_ssim", "fsim", "issm", "uiq", "scc", "vif", "q2n", "qnr", "hqnr"), 1.0
)
"""Best value of the metrics that are best when large; of all others it is 0."""

STAR = " \u2605"
"""Marks the best value of a line."""

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; border-top: 2px solid #1a1a1a;
  padding-top: .6rem; overflow-wrap: anywhere; }
h3 { font-size: 1.1rem; margin: 2rem 0 .5rem; } h4 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd;
  white-space: nowrap; }
th { font-weight: 600; } tbody th, th.label { text-align: left; }
td.best { font-weight: 700; background: #e3f1fb; }
th.baseline, td.baseline { color: #555; } td.best.baseline { color: #1a1a1a; }
.pictures { display: grid; gap: .7rem;
  grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
figure { margin: 0; break-inside: avoid; } figcaption { font-size: .85rem; color: #333; }
.pictures img { width: 100%; image-rendering: pixelated; display: block; border: 1px solid #bbb; }
.scale { display: flex; gap: .5rem; align-items: center; font-size: .85rem; margin: .4rem 0 1rem; }
.scale img { width: 12rem; height: .8rem; border: 1px solid #bbb; }
svg { width: 100%; max-width: 36rem; height: auto; margin-top: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; font-size: .9rem; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
p.note { font-size: .9rem; color: #444; max-width: 46rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  th, td { padding: .2rem .35rem; font-size: .85rem; }
  tbody th { white-space: normal; overflow-wrap: anywhere; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } h2 { break-before: page; }
  h2:first-of-type { break-before: auto; }
  h3, h4 { break-after: avoid; } tr, svg { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def write_report(
    folder: str | Path,
    items: Sequence[Scored],
    predictors: Mapping[str, Predictor],
    *,
    any_level: bool = False,
) -> Path:
    """Write ``index.html``, which needs no other file, and ``scores.json`` beside it.

    Parameters
    ----------
    folder : path
        Made if it is not there; an earlier report in it is replaced.
    items : sequence of Scored
        What was scored.
    predictors : mapping of str to Predictor
        What made it, by name; the networks run once more for the pictures.
    any_level : bool
        As in `decametric.assess`.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = document(items, predictors)
    (folder / "scores.json").write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    parts = [_item(item, predictors, any_level=any_level) for item in items]
    page = folder / "index.html"
    page.write_text(_page(parts, facts["protocol"]), encoding="utf-8")
    return page


def _page(parts: Iterable[str], protocol: Mapping[str, Any]) -> str:
    """The whole document around the sections of the items."""
    title = "Scores by Wald's protocol"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="note">The scene was degraded by the ratio of the pixel sizes, sharpened back, and compared
with the bands that were measured. Only pixels count that every predictor made. Means are over the
bands of a ratio. The best value of a line is marked; bilinear and bicubic are interpolation.</p>
{"".join(parts)}
<h2>How it was made</h2>
{_definitions(_provenance(protocol))}
</body>
</html>
"""


def _item(item: Scored, predictors: Mapping[str, Predictor], *, any_level: bool) -> str:
    """The section of one item."""
    table = in_dn(item.scores)
    ratios = [int(r) for r in table["ratio"].values if any(scored(v, r) for v in table.values())]
    if not ratios:
        return f"<h2>{escape(item.name)}</h2><p>Nothing could be scored: no pixel is valid.</p>"
    sections = [f"<h2>{escape(item.name)}</h2>{_definitions(_scene(item.scene))}"]
    for ratio in ratios:
        found = detail(item.scene, predictors, ratio, any_level=any_level)
        parts = (_means(table, ratio), _bars(table, ratio), _each_band(table, ratio))
        title = f"<h3>{10 * ratio} m bands, sharpened {ratio}x</h3>"
        sections += [title, *parts, _pictures(found)]
    return "".join(sections)


def _means(table: xr.Dataset, ratio: int) -> str:
    """What holds for all bands: a line for each metric, a column for each predictor."""
    lines = [
        _line([_named(metric, value)], value.sel(band=MEAN, ratio=ratio))
        for metric, value in table.items()
        if MEAN in scored(value, ratio)
    ]
    return _table(["metric"], table, lines)


def _each_band(table: xr.Dataset, ratio: int) -> str:
    """Every band by itself."""
    lines = [
        _line([str(band), _named(metric, value)], value.sel(band=band, ratio=ratio))
        for band in table["band"].values
        if band != MEAN
        for metric, value in table.items()
        if band in scored(value, ratio)
    ]
    inner = _table(["band", "metric"], table, lines)
    return f"<details><summary>Every band by itself</summary>{inner}</details>"


def _named(metric: Hashable, value: xr.DataArray) -> str:
    """Name and unit of a metric, the latter where it has one."""
    unit = value.attrs["units"]
    return str(metric) if unit == "1" else f"{metric}, {unit}"


def _line(labels: Sequence[str], values: xr.DataArray) -> str:
    """A line of a table: labels, and a value for each predictor, the best one marked."""
    shown = [text(float(value)) for value in values]
    marks = _best(values.round(DECIMALS), str(values.name))
    kinds = [
        f"{_kind(str(name))} {'best' if mark else ''}".strip()
        for name, mark in zip(values["predictor"].values, marks, strict=True)
    ]
    starred = [each + STAR * mark for each, mark in zip(shown, marks, strict=True)]
    return _cells("th", labels, [""] * len(labels)) + _cells("td", starred, kinds)


def _best(values: xr.DataArray, metric: str) -> list[bool]:
    """Which values are the best of a line; none if all are equal."""
    goal = LARGEST.get(metric, 0.0)
    distances = -values if goal == math.inf else abs(values - goal)
    if distances.min() == distances.max():
        return [False] * values.size
    return [bool(each) for each in distances == distances.min()]


def _bars(table: xr.Dataset, ratio: int) -> str:
    """Bars of the first metric that every band has."""
    for metric, value in table.items():
        if bands := [band for band in scored(value, ratio) if band != MEAN]:
            part = value.sel(ratio=ratio, band=bands).transpose("band", "predictor")
            names = [str(name) for name in value["predictor"].values]
            title = f"{metric} of each band, in {value.attrs['units']}"
            return svg(title, bands, names, np.asarray(part))
    return ""


def _pictures(found: Detail) -> str:
    """The pictures of one ratio."""
    bands, goal = ", ".join(found.bands), found.brightest * DN
    return f"""<h4>A detail: {escape(bands)}</h4>
{_grid(found.images)}
<h4>Absolute error, mean of {escape(bands)}</h4>
{_grid(found.errors)}
<div class="scale"><span>0</span>
<img alt="colours from no error to the largest" src="{found.scale}">
<span>{goal:.0f} DN and more</span></div>"""


def _grid(pictures: Sequence[Picture]) -> str:
    """Pictures side by side."""
    figures = [
        f'<figure><img alt="{escape(each.title)}" src="{each.uri}">'
        f"<figcaption>{escape(each.title)}</figcaption></figure>"
        for each in pictures
    ]
    return f'<div class="pictures">{"".join(figures)}</div>'


def _scene(scene: xr.DataTree) -> dict[str, str]:
    """Where the measured bands come from."""
    (fact,) = scene.attrs["provenance"]["scenes"]
    places = {"tile": scene.attrs["tile"], "level": scene.attrs["level"], "time": fact["time"]}
    offsets = [f"{o} ({why})" for o, why in zip(fact["offset"], fact["rule"], strict=True)]
    return places | {"radiometric offset": "; ".join(offsets)}


def _provenance(protocol: Mapping[str, Any]) -> dict[str, str]:
    """The protocol in words."""
    plain = {k: v for k, v in protocol.items() if k not in ("metrics", "predictors", "ratios")}
    facts = {str(key).replace("_", " "): str(value) for key, value in plain.items()}
    facts |= {f"predictor {p['name']}": json.dumps(p) for p in protocol["predictors"]}
    named = [f"{name}: {facts['long_name']}" for name, facts in protocol["metrics"].items()]
    return facts | {"metrics": "; ".join(named)}


def _definitions(facts: Mapping[str, str]) -> str:
    """Names and what they stand for."""
    pairs = [f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in facts.items()]
    return f"<dl>{''.join(pairs)}</dl>"


def _table(labels: Sequence[str], table: xr.Dataset, lines: Sequence[str]) -> str:
    """A table that scrolls by itself where the screen is narrow."""
    names = [str(name) for name in table["predictor"].values]
    head = _cells("th", labels, ["label"] * len(labels)) + _cells("th", names, map(_kind, names))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'


def _cells(tag: str, texts: Iterable[str], kinds: Iterable[str]) -> str:
    """Cells of a line."""
    return "".join(
        f'<{tag} class="{kind}">{escape(each)}</{tag}>'
        for each, kind in zip(texts, kinds, strict=True)
    )


def _kind(name: str) -> str:
    """Class of a predictor's cells."""
    return "baseline" if name in BASELINES else ""
