"""Bars of scores as inline SVG: bands downwards, a bar with its number for every predictor."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.evaluation.report import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

GREYS = {"bilinear": "#a3a3a3", "bicubic": "#6b6b6b"}
"""Interpolation is there to be compared with, so it is grey."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#8c4a84", "#3d3d9e")
"""Predictors after Okabe and Ito (2008): told apart by colour-blind eyes and in print."""

WIDTH, LEFT, RIGHT = 420, 36, 44
BAR, GAP, TOP = 14, 10, 26
"""Pixels of the drawing, which grows and shrinks with the page."""


def colour(name: str, names: Sequence[str]) -> str:
    """Colour of a predictor among all that are drawn."""
    others = [other for other in names if other not in GREYS]
    return GREYS.get(name) or COLOURS[others.index(name) % len(COLOURS)]


def svg(title: str, bands: Sequence[str], names: Sequence[str], values: NDArray[Any]) -> str:
    """Draw bars.

    Parameters
    ----------
    title : str
        What the numbers are.
    bands, names : sequence of str
        Bands and predictors.
    values : array (band, predictor)
        Scores; NaN and infinity have no bar.

    Returns
    -------
    str
        An ``svg`` element.
    """
    finite = values[np.isfinite(values)]
    reach = max(float(np.abs(finite).max(initial=0)), 1e-12)
    group = len(names) * BAR + GAP
    keys = [_key(n, name, names) for n, name in enumerate(names)]
    top = TOP + 20 * len(keys)
    height = top + len(bands) * group
    bars = [
        _bar(top + row * group + n * BAR, float(value), reach, colour(name, names))
        for row in range(len(bands))
        for n, (name, value) in enumerate(zip(names, values[row], strict=True))
    ]
    middle = (group - GAP) / 2 + 4
    labels = [
        f'<text x="0" y="{top + row * group + middle:g}">{escape(band)}</text>'
        for row, band in enumerate(bands)
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui, sans-serif" font-size="12">'
        f'<text x="0" y="14" font-weight="600">{escape(title)}</text>'
        f"{''.join(keys)}{''.join(labels)}{''.join(bars)}</svg>"
    )


def _key(number: int, name: str, names: Sequence[str]) -> str:
    """A line of the legend."""
    y = TOP + 20 * number
    return (
        f'<rect x="{LEFT}" y="{y}" width="12" height="12" fill="{colour(name, names)}"/>'
        f'<text x="{LEFT + 18}" y="{y + 10}">{escape(name)}</text>'
    )


def _bar(y: float, value: float, reach: float, fill: str) -> str:
    """One bar and its number."""
    long = (WIDTH - LEFT - RIGHT) * abs(value) / reach if np.isfinite(value) else 0
    return (
        f'<rect x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR - 2}" fill="{fill}"/>'
        f'<text x="{LEFT + long + 5:.1f}" y="{y + BAR - 4}" font-size="11">{text(value)}</text>'
    )
