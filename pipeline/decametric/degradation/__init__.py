"""The forward model of Wald's protocol: what a coarser sensor would have measured.

Training, assessment and the consistency step all stand on one operator, `Degradation`; the blur of
the sensor itself and the plain block mean are there to judge results with.
"""

from __future__ import annotations

import decametric.fusion  # noqa: F401  (as for the bands of a scene)
from decametric.degradation.images import MTF, OPERATORS, degrade_image
from decametric.degradation.operators import MIN_WEIGHT, Degradation, Operator
from decametric.degradation.scenes import degrade

__all__ = [
    "MIN_WEIGHT",
    "MTF",
    "OPERATORS",
    "Degradation",
    "Operator",
    "degrade",
    "degrade_image",
]
