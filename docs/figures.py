# ruff: noqa: INP001  (scripts of the site, no package)
"""The figures of the page on the numbers, made by the code that the page is about.

``python docs/figures.py`` writes them anew into ``docs/figures``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from odc.geo.geobox import GeoBox

import decametric as dm
from decametric.grid import crop, nested
from decametric.superres.consistency import Consistent
from decametric.testing import synthetic_scene
from decametric.testing.lazy import coarse_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

SIZE = 240
"""Edge of the scene in 10 m pixels, a multiple of 12."""
DN = 10_000


def offsets(catalog: Path) -> Figure:
    """An index from reflectance, and from numbers whose offset was left in."""
    scene = dm.load(catalog)["r10m"].isel(time=0)
    red, nir = (scene[band].values for band in ("B04", "B08"))
    right, wrong = (ndvi(red + shift, nir + shift) for shift in (0, 0.1))
    figure, axes = panels(3)
    for axis, image, title in zip(axes, (right, wrong), ("applied", "left in"), strict=False):
        show(axis, image, f"NDVI, offset {title}", cmap="YlGn", vmin=0, vmax=1)
    bins = np.linspace(-0.2, 1, 49)
    axes[2].hist(right.ravel(), bins, histtype="step", label="applied", color="tab:green")
    axes[2].hist(wrong.ravel(), bins, histtype="step", label="left in", color="tab:red")
    axes[2].set_title("pixels by NDVI", fontsize=10)
    axes[2].legend(frameon=False, loc="upper left")
    axes[2].set_yticks([])
    axes[2].spines[["top", "left", "right"]].set_visible(False)
    return figure


def ndvi(red: NDArray[Any], nir: NDArray[Any]) -> NDArray[Any]:
    """Normalised difference of near infrared and red."""
    index: NDArray[Any] = (nir - red) / (nir + red)
    return index


def grids(_: Path) -> Figure:
    """Nested grids with an area of interest, and a southern grid with what snapping makes of it."""
    figure, axes = panels(2)
    coarse = coarse_grid(24)
    area = crop(coarse, window=((7, 17), (7, 11)))
    for resolution, color, width in (
        (10, "0.8", 0.5),
        (20, "0.6", 0.8),
        (60, "0.3", 1.3),
    ):
        lines(axes[0], nested(coarse)[resolution], color, width)
    wanted = nested(coarse)[10][7:17, 7:11]
    outline(axes[0], wanted, color="tab:red", label="area asked for")
    outline(axes[0], area, color="tab:blue", label="area read")
    axes[0].set_title("60, 20 and 10 m share corner and extent", fontsize=10)
    south = coarse_grid(24, (831420, 8258800), 32722)
    snapped = GeoBox.from_bbox(south.boundingbox, south.crs, resolution=60)
    lines(axes[1], south, "0.3", 1.3)
    lines(axes[1], snapped, "tab:red", 1, "--")
    axes[1].plot([], [], color="0.3", label="grid of tile 22LHH")
    axes[1].plot([], [], color="tab:red", ls="--", label="snapped to multiples of 60 m")
    axes[1].set_title("a southern tile, and what snapping does", fontsize=10)
    for axis in axes:
        axis.set_aspect("equal")
        axis.set_axis_off()
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False, fontsize=9)
    return figure


def lines(axis: Axes, box: GeoBox, color: str, width: float, style: str = "-") -> None:
    """The borders of all pixels of a grid, in metres."""
    corner = box.transform
    xs = corner.c + corner.a * np.arange(box.shape.x + 1)
    ys = corner.f + corner.e * np.arange(box.shape.y + 1)
    axis.vlines(xs, ys[0], ys[-1], color, style, linewidth=width)
    axis.hlines(ys, xs[0], xs[-1], color, style, linewidth=width)


def outline(axis: Axes, box: GeoBox, **style: Any) -> None:  # noqa: ANN401
    """The border of a grid."""
    left, bottom, right, top = box.boundingbox.bbox
    axis.plot([left, right, right, left, left], [top, top, bottom, bottom, top], lw=2, **style)


def seams(catalog: Path) -> Figure:
    """One scene in two halves: sharpened as a whole, and each half by itself."""
    whole, apart = together(catalog), halves(catalog)
    difference = abs(whole - apart).values * DN
    middle = whole.shape[1] // 2
    rows, cols = slice(0, min(72, 2 * middle)), slice(max(0, middle - 36), middle + 36)
    figure, axes = panels(3)
    for axis, image, title in zip(
        axes,
        (whole, apart),
        ("in chunks of 60 pixels", "each half by itself"),
        strict=False,
    ):
        show(axis, image.values[rows, cols], title, cmap="gray", vmin=0, vmax=0.4)
    axes[2].plot(difference.max(axis=0), color="tab:red", lw=1)
    axes[2].set_title("largest difference in each column, DN", fontsize=10)
    axes[2].set_xlabel("column")
    axes[2].spines[["top", "right"]].set_visible(False)
    return figure


def together(catalog: Path) -> xr.DataArray:
    """Band 12 of the scene in chunks."""
    scene = dm.load(catalog, chunk=60)
    return dm.sharpen(scene, "bicubic", bands=["B12"]).B12.isel(time=0).compute()


def halves(catalog: Path) -> xr.DataArray:
    """The same of two halves, as if each were a scene."""
    size = dm.load(catalog)["r10m"].sizes["x"]
    windows = [((0, size), (start, start + size // 2)) for start in (0, size // 2)]
    parts = [dm.sharpen(dm.load(catalog, window=w), "bicubic", bands=["B12"]) for w in windows]
    return xr.concat([part.B12.isel(time=0).compute() for part in parts], "x")


def consistency(catalog: Path) -> Figure:
    """What is left of the measurement after sharpening, with and without projection."""
    scene = dm.load(catalog)
    measured = scene["r20m"].B12.isel(time=0)
    figure, axes = panels(3)
    show(axes[0], measured.values, "B12 as measured, 20 m", cmap="gray", vmin=0, vmax=0.4)
    known = {"bicubic": dm.Bicubic(), "bicubic, projected": Consistent(dm.Bicubic())}
    for axis, (name, predictor) in zip(axes[1:], known.items(), strict=True):
        fine = dm.sharpen(scene, predictor, bands=["B12"]).B12.isel(time=0)
        left = (dm.degrade_image(fine, 2) - measured).values * DN
        drawn = show(axis, left, f"{name}: residual", cmap="RdBu", vmin=-150, vmax=150)
    figure.colorbar(drawn, ax=axes, label="DN", shrink=0.75)
    return figure


FIGURES: dict[str, Callable[[Path], Figure]] = {
    each.__name__: each for each in (offsets, grids, seams, consistency)
}
"""Every figure by the name of its file."""


def panels(count: int) -> tuple[Figure, NDArray[Any]]:
    """A figure with panels side by side."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    return figure, figure.subplots(1, count)


def show(axis: Axes, image: NDArray[Any], title: str, **style: Any) -> Any:  # noqa: ANN401
    """One picture without ticks."""
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()
    return axis.imshow(image, interpolation="nearest", **style)


def draw(folder: Path, size: int = SIZE) -> None:
    """Write all figures."""
    with TemporaryDirectory() as made:
        catalog = synthetic_scene(made, size=size, dates=1)
        for name, figure in FIGURES.items():
            figure(catalog).savefig(folder / f"{name}.png", dpi=100)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "figures")
