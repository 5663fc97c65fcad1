"""The last step of every learned predictor: degraded again, the output equals the measurement.

The set of 10 m images that the forward model D maps onto the measured band is an affine space that
holds the truth. The orthogonal projection onto it, ``y + D^T (D D^T)^-1 (x - D y)``, can therefore
not move the result away from the truth in the mean-square sense. ``(D D^T)^-1`` is a short filter
(see `Degradation.inverse`), so the step is local and its support is counted in the halo. Near
no-data D becomes a weighted mean and the filter an approximation; a few more steps close the gap.
Those reach farther than the halo counts, with ever smaller weight: near no-data the result may
depend on the window by a trace, never on the chunks, since every chunking has the same windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from decametric.bands import BANDS
from decametric.degradation import MIN_WEIGHT, Degradation
from decametric.grid import round_up
from decametric.superres.display import Shown
from decametric.superres.predictor import facts, of_resolution, provenance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from decametric.superres.predictor import Predictor

    Array = NDArray[np.float32]

STEPS_NEAR_GAPS = 6
"""Projection steps in a window with invalid pixels; one is enough elsewhere.

Each lowers the residual by about five. On roofs that glint it starts at some hundred DN and four
steps left 0.7 DN on a real scene; six leave 0.01.
"""


@dataclass(frozen=True, repr=False)
class Consistent(Shown):
    """A predictor whose output, degraded, equals the measured band to far less than half a DN."""

    predictor: Predictor
    """What is projected; it must read every band that it returns."""

    @property
    def bands_in(self) -> tuple[str, ...]:
        """Bands of the wrapped predictor."""
        return self.predictor.bands_in

    @property
    def bands_out(self) -> tuple[str, ...]:
        """Bands of the wrapped predictor."""
        return self.predictor.bands_out

    @property
    def halo(self) -> int:
        """Halo of the wrapped predictor plus the support of the projection."""
        support = max(operator.projection_support for operator, _, _ in self._groups())
        return round_up(self.predictor.halo + support)

    @property
    def provenance(self) -> dict[str, object]:
        """Facts of the wrapped predictor and the operator that was projected with."""
        return {**provenance(self.predictor), "consistency": "projection, gaussian sigma 1/ratio"}

    def _rows(self) -> list[tuple[str, ...]]:
        """What it is, the projection included."""
        return [("predictor", str(self.provenance["name"])), *facts(self)]

    def __getattr__(self, name: str) -> object:
        """Optional attributes (``name``, ``level``, ``flops``) are the wrapped predictor's."""
        if name.startswith("__") or name == "predictor":
            raise AttributeError(name)
        return getattr(self.predictor, name)

    def _groups(self) -> list[tuple[Degradation, list[int], list[int]]]:
        """Operator, positions in the output, and positions among the inputs of that resolution."""
        groups = []
        for resolution in sorted({BANDS[band].resolution for band in self.bands_out}):
            bands = of_resolution(self.bands_out, resolution)
            inputs = of_resolution(self.bands_in, resolution)
            rows = [self.bands_out.index(band) for band in bands]
            groups.append((Degradation(resolution // 10), rows, [inputs.index(b) for b in bands]))
        return groups

    def __call__(self, b10: Array, b20: Array, b60: Array) -> Array:
        """Predict and project one window."""
        return self.project(self.predictor(b10, b20, b60), b20, b60)

    def project(
        self, fine: Array, b20: Array, b60: Array, valid: NDArray[np.bool_] | None = None
    ) -> Array:
        """Project a prediction onto the measurements.

        Parameters
        ----------
        fine : float32 array (band, y, x)
            Prediction of `bands_out`. The arrays end where the scene ends, or in the halo.
        b20, b60 : float32 arrays (band, y / 2, x / 2), (band, y / 6, x / 6)
            Measurements, without NaN.
        valid : bool array (band, y, x), optional
            Output pixels that will be kept; the others carry no weight.

        Returns
        -------
        float32 array (band, y, x)
        """
        result = np.empty_like(fine)
        for operator, rows, columns in self._groups():
            measured = (b20 if operator.ratio == 2 else b60)[columns]  # noqa: PLR2004
            kept = None if valid is None else valid[rows]
            result[rows] = project(fine[rows], measured, operator, kept)
        return result


def project(
    fine: Array, measured: Array, operator: Degradation, valid: NDArray[np.bool_] | None = None
) -> Array:
    """Project (band, y, x) onto the images that `operator` maps onto `measured`."""
    if valid is None or valid.all():
        return fine + operator.adjoint(operator.solve(measured - operator.forward(fine)))
    for _ in range(STEPS_NEAR_GAPS):
        value, weight = operator.weighted(fine, valid)
        gap = np.where(weight >= MIN_WEIGHT, measured - value, np.float32(0))
        fine = fine + operator.adjoint(operator.solve(gap)) * valid
    return fine
