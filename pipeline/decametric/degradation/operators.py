"""Forward models: what a coarser sensor would have measured, as functions of arrays.

All of them work on the last two axes (y, x), mirror at the array's edges about the raster edge
(SciPy's ``reflect``, NumPy's ``symmetric``), and keep the floating type of what they get.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import correlate1d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

NEGLIGIBLE = 1e-6
"""Blur weights below this are dropped; for ratio 6 that leaves the plain block mean."""

MIN_WEIGHT = 0.5
"""A degraded pixel is valid where at least this share of its weight fell on valid pixels."""

REACH = 8
"""Standard deviations after which the Gaussian of a sensor is cut: 1e-14 of its peak."""


@dataclass(frozen=True)
class Operator(ABC):
    """A linear map from a fine grid to one that is `ratio` times coarser."""

    ratio: int
    """Coarse pixel size over fine pixel size."""

    @property
    @abstractmethod
    def radius(self) -> int:
        """Fine pixels beyond a coarse pixel that it reads."""

    @abstractmethod
    def forward(self, fine: Array) -> Array:
        """Degrade: (..., y, x) -> (..., y / ratio, x / ratio)."""

    def share(self, valid: NDArray[np.bool_], dtype: np.dtype[np.float32]) -> Array:
        """Share of each coarse pixel's weight that falls on valid fine pixels, 0 to 1."""
        # Not the sum of the valid weights: where all is valid, that would be 1 but for rounding,
        # and the value of a pixel would tell whether a gap lay anywhere in its chunk.
        return 1 - self.forward((~valid).astype(dtype))

    def weighted(self, fine: Array, valid: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Degrade with masked pixels carrying no weight.

        Parameters
        ----------
        fine : floating array (..., y, x)
            Any values, NaN allowed, where `valid` is False.
        valid : bool array of the same shape

        Returns
        -------
        value, weight : arrays (..., y / ratio, x / ratio) of the type of `fine`
            The mean over the valid weight (0 where there is none), and that weight, 0 to 1.
        """
        weight = self.share(valid, fine.dtype)
        total = self.forward(np.where(valid, fine, np.float32(0)))
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > NEGLIGIBLE), weight


@dataclass(frozen=True)
class Degradation(Operator):
    """Blur and block mean between two grids, its adjoint, and the inverse that projection needs.

    Gaussian blur with sigma = 1/ratio pixels of the fine grid, then the mean of ratio x ratio
    blocks (Wald, Ranchin, Mangolini 1997; the blur as in Lanaras et al. 2018,
    doi:10.1016/j.isprsjprs.2018.09.018). Training and the consistency step stand on this operator,
    with a ratio of 2 or 6.
    """

    @cached_property
    def kernel(self) -> NDArray[np.float64]:
        """One-dimensional blur weights, odd length, sum 1."""
        sigma = 1 / self.ratio
        weights = _gaussian(sigma, int(4 * sigma + 0.5))
        weights = weights[weights > NEGLIGIBLE]
        normalised: NDArray[np.float64] = weights / weights.sum()
        return normalised

    @property
    def radius(self) -> int:
        """Reach of the blur in fine pixels."""
        return len(self.kernel) // 2

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """Short filter on the coarse grid that inverts ``D D^T`` along one axis.

        ``D D^T`` is a small symmetric Toeplitz filter; the Fourier coefficients of the inverse of
        its symbol fall off geometrically (0.12 per pixel for ratio 2), so nine taps leave a
        relative error of about 1e-4.
        """
        taps = np.convolve(self.kernel, np.full(self.ratio, 1 / self.ratio))
        autocorrelation = np.correlate(taps, taps, "full")[
            (len(taps) - 1) % self.ratio :: self.ratio
        ]
        size = 256
        row = np.zeros(size)
        reach = len(autocorrelation) // 2
        row[np.arange(-reach, reach + 1)] = autocorrelation
        coefficients = np.fft.ifft(1 / np.fft.fft(row).real).real
        taps_kept = 4 if self.radius else 0
        return coefficients[np.arange(-taps_kept, taps_kept + 1)]

    @property
    def projection_support(self) -> int:
        """Fine pixels on each side that one projection step reads."""
        spread = -(-self.radius // self.ratio)
        return self.ratio * (2 * spread + len(self.inverse) // 2)

    def forward(self, fine: Array) -> Array:
        """Degrade: (..., y, x) -> (..., y / ratio, x / ratio)."""
        return _block_mean(_separable(fine, self.kernel), self.ratio)

    def share(self, valid: NDArray[np.bool_], dtype: np.dtype[np.float32]) -> Array:
        """Sum of the valid weights, which for this kernel is 1 to the last bit where all are."""
        return self.forward(valid.astype(dtype))

    def adjoint(self, coarse: Array) -> Array:
        """Transpose of `forward`: (..., y, x) -> (..., y * ratio, x * ratio)."""
        spread = np.repeat(np.repeat(coarse, self.ratio, axis=-2), self.ratio, axis=-1)
        return _separable(spread, self.kernel / self.ratio)

    def solve(self, coarse: Array) -> Array:
        """Apply ``(D D^T)^-1`` to an array on the coarse grid."""
        return _separable(coarse, self.inverse)


@dataclass(frozen=True)
class Sensor(Operator):
    """The blur of a sensor, sampled at the middle of each coarse pixel.

    The Gaussian has the modulation transfer `nyquist` at the Nyquist frequency of the coarse grid:
    sigma = ratio sqrt(-2 ln G) / pi fine pixels. For an even ratio, whose middle lies between
    pixels, the four around it are averaged (Aiazzi et al. 2006, "MTF-tailored multiscale fusion
    of high-resolution MS and Pan imagery").
    """

    nyquist: float
    """Modulation transfer G, between 0 and 1."""

    @cached_property
    def kernel(self) -> NDArray[np.float64]:
        """One-dimensional blur weights, odd length, sum 1."""
        sigma = self.ratio * np.sqrt(-2 * np.log(self.nyquist)) / np.pi
        return _gaussian(sigma, int(np.ceil(REACH * sigma)))

    @property
    def radius(self) -> int:
        """Reach of the blur in fine pixels."""
        return len(self.kernel) // 2

    def forward(self, fine: Array) -> Array:
        """Degrade: (..., y, x) -> (..., y / ratio, x / ratio)."""
        before, after = (self.ratio - 1) // 2, self.ratio // 2
        blurred: Array = correlate1d(fine, self.kernel, axis=-2, mode="reflect")
        rows = blurred[..., before :: self.ratio, :] + blurred[..., after :: self.ratio, :]
        both: Array = correlate1d(rows, self.kernel, axis=-1, mode="reflect")
        middle: Array = both[..., before :: self.ratio] + both[..., after :: self.ratio]
        return middle / np.float32(4)


@dataclass(frozen=True)
class BlockMean(Operator):
    """The mean of ratio x ratio pixels: how Sen2Cor makes its 20 m copies of the 10 m bands."""

    @property
    def radius(self) -> int:
        """It reads nothing beyond its own pixel."""
        return 0

    def forward(self, fine: Array) -> Array:
        """Degrade: (..., y, x) -> (..., y / ratio, x / ratio)."""
        return _block_mean(fine, self.ratio)


def _gaussian(sigma: float, reach: int) -> NDArray[np.float64]:
    """Sampled Gaussian, sum 1."""
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def _separable(array: Array, weights: NDArray[np.float64]) -> Array:
    """Correlate the last two axes with one symmetric kernel, mirrored at the edges."""
    if len(weights) == 1:
        return array * np.float32(weights[0] ** 2)
    rows: Array = correlate1d(array, weights, axis=-2, mode="reflect")
    both: Array = correlate1d(rows, weights, axis=-1, mode="reflect")
    return both


def _block_mean(array: Array, ratio: int) -> Array:
    """Mean of ratio x ratio blocks over the last two axes."""
    # Added up in a fixed order: `mean` over two axes rounds differently for other array shapes,
    # and the result would depend on the chunks in its last bit.
    rows = [array[..., start::ratio, :] for start in range(ratio)]
    strips = sum(rows[1:], rows[0])
    cells = [strips[..., start::ratio] for start in range(ratio)]
    means: Array = sum(cells[1:], cells[0]) / np.float32(ratio**2)
    return means
