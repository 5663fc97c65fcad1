"""What a network is given and what becomes of its output, in use and in training alike.

Every resolution is interpolated to the 10 m grid and scaled, channels last. Before that, a bundle
may ask for an *exposure* of the bands: a factor for each band, which changes slowly over the scene,
brings it to what the network knows, and the output is divided by it again. There are two:

- Snow and ice reflect up to ten times as much as what our networks learned from. Where a band is
  brighter than `CEILING` about a pixel, it is darkened to that. Below, the factor is exactly 1.
- Water vapour takes a half to six sevenths of B09 at the top of the atmosphere, other amounts on
  other days; L2A gives it back. B8A, whose wavelengths lie beside, sees next to nothing of it. So
  B09 is made as bright about each pixel as B8A: with any vapour, at either level, a network sees
  the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import correlate1d

from decametric.bands import NETWORK_BANDS, RESOLUTIONS
from decametric.superres.predictor import upsample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

SCALING = 0.2
"""Reflectance that becomes 1 for the network, as in the DSen2 family."""

CEILING = 0.5
"""Mean reflectance about a pixel above which a band is darkened; deserts and roofs in the training
scenes come to 0.57 at most, snow to 1."""

FLOOR = 0.005
"""Reflectance that is added where B09 is divided by: water is nearly black in it."""

B8A, B09 = NETWORK_BANDS[20].index("B8A"), NETWORK_BANDS[60].index("B09")


def network_inputs(
    images: dict[int, Array], context: int = 0, scaling: float = SCALING
) -> tuple[list[Array], Array]:
    """What a network takes.

    Parameters
    ----------
    images : dict of float32 arrays (n, band, y, x)
        Reflectance without NaN, by resolution, with the bands of `NETWORK_BANDS`.
    context : int
        Pixels of the coarsest bands on each side that decide the exposure; 0: none.
    scaling : float
        Reflectance that becomes 1.

    Returns
    -------
    inputs : list of float32 arrays (n, y, x, band)
        Every resolution on the 10 m grid.
    gain : float32 array (n, band, y, x), or 1 where there is no exposure
        Factors that the output of the network carries, at 10 m.
    """
    coarsest, inputs = max(images), []
    gains = exposures(images, context) if context else {}
    for resolution in sorted(images):
        image = images[resolution]
        if gains:
            image = image * _spread(gains[resolution], coarsest // resolution)
        fine = _spread(image, resolution // RESOLUTIONS[0])
        inputs.append(np.ascontiguousarray(np.moveaxis(fine / np.float32(scaling), 1, -1)))
    if gains:
        return inputs, _spread(gains[coarsest], coarsest // RESOLUTIONS[0])
    return inputs, np.ones((), np.float32)


def network_output(output: NDArray[Any], gain: Array, scaling: float = SCALING) -> Array:
    """Reflectance (n, band, y, x) that the output (n, y, x, band) of a network means."""
    sharp = np.moveaxis(np.asarray(output, np.float32), -1, 1) * np.float32(scaling)
    return sharp / gain


def exposures(images: dict[int, Array], context: int) -> dict[int, Array]:
    """Factors of every band, by resolution, one for each pixel of the coarsest bands.

    Parameters
    ----------
    images : dict of float32 arrays (n, band, y, x)
        As for `network_inputs`; mirrored about their edges.
    context : int
        Coarse pixels on each side over which the mean is taken.
    """
    coarsest = max(images)
    means = {res: _means(image, coarsest // res, context) for res, image in images.items()}
    gains = {res: CEILING / np.maximum(mean, CEILING) for res, mean in means.items()}
    if coarsest == RESOLUTIONS[-1]:
        beside = np.maximum(means[20][:, B8A] * gains[20][:, B8A], 0) + FLOOR
        gains[60][:, B09] = beside / (np.maximum(means[60][:, B09], 0) + FLOOR)
    return {res: gain.astype(np.float32) for res, gain in gains.items()}


def _means(image: Array, step: int, context: int) -> NDArray[np.float64]:
    """Mean about each coarse pixel, which is `step` pixels of `image` wide."""
    *lead, rows, cols = image.shape
    blocks = image.reshape(*lead, rows // step, step, cols // step, step)
    mean = blocks.mean(axis=(-3, -1), dtype=float)
    # Each is summed by itself: running sums would carry the rounding of far pixels along.
    weights = np.full(2 * context + 1, 1 / (2 * context + 1))
    for axis in (-2, -1):
        mean = correlate1d(mean, weights, axis=axis, mode="reflect")
    return np.asarray(mean)


def _spread(image: Array, times: int) -> Array:
    return upsample(image, times, "bilinear") if times > 1 else image
