"""Narrow gaps of a scene closed before it is degraded, lest its inputs be worse than real ones.

Scenes that were copied to another grid lack whole rows and columns at regular intervals. The mean
of the known pixels of a blurred block is that of another place then: an error of the input as large
as what a network is to predict. Across a gap of one or two pixels interpolation is far better, and
in a coarser band better still with the detail of the finer ones, which have their gaps elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from decametric.degradation.operators import BlockMean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Bands = dict[int, Array]

STEPS = (-2, -1, 1, 2)
"""Neighbours along a row or column that a pixel is made of."""

GLINTS = 0.02
"""Share of the pixels, those with the strongest curvature, that a regression does not see."""

ENOUGH = 10
"""Pixels for each coefficient that a regression must have; with fewer, gaps are interpolated."""


def closed(bands: Bands) -> Bands:
    """A scene with its narrow gaps closed, from above and below first, then from the sides.

    A gap of one pixel in a 20 or 60 m band is predicted by least squares, fitted to this band of
    this scene, from two neighbours on each side and the block means of all finer bands at the pixel
    and beside it. Elsewhere, by a cubic through the neighbours, or a line. Gaps that are wider than
    two pixels both ways stay.

    Parameters
    ----------
    bands : dict of float32 arrays (band, y, x)
        Bands by resolution, NaN = no data; known pixels are returned as they are.
    """
    result: Bands = {}
    for resolution, native in sorted(bands.items()):
        shape = native.shape[1:]
        finer = [BlockMean(resolution // res).forward(array) for res, array in result.items()]
        guides = np.concatenate(finer) if finer else np.empty((0, *shape), np.float32)
        array = native
        for axis in (1, 2):
            if len(guides):
                array = np.stack([_regressed(band, guides, axis - 1) for band in array])
            array = _interpolated(array, axis)
        result[resolution] = array
    return result


def _shifted(array: Array, step: int, axis: int) -> Array:
    """The neighbours that lie `step` pixels further, NaN beyond the edge."""
    sides = [(0, 0)] * array.ndim
    sides[axis] = (max(-step, 0), max(step, 0))
    padded = np.pad(array, sides, constant_values=np.nan)
    start = max(step, 0)
    return padded.take(range(start, start + array.shape[axis]), axis=axis)


def _interpolated(array: Array, axis: int) -> Array:
    """Gaps of one or two pixels along an axis, by a cubic or by a line."""
    before2, before, after, after2 = (_shifted(array, step, axis) for step in STEPS)
    guesses = (
        (4 * (before + after) - before2 - after2) / 6,
        (before + after) / 2,
        (2 * before + after2) / 3,
        (before2 + 2 * after) / 3,
    )
    for guess in guesses:
        array = np.where(np.isnan(array), guess, array)
    return array


def _regressed(band: Array, guides: Array, axis: int) -> Array:
    """Gaps of one pixel along an axis of a band (y, x), by what its known pixels tell."""
    unknown = np.isnan(band)
    if not unknown.any():
        return band
    own = [_shifted(band, step, axis) for step in STEPS]
    beside = [_shifted(guide, step, axis) for guide in guides for step in (-1, 0, 1)]
    features = np.stack([*own, *beside], axis=-1)
    usable = np.isfinite(features).all(axis=-1)
    known = usable & ~unknown
    if known.sum() < ENOUGH * features.shape[-1]:
        return band
    inputs, values = features[known].astype(float), band[known].astype(float)
    curvature = np.abs(values - (inputs[:, 1] + inputs[:, 2]) / 2)
    calm = curvature <= np.quantile(curvature, 1 - GLINTS)
    inputs, values = inputs[calm], values[calm]
    middle, level = inputs.mean(axis=0), values.mean()
    coefficients = np.linalg.lstsq(inputs - middle, values - level, rcond=1e-4)[0]
    result = band.copy()
    todo = usable & unknown
    result[todo] = (features[todo] - middle) @ coefficients + level
    return result
