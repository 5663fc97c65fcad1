"""Pictures of parts of the ground beside each other: one stretch, axes in km."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from decametric.errors import SceneError, StoreError, UsageError
from decametric.evaluation.pictures import STRETCH, colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Places = tuple[Floats, Floats]

COLOURS = ("red", "green", "blue")

KM = 1000


class Preview(Figure):
    """A figure that notebooks show without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks."""
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


@dataclass(frozen=True)
class Panel:
    """A picture with its place on the ground."""

    title: str
    """What it shows."""
    layers: Floats
    """(band, y, x), NaN where there is no data."""
    places: Places
    """Centres of rows, from north to south, and of columns, from west to east, in metres."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """West, east, south, north in km."""
        (north, south), (west, east) = (_ends(centres) for centres in self.places)
        return west / KM, east / KM, south / KM, north / KM


def draw(names: list[str], small: Panel, details: list[Panel], crs: str) -> Figure:
    """The map, and the details beside it."""
    figure = Preview(figsize=(3.2 + 4.8 * len(details), 5.2), layout="constrained")
    widths = [0.62, *[1] * len(details)]
    axes = figure.subplots(1, len(widths), width_ratios=widths)
    _show(axes[0], small, _limits([small]))
    west, east, south, north = details[0].extent
    frame = Rectangle((west, south), east - west, north - south, fill=False, color="red")
    axes[0].add_patch(frame)
    limits = _limits(details)
    for axis, panel in zip(axes[1:], details, strict=True):
        _show(axis, panel, limits)
    if len(axes) > 2:  # noqa: PLR2004  (two details have the same rows)
        axes[2].tick_params(labelleft=False)
    axes[0].set_ylabel(f"northing in km, {crs}", fontsize=8)
    figure.supxlabel(_legend(names, details), fontsize=9)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the end of the name tells the format.

    Raises
    ------
    UsageError
        If there is no such format.
    StoreError
        If the file cannot be written.
    """
    known = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in known:
        message = f"{path} names no format of pictures; let it end in .png, .pdf or .svg."
        raise UsageError(message)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror}); give another path."
        raise StoreError(message) from error


def _limits(panels: list[Panel]) -> Floats:
    """Reflectance (2, band, 1, 1) that is drawn black and at full brightness, the same for all."""
    values = np.concatenate([p.layers.reshape(len(p.layers), -1) for p in panels], axis=1)
    if np.isnan(values).all(axis=1).any():
        message = "The detail has no data in all bands; give another place (at, --at)."
        raise SceneError(message)
    limits: Floats = np.nanpercentile(values, STRETCH, axis=1)[..., None, None]
    return limits


def _show(axis: Axes, panel: Panel, limits: Floats) -> None:
    """One panel, its axes in km."""
    picture = colours(panel.layers, limits)
    axis.imshow(picture, extent=panel.extent, interpolation="nearest")
    axis.set_title(panel.title, fontsize=11)
    axis.tick_params(labelsize=7, length=2)
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(MaxNLocator(4))
        scale.set_major_formatter(ScalarFormatter(useOffset=False))


def _legend(names: list[str], panels: list[Panel]) -> str:
    """What colours mean."""
    mixed = [names[1], "both", names[0]] if len(names) == 2 else names  # noqa: PLR2004
    told = [f"{colour}: {name}" for colour, name in zip(COLOURS, mixed, strict=False)]
    gaps = ["grey: no data"] if any(np.isnan(panel.layers).any() for panel in panels) else []
    return ", ".join([*(told if len(names) > 1 else names), *gaps])


def _ends(centres: Floats) -> tuple[float, float]:
    """Outer edges of the first and the last pixel."""
    half = (centres[-1] - centres[0]) / max(1, len(centres) - 1) / 2
    return float(centres[0] - half), float(centres[-1] + half)
