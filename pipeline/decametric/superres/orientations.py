"""The eight ways in which a square pixel grid can lie, and the mean of a network over them.

Land has no orientation, a network's errors do: the mean over turned and flipped inputs is nearer to
the truth (geometric self-ensemble, Lim et al. 2017, doi:10.1109/CVPRW.2017.151), at as many times
the cost.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

ORIENTATIONS = 8
"""Four turns, each as it is and flipped."""

TURNS = ORIENTATIONS // 2
"""Quarters of a full turn."""

GROUPS = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3), 8: tuple(range(ORIENTATIONS))}
"""Orientations that are a whole together: as it is; half turns; quarter turns; all."""


def turned(images: Array, kind: int) -> Array:
    """(any, y, x, ...) in one of eight orientations: turned, and flipped from the fifth on."""
    result = np.rot90(images, kind % TURNS, axes=(1, 2))
    return result[:, :, ::-1] if kind >= TURNS else result


def turned_back(images: Array, kind: int) -> Array:
    """The inverse of `turned`."""
    flipped = images[:, :, ::-1] if kind >= TURNS else images
    return np.rot90(flipped, -kind % TURNS, axes=(1, 2))


def mean_output(network: keras.Model, inputs: Sequence[Array], kinds: Sequence[int]) -> Array:
    """Mean of a network's outputs over orientations of its inputs.

    Parameters
    ----------
    network : keras.Model
        Any network of the family.
    inputs : sequence of arrays (image, y, x, band)
        Every resolution on the 10 m grid.
    kinds : sequence of int
        Orientations, 0 to 7.
    """
    from decametric.superres.networks import run

    def output(kind: int) -> Array:
        images = [np.ascontiguousarray(turned(image, kind)) for image in inputs]
        return turned_back(np.asarray(run(network, images)), kind)

    # Added one by one: a window may be large.
    total: Array = reduce(np.add, map(output, kinds))
    return total / np.float32(len(kinds))
