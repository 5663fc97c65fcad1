"""A made-up country as a pure function of place: the same pixel is the same everywhere.

Strategy: every quantity is computed from absolute coordinates (in pixels of 10 m) through an
integer hash, never from a random generator that runs along an array. A block of any size at any
place can therefore be made on its own, and neighbours fit. The picture is painted in layers, the
later one covering the earlier: fields, woods, roads, towns, then lakes, rivers and the sea. A
layer writes two materials, their mixing share and a brightness; the spectra turn these into
reflectance.

Only operations that IEEE 754 rounds exactly are used (no sine, no exponential): others may differ
in the last bit between the vector loop and its tail, so with the place of a pixel in its block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SPECTRA = {
    "crop": (2.0, 3.0, 6.0, 3.5, 9.0, 28, 36, 39, 41, 41, 19, 9.0),
    "wood": (1.2, 1.6, 3.2, 1.9, 5.0, 17, 22, 24, 26, 26, 11, 5.0),
    "straw": (5.0, 7.0, 11, 15, 18, 22, 25, 27, 29, 30, 37, 27),
    "soil": (5.0, 6.5, 9.0, 12, 14, 16, 18, 20, 22, 23, 29, 25),
    "water": (4.6, 4.2, 3.6, 2.2, 1.8, 1.3, 1.2, 1.0, 0.9, 0.8, 0.5, 0.3),
    "sand": (16, 20, 26, 31, 34, 36, 38, 40, 42, 42, 49, 45),
    "asphalt": (8.0, 8.8, 9.8, 10.6, 11.2, 11.8, 12.4, 13, 13.4, 13.6, 15.5, 14.6),
    "roof": (9.0, 10, 13, 20, 23, 25, 27, 28, 29, 29, 35, 31),
}
"""Reflectance in per cent of each material in the bands of `BAND_ORDER`."""

BAND_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")

_TABLE = np.array(list(SPECTRA.values()), np.float32).T / 100
CROP, WOOD, STRAW, SOIL, WATER, SAND, ASPHALT, ROOF = range(len(SPECTRA))

_PARISH = 96  # spacing of the parishes, whose fields share one direction
_TOWN = 300  # spacing of the places where a town may stand
_RIVER = 1600  # spacing of the rivers


class Paint(NamedTuple):
    """Layers of one block, each (y, x)."""

    first: NDArray[np.uint8]
    """Index of the main material."""
    second: NDArray[np.uint8]
    """Index of the material mixed in."""
    share: Floats
    """Share of the second material, 0 to 1."""
    bright: Floats
    """Factor on the reflectance."""
    moist: Floats
    """Moisture, 0 to 1: it darkens the short-wave infrared and hardly anything else."""

    def put(self, where: NDArray[np.bool_], first: int, second: int, share: float | Floats) -> None:
        """Cover the pixels `where` with a mixture of two materials."""
        self.first[where], self.second[where] = first, second
        self.share[where] = share if isinstance(share, float) else share[where]


@dataclass(frozen=True, slots=True)
class Land:
    """A country without end; nothing is stored."""

    seed: int = 0
    """Another seed is another country."""
    coast: float = 1500.0
    """Mean column of the coast, in 10 m pixels: the sea lies to the east of it."""
    oversampling: int = 2
    """Points along one 10 m pixel that are averaged: 1 has no mixed pixels, 2 is like land."""

    def reflectance(
        self,
        rows: tuple[int, int],
        cols: tuple[int, int],
        *,
        bands: tuple[str, ...] = BAND_ORDER,
        date: int = 0,
    ) -> Floats:
        """Reflectance of a block of 10 m pixels.

        Parameters
        ----------
        rows, cols : (start, stop)
            Absolute pixels; any whole numbers, negative ones too.
        bands : tuple of str
            Which of `BAND_ORDER`.
        date : int
            Even dates are spring, odd ones summer.

        Returns
        -------
        float32 array (band, y, x)
        """
        n = self.oversampling
        paint = self._paint(_points(rows, n), _points(cols, n), date)
        out = np.empty((len(bands), rows[1] - rows[0], cols[1] - cols[0]), np.float32)
        for index, band in enumerate(bands):
            spectrum = _TABLE[BAND_ORDER.index(band)]
            value = spectrum[paint.first] * (1 - paint.share) + spectrum[paint.second] * paint.share
            value *= paint.bright
            if band in {"B11", "B12"}:
                value *= 1 - 0.4 * paint.moist
            corners = (value[i::n, j::n] for i, j in np.ndindex(n, n))
            out[index] = np.add.reduce(list(corners)) / np.float32(n * n)
        return out

    def _paint(self, v: Floats, u: Floats, date: int) -> Paint:
        """All layers of the points with row coordinates `v` and column coordinates `u`."""
        shape = (v.size, u.size)
        rough = self._fractal(v, u, 12, 1)
        paint = Paint(
            np.zeros(shape, np.uint8),
            np.zeros(shape, np.uint8),
            np.zeros(shape, np.float32),
            0.9 + 0.2 * rough,
            self._fractal(v, u, 150, 2),
        )
        parish, border, offset_v, offset_u = self._parishes(v, u)
        turn = _unit(parish, self.seed + 11)
        sine, cosine = _wave(turn), _wave(turn + np.float32(0.25))
        scale = (1 / np.sqrt(sine * sine + cosine * cosine)).astype(np.float32)
        along = (cosine * offset_u + sine * offset_v) * scale
        across = (cosine * offset_v - sine * offset_u) * scale
        self._fields(paint, parish, along, across, date)
        self._woods(paint, v, u)
        self._roads(paint, v, u, border)
        self._towns(paint, v, u, along, across)
        self._water(paint, v, u, rough)
        return paint

    def _parishes(self, v: Floats, u: Floats) -> tuple[NDArray[np.uint32], Floats, Floats, Floats]:
        """Voronoi cells: id, distance to the border, and the offsets from the cell's centre."""
        best: Floats = np.full((v.size, u.size), np.inf, np.float32)
        second, off_v, off_u = best.copy(), best.copy(), best.copy()
        ids: NDArray[np.uint32] = np.zeros((v.size, u.size), np.uint32)
        for cell, dv, du in self._sites(v, u, _PARISH, 3):
            distance = np.sqrt(dv * dv + du * du)
            near = distance < best
            np.copyto(second, np.where(near, best, np.minimum(second, distance)))
            for kept, new in ((best, distance), (ids, cell), (off_v, dv), (off_u, du)):
                np.copyto(kept, new, where=near)
        border: Floats = np.float32(0.5) * (second - best)
        return ids, border, off_v, off_u

    def _fields(
        self, paint: Paint, parish: NDArray[np.uint32], along: Floats, across: Floats, date: int
    ) -> None:
        """Strips of crops, straw, grass and bare soil; what grows depends on the date."""
        width, length = 7 + 13 * _unit(parish, 21), 24 + 30 * _unit(parish, 22)
        strip = np.floor(across / width)
        along = along + length * _unit(_mix(parish, strip), 23)
        field = _mix(parish, strip, np.floor(along / length))
        kind, vigour = (_unit(field, key) for key in (24, 25))
        green, ripe, bare = (CROP, SOIL), (STRAW, SOIL), (SOIL, CROP)
        plans = ((0.2, green, green), (0.5, green, ripe), (0.75, bare, green), (0.87, bare, bare))
        paint.put(kind >= 0, CROP, STRAW, 0.3 + 0.5 * vigour)
        for limit, spring, summer in reversed(plans):
            paint.put(kind < limit, *(summer if date % 2 else spring), 0.02 + 0.4 * vigour)
        paint.bright[...] *= 0.85 + 0.3 * _unit(field, 26)
        paint.moist[...] = 0.5 * paint.moist + 0.5 * _unit(field, 27 + date)
        edge = np.minimum(across % width, along % length)
        hedges = _unit(parish, 28) < 0.5  # noqa: PLR2004
        paint.put((edge < 0.9) & hedges, WOOD, CROP, 0.2)  # noqa: PLR2004
        paint.put((edge < 0.45) & ~hedges, STRAW, SOIL, 0.5)  # noqa: PLR2004

    def _woods(self, paint: Paint, v: Floats, u: Floats) -> None:
        """Woods with ragged edges."""
        cover = self._fractal(v, u, 130, 31)
        wood = cover + 0.12 * (self._noise(v, u, 9, 32) - 0.5) > 0.60  # noqa: PLR2004
        paint.put(wood, WOOD, CROP, 0.35 * self._noise(v, u, 3, 33))
        paint.bright[wood] *= (0.75 + 0.5 * self._noise(v, u, 2, 34))[wood]

    def _roads(self, paint: Paint, v: Floats, u: Floats, border: Floats) -> None:
        """Lanes along the parishes, and two kinds of highways across the country."""
        paint.put(border < 0.9, CROP, STRAW, 0.4)  # noqa: PLR2004
        paint.put(border < 0.35, ASPHALT, SOIL, 0.15)  # noqa: PLR2004
        east = _bend(u, 37.0) - v[:, None] + 0.35 * u[None, :]
        north = _bend(v, 59.0)[:, None] - u[None, :] - 0.2 * v[:, None]
        for lane, spacing, half in ((east, 900, 1.3), (north, 1100, 0.9)):
            distance = np.abs((lane + 400) % spacing - spacing / 2)
            paint.put(distance < 1.8 * half, CROP, SOIL, 0.5)
            paint.put(distance < half, ASPHALT, ROOF, 0.05)
            paint.bright[distance < half] = 1

    def _towns(self, paint: Paint, v: Floats, u: Floats, along: Floats, across: Floats) -> None:
        """Round towns of streets, roofs, yards and gardens, thinning out from their centre."""
        depth = self._town_depth(v, u) + 14 * (self._noise(v, u, 14, 41) - 0.5)
        town = depth > 0
        house = _mix(self.seed + 42, np.floor(along / 2.4), np.floor(across / 1.8))
        plot = _mix(self.seed + 43, np.floor(along / 9), np.floor(across / 6.5))
        use = _unit(house, 44) + np.clip(0.35 - depth / 60, -0.15, 0.4)
        tint = 0.7 + 0.7 * _unit(house, 45)
        paint.put(town, WOOD, CROP, 0.6)
        paint.put(town & (use < 0.75), ASPHALT, ROOF, 0.3)  # noqa: PLR2004
        paint.put(town & (use < 0.55), ROOF, ASPHALT, _unit(house, 46))  # noqa: PLR2004
        hall = town & (_unit(plot, 47) < 0.08)  # noqa: PLR2004
        paint.put(hall, ASPHALT, SAND, 0.6)
        street = town & ((along % 9 < 0.9) | (across % 6.5 < 0.8))  # noqa: PLR2004
        paint.put(street, ASPHALT, SOIL, 0.1)
        paint.bright[town] = tint[town]
        paint.bright[street] = 0.9
        paint.moist[town] *= 0.3

    def _town_depth(self, v: Floats, u: Floats) -> Floats:
        """Distance inwards from the edge of the deepest town around, negative outside."""
        depth = np.full((v.size, u.size), -np.inf, np.float32)
        for cell, dv, du in self._sites(v, u, _TOWN, 51):
            depth = np.maximum(depth, 80 * _unit(cell, 54) - 20 - np.sqrt(dv * dv + du * du))
        return depth

    def _sites(
        self, v: Floats, u: Floats, spacing: int, key: int
    ) -> Iterator[tuple[NDArray[np.uint32], Floats, Floats]]:
        """Hash of the nine sites around every point, and the offsets from there to the point."""
        i, j = (np.floor(axis / spacing).astype(np.int64) for axis in (v, u))
        rows, cols = np.arange(i[0] - 1, i[-1] + 2), np.arange(j[0] - 1, j[-1] + 2)
        cell = _mix(self.seed + key, rows[:, None], cols[None, :])
        site_v = (rows[:, None] + 0.2 + 0.6 * _unit(cell, 1)).astype(np.float32) * spacing
        site_u = (cols[None, :] + 0.2 + 0.6 * _unit(cell, 2)).astype(np.float32) * spacing
        for di, dj in np.ndindex(3, 3):
            pick = np.ix_(i - i[0] + di, j - j[0] + dj)
            yield cell[pick], v[:, None] - site_v[pick], u[None, :] - site_u[pick]

    def _water(self, paint: Paint, v: Floats, u: Floats, rough: Floats) -> None:
        """Lakes, rivers that widen towards the sea, the beach, the shallows and the sea."""
        wriggle = self._fractal(v, u, 90, 61) - 0.5
        centre = _RIVER * 0.45 + _bend(u, 0.0)[None, :] + 24 * wriggle
        river = np.abs((v[:, None] - centre + _RIVER / 2) % _RIVER - _RIVER / 2)
        half = np.clip(2.0 + 5 * u[None, :] / self.coast, 1.5, 8) * (0.8 + 0.4 * rough)
        paint.put(river < half + 3, WOOD, CROP, 0.5)
        paint.put(river < half + 0.8, SOIL, SAND, 0.3)
        sea = u[None, :] - self.coast - _bend(v, 17.0)[:, None] - 70 * wriggle
        beach = 2 + 6 * self._noise(v, u, 80, 62)
        paint.put(sea > -2.2 * beach, STRAW, CROP, rough)
        paint.put(sea > -beach, SAND, STRAW, 0.1 * rough)
        lake = self._fractal(v, u, 170, 35) > 0.78  # noqa: PLR2004
        wet = (river < half) | lake | (sea > 0)
        fade = 1 / (1 + np.abs(sea) / 24)
        shallow = np.where(sea > 0, 0.01 + 0.2 * fade * fade * fade, 0.03)
        paint.put(wet, WATER, SAND, shallow)
        paint.bright[wet] = (0.85 + 0.3 * self._fractal(v, u, 60, 63))[wet]
        paint.moist[wet] = 0

    def _fractal(self, v: Floats, u: Floats, scale: float, key: int) -> Floats:
        """Three octaves of noise, 0 to 1."""
        octaves = ((0.55, 1), (0.3, 0.47), (0.15, 0.21))
        parts = (w * self._noise(v, u, scale * s, key + 97 * n) for n, (w, s) in enumerate(octaves))
        total: Floats = np.add.reduce(list(parts))
        return total

    def _noise(self, v: Floats, u: Floats, scale: float, key: int) -> Floats:
        """Smooth noise, 0 to 1: hashed values on a lattice, interpolated axis by axis."""
        (i, s), (j, t) = _lattice(v, scale), _lattice(u, scale)
        rows, cols = np.arange(i[0], i[-1] + 2), np.arange(j[0], j[-1] + 2)
        knots = _unit(_mix(self.seed + key, rows[:, None], cols[None, :]), key)
        i, j = i - i[0], j - j[0]
        lines = knots[i] * (1 - s[:, None]) + knots[i + 1] * s[:, None]
        noise: Floats = lines[:, j] * (1 - t) + lines[:, j + 1] * t
        return noise


