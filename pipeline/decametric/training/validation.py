"""How good a network is on patches that it does not learn from, beside bicubic interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from decametric.bands import NETWORK_BANDS, RESOLUTIONS
from decametric.degradation import Degradation
from decametric.superres import networks
from decametric.superres.consistency import project
from decametric.superres.feed import network_inputs, network_output
from decametric.superres.predictor import upsample
from decametric.training.batches import reflectance

if TYPE_CHECKING:
    import keras

    from decametric.training.batches import Array, Patches, PatchSet

DN = 10_000
"""Digital numbers of a reflectance of 1."""


def validate(
    model: keras.Model, patches: PatchSet, ratio: int, context: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """RMSE of each band in digital numbers, of a network and of bicubic interpolation.

    The output is projected onto the measured bands, as it will be in use.

    Parameters
    ----------
    model : keras.Model
        In float32.
    patches : PatchSet
        All of it is used.
    ratio : {2, 6}
        Ratio of the network.
    context : int
        Coarse pixels on each side that decide the exposure; 0: none.
    """
    bands = NETWORK_BANDS[10 * ratio]
    sums, known = np.zeros((2, len(bands))), np.zeros(len(bands))
    for group, part in patches.chunks():
        some = reflectance(patches.read(group, part))
        measured = some[f"b{10 * ratio}"]
        images = sharpened(model, some, ratio, context), upsample(measured, ratio, "bicubic")
        valid = np.isfinite(some["target"])
        known += valid.sum(axis=(0, 2, 3))
        for row, image in enumerate(images):
            error = np.where(valid, image - some["target"], 0).astype(float)
            sums[row] += (error**2).sum(axis=(0, 2, 3))
    roots = DN * np.sqrt(sums / np.maximum(known, 1))
    network, bicubic = (dict(zip(bands, map(float, row), strict=True)) for row in roots)
    return network, bicubic


def sharpened(model: keras.Model, patches: Patches, ratio: int, context: int = 0) -> Array:
    """What a predictor would return, (patch, band, y, x)."""
    images = {res: patches[name] for res in RESOLUTIONS if (name := f"b{res}") in patches}
    inputs, gain = network_inputs(images, context)
    sharp = np.ascontiguousarray(network_output(networks.run(model, inputs), gain))
    return project(sharp, images[10 * ratio], Degradation(ratio))
