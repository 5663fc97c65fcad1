"""Phase congruency of a block of an image: where the frequencies of an edge or line agree.

Features are where the responses of wavelet-like filters of several scales are in phase, however
bright they are (Kovesi 1999, "Image features from phase congruency"). The filters are log-Gabor
functions, defined by their spectra and without end in space; here each is a finite kernel of
129 x 129 pixels instead, so that a pixel knows nothing but its neighbourhood and a scene may be
cut in blocks. All of it is plain NumPy on one block that has a margin of `RADIUS` pixels.

What is global is the level of the noise, from the median response of the smallest filters: blocks
hand on histograms, which add up.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from decametric.metrics.margin import MARGIN

if TYPE_CHECKING:
    from collections.abc import Iterator

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Shape = tuple[int, int]

RADIUS = MARGIN
"""Half the edge of the kernels in pixels, without the centre."""

SCALES = 4
ORIENTATIONS = 4
SHORTEST = 6.0
"""Wavelength of the smallest filter in pixels; each further one is twice as long."""

BANDWIDTH = 0.55
"""Standard deviation of a log-Gabor function over its centre frequency."""

SPREAD = np.pi / 4 / 1.2
"""Standard deviation of the filters in angle."""

CUTOFF, ORDER = 0.45, 15
"""Of the Butterworth low-pass that rounds the corners of the spectra off."""

GRID = 512
"""Edge of the frequency grid on which the filters are defined before they are cut."""

TAPER = RADIUS // 3
"""Outer pixels of a kernel that fade to zero, by a raised cosine."""

LOWEST, HIGHEST = -20, 28
"""Powers of two between which squared amplitudes are told apart, on the scale of 0 to 255."""

ROWS = 32
"""Rows that are worked on at once: what a processor's cache holds."""

SMALL = 1e-4
"""Keeps the direction of no response from being 0 / 0; amplitudes on the scale of 0 to 255."""

LOCK = Lock()
"""Held while spectra are made, which takes time and memory."""

LEVEL = (np.sqrt(np.pi / 2) + 2 * np.sqrt(2 - np.pi / 2)) / 1.7
"""Mean plus two standard deviations of noise (a Rayleigh law of scale 1), lowered by 1.7, since
the responses of different scales are not independent."""


def phase_congruency(image: Singles, thresholds: Any) -> Singles:  # noqa: ANN401
    r"""Phase congruency of the inner pixels of a block.

    .. math:: \frac{\sum_o \max(E_o - T_o, 0)}{\sum_o \sum_s A_{so}}, \quad
              E_o = \sum_s \frac{r_{so} \cdot R_o - |r_{so} \times R_o|}{|R_o|}

    with the responses :math:`r_{so}` of scale s and orientation o as vectors (even, odd), their
    lengths A, and :math:`R_o = \sum_s r_{so}` (Kovesi 1999).

    Parameters
    ----------
    image : float32 array (y, x)
        On the scale of 0 to 255, best about 0, with a margin of `RADIUS` pixels all around.
    thresholds : sequence of float
        Energy of the noise :math:`T_o` for each orientation.

    Returns
    -------
    float32 array (y, x)
        Without the margin; 0 (nothing agrees, or there is nothing) to 1.
    """
    spectra, columns = _spectra_of(image, SCALES)
    energy, amplitude = (np.zeros(_inner(image.shape), np.float32) for _ in range(2))
    for orientation, threshold in enumerate(thresholds):
        for rows, even, odd in _responses(image, spectra, columns, orientation):
            amplitude[rows] += np.sqrt(even * even + odd * odd).sum(0)
            energy[rows] += np.maximum(_energy(even, odd) - np.float32(threshold), 0)
    return np.divide(energy, amplitude, out=energy, where=amplitude > 0)


def count_amplitudes(image: Singles, valid: Any, steps: int) -> Floats:  # noqa: ANN401
    """Histograms of the squared responses of the smallest filters: (orientation, bin).

    Parameters
    ----------
    image : float32 array (y, x)
        As for `phase_congruency`.
    valid : bool array (y, x) or None
        Which of the inner pixels count; None means all.
    steps : int
        Bits of the fraction that bins tell apart: with 11, bins are 0.05 % wide.
    """
    spectra, columns = _spectra_of(image, 1)
    counts = np.zeros((ORIENTATIONS, (HIGHEST - LOWEST) << steps))
    for orientation in range(ORIENTATIONS):
        parts = [
            (even * even + odd * odd)[0][... if valid is None else valid[rows]].ravel()
            for rows, even, odd in _responses(image, spectra, columns, orientation)
        ]
        bins = _bin(np.concatenate(parts), steps)
        counts[orientation] = np.bincount(bins, minlength=counts.shape[1])
    return counts


