"""`explain`: what `sharpen` and `write` would do, told without computing or reading anything."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np

from decametric.bands import BANDS, SHARPENED
from decametric.grid import DEFAULT_CHUNK, NEST
from decametric.superres.blocks import factor
from decametric.superres.display import Shown
from decametric.superres.inference import plan, sharpen
from decametric.superres.predictor import provenance
from decametric.superres.presets import predictor_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from decametric.superres.blocks import Job
    from decametric.superres.predictor import Predictor

BYTES_STORED = 2  # uint16 digital numbers, before compression
BYTES_FLOAT = 4
ACTIVATIONS_AT_ONCE = 3  # a residual block holds its input, its hidden layer and its output


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan(Shown):
    """The size of a job. Bytes are before compression; memory is an estimate for one worker."""

    predictor: str
    """Name of the predictor."""
    dates: int
    """Time steps of the scene."""
    shape: tuple[int, int]
    """Rows and columns at 10 m."""
    bands: tuple[str, ...]
    """Bands of the result."""
    blocks: int
    """Output blocks over all dates."""
    window: tuple[int, int]
    """Rows and columns of a window of the predictor, without halo."""
    windows: int
    """Windows over all dates."""
    halo: int
    """Context around a window in 10 m pixels."""
    tasks: int
    """Dask tasks over all dates, writing included."""
    tasks_per_block: float
    """Dask tasks for one output block."""
    bytes_read: int
    """Bytes of the bands that are read."""
    bytes_written: int
    """Bytes of the bands that are written."""
    flops: int
    """Floating-point operations of the networks, halos included."""
    memory: int
    """Bytes that one worker needs at a time."""

    def _rows(self) -> list[tuple[str, ...]]:
        """Labels and readable values."""
        return [(field.name.replace("_", " "), _text(self, field.name)) for field in fields(self)]


def _text(plan: Plan, name: str) -> str:
    """One value for people."""
    value = getattr(plan, name)
    if name in ("bytes_read", "bytes_written", "memory"):
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"  # noqa: PLR2004
    if name == "flops":
        return f"{value / 1e12:.3g} TFLOP" if value else "none"
    if isinstance(value, tuple):
        return (", " if isinstance(value[0], str) else " x ").join(map(str, value))
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def explain(
    scene: xr.DataTree,
    predictor: Predictor | str | Path | None = None,
    *,
    bands: Sequence[str] | None = None,
    window: int = DEFAULT_CHUNK,
    any_level: bool = False,
) -> Plan:
    """Tell what sharpening a scene would cost; no pixel is read.

    Parameters
    ----------
    scene, predictor, bands, window, any_level
        As for `sharpen`.

    Returns
    -------
    Plan
        Blocks, windows, tasks, bytes, FLOPs and memory, with a repr for terminal and notebook.

    Raises
    ------
    DecametricError
        Whatever `sharpen` would raise.
    """
    loaded = predictor_for([scene.attrs.get("level")], predictor)
    result = sharpen(scene, loaded, bands=bands, window=window, any_level=any_level)
    names = [str(name) for name in result.data_vars]
    dates, rows, cols = (result.sizes[axis] for axis in ("time", "y", "x"))
    job = plan(scene, loaded, [name for name in names if name in SHARPENED], window)
    chunks = result[names[0]].data.chunks
    blocks = dates * len(chunks[1]) * len(chunks[2])
    tasks = _tasks(result) + blocks  # one task per block to write
    pixels = rows * cols
    return Plan(
        predictor=str(provenance(loaded)["name"]),
        dates=dates,
        shape=(rows, cols),
        bands=tuple(names),
        blocks=blocks,
        window=job.window,
        windows=job.windows * dates,
        halo=job.halo,
        tasks=tasks,
        tasks_per_block=tasks / blocks,
        bytes_read=dates * sum(_bytes_of(name, pixels) for name in {*job.bands_in, *names}),
        bytes_written=dates * pixels * sum((result[n].dtype.itemsize + 1) // 2 for n in names),
        flops=dates * _flops(job),
        memory=_memory(job),
    )


def _tasks(result: xr.Dataset) -> int:
    """Tasks of all bands together after Dask's optimisation, as `write` submits them."""
    arrays = [variable.data for variable in result.data_vars.values()]
    (merged,) = dask.optimize(da.map_blocks(_first, *arrays, dtype=np.uint8, meta=_EMPTY))
    tasks: int = len(merged.__dask_graph__()) - merged.npartitions
    return tasks


def _first(*blocks: NDArray[Any]) -> NDArray[Any]:
    return blocks[0]


_EMPTY = np.empty((0, 0, 0), np.uint8)


def _bytes_of(name: str, pixels: int) -> int:
    """Bytes of one band as it is stored at its own resolution."""
    if name not in BANDS:  # the classification: one byte at 20 m
        return pixels // 4
    return BYTES_STORED * pixels // (BANDS[name].resolution // 10) ** 2


def _flops(job: Job) -> int:
    """Operations for one date; interpolation counts as none."""
    total = 0
    for part in job.parts:
        area = (job.window[0] + 2 * part.halo) * (job.window[1] + 2 * part.halo)
        total += job.windows * area * getattr(part, "flops", 0)
    return total


def _memory(job: Job) -> int:
    """Bytes of the largest block with its halo and neighbours' seams, and of a network's window."""
    block = max(job.blocks[0]) + 2 * job.halo, max(job.blocks[1]) + 2 * job.halo
    values = sum((NEST // factor(band)) ** 2 for band in job.bands_in) / NEST**2
    carried = block[0] * block[1] * (2 * values + 2 * len(job.bands_out))
    features = max((getattr(part, "features", 0) for part in job.parts), default=0)
    window = (job.window[0] + 2 * job.halo) * (job.window[1] + 2 * job.halo)
    return int(BYTES_FLOAT * (carried + ACTIVATIONS_AT_ONCE * features * window))
