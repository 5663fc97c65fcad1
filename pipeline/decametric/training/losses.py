"""Masked losses on the error of a network, as it is or as the projection will leave it.

Everything is Keras operations, so that every backend differentiates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from decametric.degradation import Degradation

if TYPE_CHECKING:
    from collections.abc import Callable

    Tensor = Any


TINY = 1e-8
"""Added to a mean square before its root, whose slope at nothing is infinite; 0.2 DN, squared."""

NOISE = 1e-6
"""Added to a mean square before its logarithm, which has no lower end; 2 DN, squared."""


def masked_loss(kind: str, ratio: int, *, project: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss for `keras.Model.compile`.

    Parameters
    ----------
    kind : {"l1", "l2", "rmse", "log"}
        Mean absolute or mean squared error over the known pixels; or the RMSE over those of each
        band of each patch, or its natural logarithm, averaged over bands and patches that have any.
    ratio : int
        Ratio of the network.
    project : bool
        Measure the error after the consistency step, see `unseen`.

    Returns
    -------
    callable
        Of the target (n, y, x, 2 * band: values, then weights) and the output (n, y, x, band).
    """

    def loss(target: Tensor, output: Tensor) -> Tensor:
        values, weights = ops.split(target, 2, axis=-1)
        known = ops.cast(weights > 0, "float32")
        error = (ops.cast(output, "float32") - values) * weights
        if project:
            error = unseen(error, Degradation(ratio)) * known
        if kind in ("rmse", "log"):
            count = ops.sum(known, axis=(1, 2))
            square = ops.sum(ops.square(error), axis=(1, 2)) / ops.maximum(count, 1.0)
            each = ops.sqrt(square + TINY) if kind == "rmse" else ops.log(square + NOISE) / 2
            some = ops.cast(count > 0, "float32")
            return ops.sum(each * some) / ops.maximum(ops.sum(some), 1.0)
        size = ops.abs(error) if kind == "l1" else ops.square(error)
        return ops.sum(size) / ops.maximum(ops.sum(known), 1.0)

    return loss


def unseen(error: Tensor, operator: Degradation) -> Tensor:
    """The part of an error that the coarse sensor does not see, ``e - D^T (D D^T)^-1 D e``.

    The projection of a prediction ``y`` onto the measurements ``D t`` of the truth ``t`` has
    this error where ``y`` has the error ``e = y - t``. A network that is trained on it spends
    nothing on what the projection will repair.

    Parameters
    ----------
    error : float32 tensor (n, y, x, band)
    operator : Degradation
        The forward model D.
    """
    ratio = operator.ratio
    box = np.convolve(operator.kernel, np.full(ratio, 1 / ratio))
    seen = _separable(error, box, operator.radius, stride=ratio)
    solved = _separable(seen, operator.inverse, len(operator.inverse) // 2)
    spread = ops.repeat(ops.repeat(solved, ratio, axis=1), ratio, axis=2)
    return error - _separable(spread, operator.kernel / ratio, operator.radius)


def _separable(image: Tensor, taps: Any, margin: int, stride: int = 1) -> Tensor:  # noqa: ANN401
    """Correlate (n, y, x, band) with ``taps x taps``, mirrored at the edges by `margin` pixels."""
    kernel = np.outer(taps, taps).astype(np.float32)[:, :, None, None]
    kernel = np.repeat(kernel, image.shape[-1], axis=2)
    sides = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
    padded = ops.pad(image, sides, mode="symmetric") if margin else image
    return ops.depthwise_conv(padded, kernel, strides=stride, padding="valid")
