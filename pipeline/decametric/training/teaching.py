"""A network taught by the mean of its own outputs in several orientations.

That mean is nearer to the truth, see `decametric.superres.orientations`, at as many times the cost.
A network that learns it (distillation, Hinton, Vinyals and Dean 2015, arXiv:1503.02531) takes part
of the gain along at its own cost, above all on land of other kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from decametric.superres.orientations import ORIENTATIONS, mean_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from decametric.training.batches import Array


def taught(
    network: keras.Model,
    inputs: Sequence[Array],
    target: Array,
    count: int,
    rng: np.random.Generator,
) -> Array:
    """The mean over random orientations in place of what was measured.

    Parameters
    ----------
    network : keras.Model
        The teacher.
    inputs : sequence of arrays (patch, y, x, band)
        Square patches.
    target : array (patch, y, x, 2 * band)
        Values and weights as `decametric.training.batches.arrays` makes them.
    count : int
        Orientations, 1 to 8, drawn anew for each batch.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    array (patch, y, x, 2 * band)
        Values everywhere, with the weight that the known pixels of the band have.
    """
    kinds = rng.choice(ORIENTATIONS, count, replace=False).tolist()
    values = mean_output(network, inputs, kinds)
    weights = np.split(target, 2, axis=-1)[1].max(axis=(1, 2), keepdims=True)
    return np.concatenate([values, np.broadcast_to(weights, values.shape)], axis=-1)