def noise_of(counts: Floats) -> Floats:
    """Energy of the noise from histograms (..., bin); 0 where nothing was counted.

    Noise responds to the smallest filters most, and features are few: the median of squared
    amplitudes is that of noise, for which it is ln 2 of the mean, and from the power at one filter
    follow the others.
    """
    below = counts.cumsum(axis=-1)
    last = below[..., -1:] - 1
    middle = sum(_ranked(counts, below, rank(last / 2)) for rank in (np.floor, np.ceil)) / 2
    power = np.where(last >= 0, middle, 0)[..., 0] / np.log(2)
    noise: Floats = LEVEL * np.sqrt(power * _noise_gain())
    return noise


def _ranked(counts: Floats, below: Floats, rank: Floats) -> Floats:
    """The value of a rank, from 0, as if those of a bin were spread evenly: (..., 1)."""
    found = np.minimum((below <= rank).sum(axis=-1, keepdims=True), counts.shape[-1] - 1)
    inside, until = (np.take_along_axis(each, found, -1) for each in (counts, below))
    share = (rank - until + inside + 0.5) / np.maximum(inside, 1)
    edges = _edges(counts.shape[-1])
    value: Floats = edges[found] + share * (edges[found + 1] - edges[found])
    return value


@lru_cache(maxsize=1)
def _filters() -> Floats:
    """Spectra of the log-Gabor filters on `GRID`: (orientation, scale, y, x)."""
    frequency = fft.fftfreq(GRID)
    x, y = np.meshgrid(frequency, frequency)
    radius, angle = np.hypot(x, y), np.arctan2(-y, x)
    radius[0, 0] = 1
    low = 1 / (1 + (radius / CUTOFF) ** (2 * ORDER))
    low[0, 0] = 0
    centres = 1 / (SHORTEST * 2.0 ** np.arange(SCALES)[:, None, None])
    radial = low * np.exp(-(np.log(radius / centres) ** 2) / (2 * np.log(BANDWIDTH) ** 2))
    towards = np.pi / ORIENTATIONS * np.arange(ORIENTATIONS)[:, None, None]
    away = np.abs(np.angle(np.exp(1j * (angle - towards))))
    filters: Floats = radial * np.exp(-(away**2) / (2 * SPREAD**2))[:, None]
    return filters