def _points(span: tuple[int, int], n: int) -> Floats:
    """Coordinates of `n` points in every pixel of a span, in pixels."""
    return ((np.arange(span[0] * n, span[1] * n) + 0.5) / n).astype(np.float32)


def _lattice(axis: Floats, scale: float) -> tuple[NDArray[np.int64], Floats]:
    """Lattice index below each point, and its smoothed distance from there."""
    place = axis / np.float32(scale)
    index = np.floor(place)
    part = place - index
    return index.astype(np.int64), part * part * (3 - 2 * part)


def _bend(axis: Floats, phase: float) -> Floats:
    """A winding line: sideways offset, in pixels, along an axis."""
    bend: Floats = np.zeros_like(axis)
    for height, length, shift in ((110, 230, 1.0), (38, 87, 2.1), (9, 23, 0.0)):
        bend += np.float32(height) * _wave(
            axis / np.float32(6.28 * length) + np.float32(shift * phase)
        )
    return bend


def _wave(turns: Floats) -> Floats:
    """Something like the sine of a number of turns, made of parabolas."""
    half = np.float32(2) * (turns - np.floor(turns)) - np.float32(1)
    wave: Floats = np.float32(-4) * half * (np.float32(1) - np.abs(half))
    return wave


def _mix(*keys: NDArray[np.generic] | int) -> NDArray[np.uint32]:
    """Hash of whole numbers (one array each, broadcast together) to 32 bits."""
    state = np.full(1, 0x9E3779B9, np.uint32)
    for key in keys:
        word = np.atleast_1d(np.asarray(key)).astype(np.int64).astype(np.uint32)
        state = (state ^ word) * np.uint32(0x85EBCA6B)
        state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        state = state ^ (state >> np.uint32(16))
    return state


def _unit(cell: NDArray[np.uint32], key: int) -> Floats:
    """A number from 0 to 1 that a hash and a key decide."""
    return (_mix(cell, key) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
