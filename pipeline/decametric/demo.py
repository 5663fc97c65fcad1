"""The demonstration: a synthetic scene through the same code as a real one, scored and drawn.

The scene is made from a truth at 10 m, so that the result can be compared with what every band
should be. Interpolation is always beside, as the measure of what sharpening is worth.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from decametric.bands import BANDS, SHARPENED, group
from decametric.evaluation.assess import assess
from decametric.evaluation.pictures import FALSE_COLOUR
from decametric.evaluation.report import rows
from decametric.evaluation.tables import MEAN
from decametric.runs.scene import Order
from decametric.scenes.sources import read_items
from decametric.store.zarr import write
from decametric.superres.inference import sharpen
from decametric.superres.presets import DEFAULT_PRESETS
from decametric.testing import synthetic_scene, synthetic_truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

BASELINE = "bicubic"
"""What the result is compared with."""

TRUE_COLOUR = ("B04", "B03", "B02")
BRIGHTEST = {"B02": 0.28, "B03": 0.28, "B04": 0.28, "B05": 0.32, "B8A": 0.55, "B12": 0.42}
"""Reflectance that is drawn at full brightness."""

CROP = 240
"""Edge of the pictured detail in 10 m pixels."""


@dataclass(frozen=True)
class Demo:
    """Where everything is, and how good it is."""

    folder: Path
    """Holds all that follows."""
    predictor: str
    """What sharpened."""
    rmse: dict[str, dict[str, float]]
    """Predictor -> band -> root mean square error against the truth, in DN."""
    wald: dict[str, dict[str, float]]
    """The same without the truth, by Wald's protocol."""
    seconds: float
    """Wall time."""

    def places(self) -> dict[str, str]:
        """Path of each product by its name."""
        names = {"scene": "scene/catalog.json", "zarr": "out.zarr"}
        names |= {"picture": "picture.png", "table": "scores.md"}
        return {name: str(self.folder / part) for name, part in names.items()}

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
        """Header, rows and title of the table of scores."""
        lines = [
            (
                band,
                str(BANDS[band].resolution),
                *(f"{self.rmse[name][band]:.1f}" for name in self.rmse),
                *(f"{self.wald[name][band]:.1f}" for name in self.rmse),
            )
            for band in SHARPENED
        ]
        header = ("band", "native m", *self.rmse, *(f"{name} (Wald)" for name in self.rmse))
        title = "RMSE in DN: against the truth, and by Wald's protocol, one scale coarser"
        return header, lines, title

    def as_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        facts = {
            "predictor": self.predictor,
            "rmse_dn": self.rmse,
            "wald_rmse_dn": self.wald,
            "seconds": self.seconds,
        }
        return {**self.places(), **facts}


def run(
    folder: str | Path,
    *,
    size: int = 1200,
    predictor: str = DEFAULT_PRESETS["L2A"],
    say: Callable[[str], None] = print,
) -> Demo:
    """Make a scene, sharpen it, score it, draw it.

    Parameters
    ----------
    folder : path
        Made if it is not there; an earlier demo in it is replaced.
    size : int
        Edge of the scene in 10 m pixels, a multiple of 6.
    predictor : str
        Name or path of what sharpens.
    say : callable
        Gets a line before each step.

    Returns
    -------
    Demo
    """
    started = time.monotonic()
    folder = Path(folder)
    say(f"Making a synthetic Sentinel-2 L2A scene of {size} x {size} pixels on two dates ...")
    items = read_items(synthetic_scene(folder / "scene", size=size))
    say(f"Sharpening it with {predictor} and writing {folder / 'out.zarr'} ...")
    order = Order(predictor=predictor)
    result = order.sharpen(items)
    write(result, folder / "out.zarr", overwrite=True)
    say("Comparing the result with the truth ...")
    scene = order.open_scene(items, order.open_predictor(items))
    stored = xr.open_zarr(folder / "out.zarr", group=result.attrs["tile"])
    truth = synthetic_truth(folder / "scene" / "catalog.json")
    answers = {BASELINE: sharpen(scene, BASELINE), predictor: stored}
    rmse = {name: scores(answer, truth) for name, answer in answers.items()}
    say("Scoring it by Wald's protocol ...")
    wald = by_wald(scene, predictor)
    draw(folder / "picture.png", scene, stored, truth, rmse)
    demo = Demo(folder, predictor, rmse, wald, round(time.monotonic() - started, 1))
    (folder / "scores.md").write_text(_markdown(demo))
    return demo


