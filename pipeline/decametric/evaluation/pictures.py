"""Pictures of one detail of a scene: what goes in, what comes out, what it should be, the error."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import dask
import numpy as np

from decametric.bands import BANDS, group
from decametric.degradation import degrade
from decametric.evaluation.assess import bands_of, sharpened
from decametric.evaluation.tables import stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from decametric.superres.predictor import Predictor

    Floats = NDArray[np.floating[Any]]

EDGE = 120
"""Edge of the detail in pixels of the reference, at most."""

FALSE_COLOUR = ("B12", "B8A", "B05")
"""Bands that are drawn as red, green and blue; of B01 and B09, which are two, the mean is green."""

STRETCH = (2, 98)
"""Percentiles of the reference that are drawn black and at full brightness."""

NO_DATA = 0.85
"""Grey of pixels without data."""

ERRORS = "inferno"
"""Colours of errors: even steps to every eye, in print too (Matplotlib)."""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption."""

    title: str
    """What it shows."""
    uri: str
    """PNG as a data URI."""


@dataclass(frozen=True)
class Detail:
    """All pictures of one ratio."""

    ratio: int
    """Pixel size of the input over that of the others."""
    bands: tuple[str, ...]
    """Bands that are drawn."""
    images: tuple[Picture, ...]
    """Input, what every predictor makes of it, reference."""
    errors: tuple[Picture, ...]
    """Mean of the absolute errors of the bands, for every predictor, on one scale."""
    brightest: float
    """Error in reflectance that is drawn brightest."""
    scale: str
    """The scale from 0 to `brightest` as a PNG data URI."""


def detail(
    scene: xr.DataTree, predictors: Mapping[str, Predictor], ratio: int, *, any_level: bool = False
) -> Detail:
    """Draw the part of one date that has most contrast, as Wald's protocol sees it.

    Parameters
    ----------
    scene : xarray.DataTree
        One date.
    predictors : mapping of str to Predictor
        What is drawn side by side.
    ratio : {2, 6}
        Which bands.
    any_level : bool
        As in `decametric.assess`.

    Returns
    -------
    Detail
        The networks run where the detail lies; nothing else is computed.
    """
    bands = bands_of(scene, ratio)
    drawn = [band for band in FALSE_COLOUR if band in bands] or bands
    coarse, child = degrade(scene, ratio), group(10 * ratio)
    given = stack(coarse[child].to_dataset(), drawn).isel(time=0)
    truth = stack(scene[child].to_dataset(), drawn).isel(time=0)
    images = sharpened(coarse, dict(predictors), drawn, any_level=any_level)
    rows, cols = liveliest(given[0].values, max(1, EDGE // ratio))
    fine = (..., _times(rows, ratio), _times(cols, ratio))
    made = {name: image.isel(time=0).data[fine] for name, image in images.items()}
    before, after, goal = dask.compute(given.data[..., rows, cols], made, truth.data[fine])
    return _draw(before, after, goal, ratio, tuple(drawn))


def _draw(
    given: Floats, made: Mapping[str, Floats], truth: Floats, ratio: int, bands: tuple[str, ...]
) -> Detail:
    """Pictures of arrays (band, y, x), without bands that hold no data here."""
    seen = [n for n, band in enumerate(truth) if np.isfinite(band).any()]
    if 0 < len(seen) < len(bands):
        made = {name: image[seen] for name, image in made.items() if len(image) == len(truth)}
        return _draw(given[seen], made, truth[seen], ratio, tuple(bands[n] for n in seen))
    limits = np.nanpercentile(truth, STRETCH, axis=(1, 2), keepdims=True)
    given = given.repeat(ratio, axis=1).repeat(ratio, axis=2)
    metres = BANDS[bands[0]].resolution
    shown = {
        f"input, {metres * ratio} m": given,
        **{
            f"{name}, {metres} m": image for name, image in made.items() if len(image) == len(truth)
        },
        f"reference, {metres} m": truth,
    }
    errors = {
        name: np.abs(i - truth).mean(axis=0) for name, i in made.items() if len(i) == len(truth)
    }
    brightest = float(np.nanpercentile(np.stack(list(errors.values())), STRETCH[1])) or 1.0
    return Detail(
        ratio,
        bands,
        tuple(Picture(title, png(colours(image, limits))) for title, image in shown.items()),
        tuple(Picture(title, png(heat(error / brightest))) for title, error in errors.items()),
        brightest,
        png(heat(np.linspace(0, 1, 256)[None])),
    )


def liveliest(band: Floats, edge: int) -> tuple[slice, slice]:
    """Rows and columns of the square with the largest standard deviation.

    Parameters
    ----------
    band : array (y, x)
        NaN where there is no data, which counts as no contrast.
    edge : int
        Edge of the square, cut to the size of the band.
    """
    high, wide = (min(edge, size) for size in band.shape)
    down, across = band.shape[0] // high, band.shape[1] // wide
    valid = np.isfinite(band)
    filled = np.where(valid, band, band[valid].mean() if valid.any() else 0)
    cells = filled[: down * high, : across * wide].reshape(down, high, across, wide)
    row, col = divmod(int(cells.std(axis=(1, 3)).argmax()), across)
    return slice(row * high, (row + 1) * high), slice(col * wide, (col + 1) * wide)


def colours(image: Floats, limits: Floats) -> Floats:
    """(band, y, x) -> (y, x, 3) from 0 to 1; one band becomes grey, of two the mean is green."""
    low, high = limits
    layers = np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1)
    if len(layers) == 2:  # noqa: PLR2004  (see above)
        layers = np.stack([layers[1], layers.mean(axis=0), layers[0]])
    picture = np.moveaxis(np.broadcast_to(layers, (3, *layers.shape[1:])), 0, -1)
    return np.where(np.isnan(picture), NO_DATA, picture)


def heat(errors: Floats) -> Floats:
    """(y, x) from 0 to 1 -> (y, x, 3) in the colours of errors."""
    from matplotlib import colormaps

    picture = np.asarray(colormaps[ERRORS](np.clip(errors, 0, 1)))[..., :3]
    picture[np.isnan(errors)] = NO_DATA
    return picture


def png(picture: Floats) -> str:
    """(y, x, 3) from 0 to 1 as a PNG in a data URI."""
    from matplotlib.image import imsave

    buffer = BytesIO()
    imsave(buffer, np.round(picture * 255).astype(np.uint8), format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _times(part: slice, ratio: int) -> slice:
    """A slice on a grid that is finer."""
    return slice(part.start * ratio, part.stop * ratio)