@lru_cache(maxsize=1)
def _kernels() -> NDArray[np.complex128]:
    """Finite kernels, even part real and odd part imaginary: (orientation, scale, y, x).

    A multiple of the taper is taken away, so that brightness alone has no response.
    """
    middle = slice(GRID // 2 - RADIUS, GRID // 2 + RADIUS + 1)
    whole = fft.fftshift(fft.ifft2(_filters()), axes=(-2, -1))
    fade = np.hanning(2 * TAPER + 3)[1 : TAPER + 1]
    line = np.concatenate([fade, np.ones(2 * (RADIUS - TAPER) + 1), fade[::-1]])
    taper = np.outer(line, line)
    tapered = whole[..., middle, middle] * taper
    kernels: NDArray[np.complex128]
    kernels = tapered - tapered.sum((-2, -1), keepdims=True) * (taper / taper.sum())
    return kernels


@lru_cache(maxsize=1)
def _noise_gain() -> Floats:
    """Squared scale of the energy of noise over its power at the smallest filter, by orientation.

    The sum of squares of the kernels and twice that of the products of pairs (Kovesi 1999): the
    square of their sum, and that is all.
    """
    even = fft.ifft2(_filters()).real * GRID
    together = (even.sum(axis=1) ** 2).sum((-2, -1))
    gain: Floats = together / (_filters()[:, 0] ** 2).sum((-2, -1))
    return gain


def _spectra(shape: Shape) -> tuple[Singles, Singles]:
    """Spectra of the even and odd kernels; all threads wait for the first one to make them."""
    with LOCK:
        return _new_spectra(shape)


@lru_cache(maxsize=2)
def _new_spectra(shape: Shape) -> tuple[Singles, Singles]:
    """Half spectra of the even kernels and, over i, of the odd ones: (orientation, scale, y, x).

    They are real if the centre of a kernel is at the origin, where a shift of phase brings it.
    Every number is there twice, for the real and the imaginary part of what it is multiplied with.
    """
    kernels = _kernels()
    to_origin = [np.exp(2j * np.pi * RADIUS * fft.fftfreq(length)) for length in shape]
    width = shape[1] // 2 + 1
    spectra = np.empty((2, *kernels.shape[:2], shape[0], 2 * width), np.float32)
    for place in np.ndindex(*kernels.shape[:2]):
        for part, kernel in enumerate((kernels[place].real, kernels[place].imag)):
            rows = fft.rfft(kernel, shape[1], axis=1) * to_origin[1][:width]
            whole = fft.fft(rows, shape[0], axis=0) * to_origin[0][:, None]
            spectra[part, *place] = np.repeat(whole.imag if part else whole.real, 2, axis=1)
    return spectra[0], spectra[1]


def _spectra_of(image: Singles, scales: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Half spectrum of a block and i times it, and room for as many responses, to be used again."""
    spectrum = fft.rfft2(image, _fast(image.shape))
    room = np.empty((2, scales, *spectrum.shape), spectrum.dtype)
    return (spectrum, 1j * spectrum), (room[0], room[1])


def _responses(
    image: Singles, spectra: tuple[Any, Any], columns: tuple[Any, Any], orientation: int
) -> Iterator[tuple[slice, Any, Any]]:
    """Even and odd responses (scale, y, x) of the inner pixels to the smallest filters, by rows.

    Columns are transformed first, in their place, so that the rows of the margin need not be.
    """
    (height, width), shape = _inner(image.shape), _fast(image.shape)
    parts = []
    for spectrum, filters, part in zip(spectra, _spectra(shape), columns, strict=True):
        chosen = filters[orientation, : len(part)]
        np.multiply(spectrum.view(np.float32), chosen, out=part.view(np.float32))
        parts.append(fft.ifft(part, axis=1, overwrite_x=True))
    for start in range(0, height, ROWS):
        stop = min(height, start + ROWS)
        even, odd = (
            fft.irfft(part[:, RADIUS + start : RADIUS + stop], shape[1], axis=2) for part in parts
        )
        inner = slice(RADIUS, RADIUS + width)
        yield slice(start, stop), even[..., inner], odd[..., inner]


def _energy(even: Singles, odd: Singles) -> Singles:
    """Energy of one orientation: how far the responses of all scales point the same way."""
    all_even, all_odd = even.sum(0), odd.sum(0)
    square: Singles = all_even * all_even + all_odd * all_odd
    across = even * all_odd
    across -= odd * all_even
    agreed: Singles = square - np.abs(across, out=across).sum(0)
    agreed /= np.sqrt(square, out=square) + np.float32(SMALL)
    return agreed


def _bin(squares: Singles, steps: int) -> NDArray[np.int64]:
    """Bin of a positive number: its exponent and the first bits of its fraction, in one shift."""
    bits = squares.view(np.int32) >> (23 - steps)
    first, last = ((127 + power) << steps for power in (LOWEST, HIGHEST))
    bins: NDArray[np.int64] = np.clip(bits, first, last - 1).astype(np.int64) - first
    return bins


def _edges(bins: int) -> Floats:
    """Edges of the bins; the first one holds all that is smaller."""
    mantissa = np.linspace(LOWEST, HIGHEST, bins + 1)
    power = np.floor(mantissa)
    edges: Floats = 2.0**power * (1 + mantissa - power)
    edges[0] = 0
    return edges


def _inner(shape: tuple[int, ...]) -> Shape:
    return shape[0] - 2 * RADIUS, shape[1] - 2 * RADIUS


def _fast(shape: tuple[int, ...]) -> Shape:
    """Shape of the transform; beyond the block there are zeros, which no inner pixel reaches.

    Whole multiples of `RADIUS`, so that images of many sizes share spectra.
    """
    height, width = (fft.next_fast_len(-(-n // RADIUS) * RADIUS, real=True) for n in shape)
    return height, width