def by_wald(scene: xr.DataTree, predictor: str) -> dict[str, dict[str, float]]:
    """Root mean square error of each band by Wald's protocol, in DN: predictor -> band -> value."""
    found: dict[str, dict[str, float]] = {}
    for row in rows(assess(scene, predictor, metrics=["rmse"])):
        if row["band"] != MEAN:
            found.setdefault(row["predictor"], {})[row["band"]] = round(row["value"], 2)
    return found


def scores(answer: xr.Dataset, truth: xr.Dataset) -> dict[str, float]:
    """Root mean square error of each sharpened band where the answer is valid, in DN."""
    squares = {
        band: ((answer[band].drop_vars("spatial_ref", errors="ignore") - truth[band]) ** 2).mean()
        for band in SHARPENED
    }
    found = xr.Dataset({band: value.variable for band, value in squares.items()}).compute()
    return {band: round(float(np.sqrt(found[band])) * 10000, 2) for band in SHARPENED}


def _markdown(demo: Demo) -> str:
    """The table of scores as a Markdown document."""
    header, rows, title = demo.table()
    lines = [header, ("---",) * len(header), *rows]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"# Scores of the demo\n\n{title}; the scene is synthetic.\n\n{body}\n"


def draw(
    path: Path,
    scene: xr.DataTree,
    result: xr.Dataset,
    truth: xr.Dataset,
    rmse: dict[str, dict[str, float]],
) -> None:
    """Draw both dates, the scores, and a detail as measured, sharpened and true."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8.4), layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, date in zip(axes[0], range(min(2, result.sizes["time"])), strict=False):
        overview = (
            result.isel(time=date)[list(TRUE_COLOUR)].coarsen(y=3, x=3, boundary="trim").mean()
        )
        _show(axis, _composite(overview, TRUE_COLOUR), f"{_day(result, date)}, true colour")
    _bars(axes[0, 2], rmse)
    down, across = _lively(truth["B12"].values[0])
    detail = {"time": 0, "y": slice(*down), "x": slice(*across)}
    coarse = (
        scene[group(20)]
        .to_dataset()
        .isel(time=0, y=slice(down[0] // 2, down[1] // 2), x=slice(across[0] // 2, across[1] // 2))
    )
    name = list(rmse)[-1]
    _show(axes[1, 0], _composite(coarse, FALSE_COLOUR), "as measured: 20 m")
    _show(axes[1, 1], _composite(result.isel(detail), FALSE_COLOUR), f"sharpened to 10 m: {name}")
    _show(axes[1, 2], _composite(truth.isel(detail), FALSE_COLOUR), "the truth at 10 m")
    figure.savefig(path, dpi=90)


def _composite(dataset: xr.Dataset, bands: tuple[str, ...]) -> NDArray[np.float64]:
    """Picture (y, x, 3) of three bands, brightened for the eye; no data is white."""
    layers = [np.asarray(dataset[band], np.float64) / BRIGHTEST[band] for band in bands]
    picture: NDArray[np.float64] = np.clip(np.stack(layers, axis=-1), 0, 1) ** 0.7
    return np.nan_to_num(picture, nan=1.0)


def _show(axis: Axes, picture: NDArray[np.float64], title: str) -> None:
    """One picture without ticks."""
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()


def _bars(axis: Axes, rmse: dict[str, dict[str, float]]) -> None:
    """Scores of each predictor, band by band."""
    width = 0.8 / len(rmse)
    for number, (name, values) in enumerate(rmse.items()):
        axis.bar(np.arange(len(values)) + number * width, list(values.values()), width, label=name)
    axis.set_xticks(np.arange(len(SHARPENED)) + 0.4 - width / 2, SHARPENED, fontsize=8)
    axis.set_title("RMSE against the truth, in DN (less is better)", fontsize=10)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def _lively(band: NDArray[np.float32]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the part with the most detail; corners are multiples of 60 m."""
    size = min(CROP, *band.shape) // 6 * 6
    corners = [
        (row, col)
        for row in range(0, band.shape[0] - size + 1, size // 2 // 6 * 6)
        for col in range(0, band.shape[1] - size + 1, size // 2 // 6 * 6)
    ]

    def roughness(corner: tuple[int, int]) -> float:
        part = band[corner[0] : corner[0] + size, corner[1] : corner[1] + size]
        return float(np.abs(np.diff(part, axis=0)).mean() + np.abs(np.diff(part, axis=1)).mean())

    row, col = max(corners, key=roughness)
    return (row, row + size), (col, col + size)


def _day(dataset: xr.Dataset, date: int) -> str:
    """Day of one time step."""
    return str(dataset["time"].values[date])[:10]
