"""A network taught by the mean of its own outputs in several orientations.

Land has no orientation, a network's errors do: the mean over turned and flipped inputs is nearer to
the truth (geometric self-ensemble, Lim et al. 2017, doi:10.1109/CVPRW.2017.151), at as many times
the cost. A network that learns this mean (distillation, Hinton, Vinyals and Dean 2015,
arXiv:1503.02531) takes part of the gain along at its own cost, above all on land of other kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from decametric.superres import networks
from decametric.training.batches import turned, turned_back
from decametric.training.config import ORIENTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import keras

    from decametric.training.batches import Array


def mean_output(network: keras.Model, inputs: Sequence[Array], kinds: Iterable[int]) -> Array:
    """Mean of a network's outputs over orientations of its inputs.

    Parameters
    ----------
    network : keras.Model
        The teacher.
    inputs : sequence of arrays (patch, y, x, band)
        Square patches.
    kinds : iterable of int
        Orientations, 0 to 7.
    """
    outputs = []
    for kind in kinds:
        images = [np.ascontiguousarray(turned(image, kind)) for image in inputs]
        outputs.append(turned_back(np.asarray(networks.run(network, images)), kind))
    mean: Array = np.mean(outputs, axis=0)
    return mean


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
    network, inputs
        As for `mean_output`.
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
    kinds = rng.choice(ORIENTATIONS, count, replace=False)
    values = mean_output(network, inputs, map(int, kinds))
    weights = np.split(target, 2, axis=-1)[1].max(axis=(1, 2), keepdims=True)
    return np.concatenate([values, np.broadcast_to(weights, values.shape)], axis=-1)
