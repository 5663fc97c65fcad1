"""What FSIM finds in one block: its mean, its amplitudes, and how similar its features are."""

from __future__ import annotations

from typing import Any

import numpy as np

from decametric.metrics.margin import INNER, MARGIN
from decametric.metrics.phase import (
    ORIENTATIONS,
    Floats,
    Singles,
    count_amplitudes,
    noise_of,
    phase_congruency,
)
from decametric.metrics.reduction import weigh

T1, T2 = 0.85, 160.0
"""Constants of the similarity of phase congruency and of gradients, the latter on 0 to 255."""

SCALE = 255.0
"""Data range that the constants are meant for."""


def sum_valid(
    reference: Any,  # noqa: ANN401
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    axes: tuple[int, ...],
    skipna: bool,
) -> Floats:
    """Sum and number of the pixels of the reference that count."""
    x, _, w = weigh(reference, test, weights, skipna=skipna)
    counts = np.ones_like(x) if w is None else w > 0
    return np.stack([x.sum(axes, keepdims=True), counts.sum(axes, keepdims=True)], axis=-1)


def count_block(
    reference: Any,  # noqa: ANN401
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    mean: Floats,
    *,
    span: float,
    skipna: bool,
    steps: int,
) -> Floats:
    """State of a block: histograms of amplitudes (image, orientation, bin) in one line."""
    images, w = _prepared(reference, test, weights, mean, span=span, skipna=skipna)
    valid = None if w is None else w > 0
    return np.stack([count_amplitudes(image, valid, steps) for image in images])


def noise_of_state(state: Floats) -> Floats:
    """Energy of the noise (..., image, orientation) from merged histograms."""
    return noise_of(state.reshape(*state.shape[:-1], 2, ORIENTATIONS, -1))


def score_block(
    reference: Any,  # noqa: ANN401
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    mean: Floats,
    noise: Floats,
    *,
    span: float,
    skipna: bool,
) -> Floats:
    """State of a block: sums of m S, m, S and 1, each times the weights."""
    (x, y), w = _prepared(reference, test, weights, mean, span=span, skipna=skipna)
    of_x, of_y = noise.reshape(2, ORIENTATIONS)
    p_x, p_y = phase_congruency(x, of_x), phase_congruency(y, of_y)
    similarity = _alike(p_x, p_y, T1) * _alike(_gradient(x), _gradient(y), T2)
    strength = np.maximum(p_x, p_y)
    parts = (strength * similarity, strength, similarity, np.ones_like(strength))
    if w is None:
        return np.array([part.sum(dtype=np.float64) for part in parts])
    return np.array([(part[w > 0] * w[w > 0]).sum() for part in parts])


def pooled(state: Floats) -> Floats:
    """The score: weighted by phase congruency, or by nothing where there is none at all."""
    featured = state[..., 1] != 0
    score = np.where(featured, state[..., 0] / state[..., 1], state[..., 2] / state[..., 3])
    return np.minimum(score, 1)  # single precision may round a similarity up


def _prepared(
    reference: Any,  # noqa: ANN401
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    mean: Floats,
    *,
    span: float,
    skipna: bool,
) -> tuple[tuple[Singles, Singles], Floats | None]:
    """Both images (y, x) about their mean on the scale of 0 to 255, and the inner weights.

    The mean is taken away before single precision, in which a bright image has few digits left;
    the filters do not see it.
    """
    planes = (None if array is None else array.squeeze() for array in (reference, test, weights))
    x, y, w = weigh(*planes, skipna=skipna)
    total, number = mean.ravel()
    near = [(each - total / max(number, 1)) * (SCALE / span) for each in (x, y)]
    if w is not None:
        near = [np.where(w > 0, each, 0) for each in near]
    images = near[0].astype(np.float32), near[1].astype(np.float32)
    return images, None if w is None else w[INNER]


def _alike(a: Singles, b: Singles, constant: float) -> Singles:
    c: Any = np.float32(constant)
    similarity: Singles = (2 * a * b + c) / (a * a + b * b + c)
    return similarity


def _gradient(image: Singles) -> Singles:
    """Magnitude of Scharr's gradient, over 16, of the inner pixels."""
    near = image[MARGIN - 1 : 1 - MARGIN, MARGIN - 1 : 1 - MARGIN]
    rows = near[2:] - near[:-2]
    columns = near[:, 2:] - near[:, :-2]
    down = (3 * (rows[:, :-2] + rows[:, 2:]) + 10 * rows[:, 1:-1]) / 16
    right = (3 * (columns[:-2] + columns[2:]) + 10 * columns[1:-1]) / 16
    magnitude: Singles = np.sqrt(down * down + right * right)
    return magnitude
