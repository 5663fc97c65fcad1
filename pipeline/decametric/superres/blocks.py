"""What happens inside of one block: windows of one shape, filled, mirrored, predicted, masked.

Plain NumPy, independent of Dask: any runner that hands over a block with its halo gets the same
bits, because every window holds the same pixels at the same place however the scene was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from scipy.ndimage import distance_transform_edt

from decametric.bands import BANDS, RESOLUTIONS
from decametric.grid import NEST
from decametric.superres.consistency import Consistent
from decametric.superres.predictor import of_resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from decametric.superres.predictor import Predictor

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

Value = TypeVar("Value", np.float32, np.bool_)


class Margins(NamedTuple):
    """Pixels of 10 m on the four sides of a window, none negative."""

    top: int
    bottom: int
    left: int
    right: int

    def beyond(self, inner: int) -> Margins:
        """What is left of these margins when the window's halo shrinks by `inner`."""
        return Margins(*(max(0, side - inner) for side in self))

    def surplus(self, inner: int) -> Margins:
        """What must be cut off the data, which end at these margins, when it shrinks so."""
        return Margins(*(max(0, inner - side) for side in self))


@dataclass(frozen=True)
class Job:
    """Everything a block needs to know, and the arithmetic of blocks and windows."""

    parts: tuple[Predictor, ...]
    """Predictors to run."""
    bands_in: tuple[str, ...]
    """Bands in the packed array, by resolution."""
    halo: int
    """Context around a window in 10 m pixels; the largest of the parts."""
    window: tuple[int, int]
    """Rows and columns of a window's core at 10 m."""
    blocks: tuple[tuple[int, ...], tuple[int, ...]]
    """Edges of the computing blocks at 10 m, along y and x."""
    chunks: tuple[tuple[int, ...], tuple[int, ...]]
    """Chunks of the scene's 10 m bands, which the output has too."""

    @property
    def bands_out(self) -> tuple[str, ...]:
        """Bands that the block function returns."""
        return tuple(band for part in self.parts for band in part.bands_out)

    @property
    def windows(self) -> int:
        """Windows in one date."""
        rows, cols = (
            sum(-(-edge // step) for edge in edges)
            for edges, step in zip(self.blocks, self.window, strict=True)
        )
        return rows * cols


@dataclass(frozen=True)
class Window:
    """One window of a block, in 10 m pixels of the block without its halo."""

    rows: slice
    """Rows of the core, which the window delivers."""
    cols: slice
    """Columns of the core."""
    outside: Margins
    """How much of the window's halo, or of a ragged core, lies beyond the scene."""


class Packed(np.ndarray[Any, np.dtype[np.float32]]):
    """An array whose slices are copies.

    Dask keeps the seams of a block for its neighbours; as views they would keep all of it alive,
    and a worker would hold whole rows of blocks (measured: 0.3 GB of 2.4 on a full tile).
    """

    def __getitem__(self, key: Any) -> NDArray[np.float32]:  # noqa: ANN401  (NumPy's own indices)
        """A copy of a part, a plain array."""
        return np.array(super().__getitem__(key))


def factor(band: str) -> int:
    """Pixels of 10 m along a pixel of `band`."""
    return BANDS[band].resolution // 10


def pack(*bands: Array, factors: tuple[int, ...]) -> Array:
    """Bands (1, y, x) of any resolution -> (1, value, y, x) on the 60 m grid.

    A 60 m pixel carries the 36 values of a 10 m band, the 9 of a 20 m band, the one of a 60 m band.
    The result is `Packed`.
    """
    layers = []
    for band, step in zip(bands, factors, strict=True):
        nest = NEST // step
        _, rows, cols = band.shape
        cells = band.reshape(rows // nest, nest, cols // nest, nest)
        layers.append(cells.transpose(1, 3, 0, 2).reshape(-1, rows // nest, cols // nest))
    return np.concatenate(layers)[None].view(Packed)


def unpack(packed: Array, bands: tuple[str, ...]) -> dict[str, Array]:
    """The bands (y, x) of a packed block (value, y, x)."""
    result, start = {}, 0
    _, rows, cols = packed.shape
    for band in bands:
        nest = NEST // factor(band)
        cells = packed[start : start + nest**2].reshape(nest, nest, rows, cols)
        result[band] = cells.transpose(2, 0, 3, 1).reshape(rows * nest, cols * nest)
        start += nest**2
    return result


def block(packed: Array, job: Job, block_id: tuple[int, int, int, int]) -> Array:
    """Sharpen one block.

    Parameters
    ----------
    packed : float32 array (1, value, y, x)
        The block with its halo on the 60 m grid; no halo where the scene ends.
    job : Job
        What to do.
    block_id : (time, 0, row, column)
        Which block it is.

    Returns
    -------
    float32 array (1, band, y, x)
        `job.bands_out` at 10 m without halo; NaN where there is no data.
    """
    bands = unpack(np.asarray(packed)[0], job.bands_in)
    row, col = block_id[2:]
    shape = (job.blocks[0][row], job.blocks[1][col])
    result = np.empty((1, len(job.bands_out), *shape), np.float32)
    for window in _windows(job, row, col):
        inside = {
            band: _cut(array, window, job, (row, col), factor(band))
            for band, array in bands.items()
        }
        result[0, :, window.rows, window.cols] = _sharpen_window(inside, window, job)
    return result


def _windows(job: Job, row: int, col: int) -> Iterator[Window]:
    """The windows of one block."""
    for rows, above in _spans(job, 0, row):
        for cols, beside in _spans(job, 1, col):
            yield Window(rows, cols, Margins(*above, *beside))


def _spans(job: Job, axis: int, position: int) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Cores along one axis of a block, and how far their windows reach beyond the scene."""
    edges, step = job.blocks[axis], job.window[axis]
    size = edges[position]
    for start in range(0, size, step):
        stop = min(start + step, size)
        before = max(0, job.halo - start) if position == 0 else 0
        last = position == len(edges) - 1 and stop == size
        # Also a window before the last may reach the end of the scene with its halo.
        room = job.halo if position < len(edges) - 1 else size - stop
        after = max(0, job.halo - room) + (step - (stop - start) if last else 0)
        yield slice(start, stop), (before, after)


def _cut(array: Array, window: Window, job: Job, position: tuple[int, int], step: int) -> Array:
    """The part of a band that a window sees, at its own resolution, ending with the scene."""
    slices = []
    for axis, core in enumerate((window.rows, window.cols)):
        before, after = window.outside[2 * axis : 2 * axis + 2]
        origin = core.start if position[axis] == 0 else core.start + job.halo
        stop = origin + job.window[axis] + job.halo - after
        slices.append(slice((origin - job.halo + before) // step, stop // step))
    return array[slices[0], slices[1]]


def _sharpen_window(bands: dict[str, Array], window: Window, job: Job) -> Array:
    """Sharpen one window; `bands` end where the scene ends."""
    filled = {band: _fill(array) for band, array in bands.items()}
    results = []
    for part in job.parts:
        valid = _valid(bands, part)
        core = _core(valid, window, job.halo, window.outside)
        if not core.any():
            results.append(np.full(core.shape, np.nan, np.float32))
            continue
        sharp = _predict(part, filled, valid, window, job)
        results.append(np.where(core, sharp, np.float32(np.nan)))
    return np.concatenate(results)


def _predict(
    part: Predictor, filled: dict[str, Array], valid: Mask, window: Window, job: Job
) -> Array:
    """The core of one part's prediction, (band, y, x)."""
    unused = job.halo - part.halo  # context that only other parts need
    beyond, surplus = window.outside.beyond(unused), window.outside.surplus(unused)
    measured, inputs = [], []
    for resolution in RESOLUTIONS:
        step = resolution // 10
        names = of_resolution(part.bands_in, resolution)
        bands = _trim(
            _stack([filled[name] for name in names], valid.shape[1:], step), surplus, step
        )
        measured.append(bands)
        inputs.append(_mirror(bands, beyond, step))
    if isinstance(part, Consistent):
        # The projection must see arrays that end with the scene: what a network makes of the
        # mirrored surroundings is not the mirror of what it makes of the scene.
        fine = _trim(part.predictor(*inputs), beyond, 1)
        fine = part.project(fine, measured[1], measured[2], _trim(valid, surplus, 1))
    else:
        fine = _trim(part(*inputs), beyond, 1)
    return _core(fine, window, part.halo, beyond)


def _stack(arrays: list[Array], fine_shape: tuple[int, ...], step: int) -> Array:
    """Bands as one array (band, y, x), which may have no band at all."""
    if arrays:
        return np.stack(arrays)
    return np.empty((0, *(size // step for size in fine_shape)), np.float32)


def _trim(array: NDArray[Value], margins: Margins, step: int) -> NDArray[Value]:
    """Cut margins off (band, y, x), whose pixels measure `step` pixels of 10 m."""
    top, bottom, left, right = (side // step for side in margins)
    return array[:, top : array.shape[1] - bottom, left : array.shape[2] - right]


def _mirror(array: Array, margins: Margins, step: int) -> Array:
    """Mirror (band, y, x) about the raster edges outwards, so that every window is whole."""
    top, bottom, left, right = (side // step for side in margins)
    return np.pad(array, [(0, 0), (top, bottom), (left, right)], mode="symmetric")


def _core(array: NDArray[Value], window: Window, halo: int, beyond: Margins) -> NDArray[Value]:
    """The core of a window's (band, y, x) array, which ends where the scene ends."""
    top, left = halo - beyond.top, halo - beyond.left
    rows, cols = window.rows.stop - window.rows.start, window.cols.stop - window.cols.start
    return array[:, top : top + rows, left : left + cols]


def _valid(bands: dict[str, Array], part: Predictor) -> Mask:
    """Where the output is valid: the band's own coarse pixel and the part's 10 m pixels are."""
    own = [np.isfinite(bands[band]) for band in part.bands_out]
    steps = [factor(band) for band in part.bands_out]
    masks = [
        mask.repeat(step, axis=0).repeat(step, axis=1)
        for mask, step in zip(own, steps, strict=True)
    ]
    valid = np.stack(masks)
    for band in of_resolution(part.bands_in, 10):
        valid &= np.isfinite(bands[band])
    return valid


def _fill(array: Array) -> Array:
    """Replace NaN by the nearest valid pixel of the window, so that it spreads nowhere."""
    invalid = ~np.isfinite(array)
    if not invalid.any():
        return array
    if invalid.all():
        return np.zeros_like(array)
    nearest = distance_transform_edt(invalid, return_distances=False, return_indices=True)
    filled: Array = array[tuple(nearest)]
    return filled
