"""One block of all bands into the store, and the graph of the blocks that are not there yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import zarr
from dask import threaded
from dask.base import get_scheduler, tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.optimization import cull

from decametric.errors import StoreError
from decametric.store.lease import held
from decametric.store.moving import DONE
from decametric.store.packing import pack
from decametric.store.target import writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from decametric.store.layout import Plan
    from decametric.store.target import Target

    Place = tuple[int, int, int]
    Key = tuple[str, int, int, int]


@dataclass(frozen=True)
class Work:
    """A graph, optimised, of the blocks that are to be written."""

    graph: dict[Any, Any]
    keys: list[Key]
    """One for each block."""
    apart: frozenset[Any]
    """Keys of the tasks of the layers that were asked for."""


@dataclass(frozen=True)
class Job:
    """A dataset with its positions in the store, and the blocks that are not there yet."""

    planned: Plan
    target: Target
    lease: str
    positions: tuple[int, ...]
    """Index in the store of each date of the dataset."""
    pending: tuple[Place, ...]
    """Blocks without a mark, as (date in the dataset, row, column)."""
    dates: int
    """Number of dates in the store."""

    @property
    def blocks(self) -> int:
        """All blocks of the dataset."""
        rows, columns = self.planned.blocks
        return len(self.positions) * rows * columns

    @property
    def pixels(self) -> int:
        """Pixels of 10 m in the pending blocks, each counted once for all bands."""
        heights, widths = next(iter(self.planned.bands.values())).chunks[1:]
        return sum(heights[row] * widths[column] for _, row, column in self.pending)

    def work(self, apart: str | None = None) -> Work:
        """The graph of the pending blocks.

        Parameters
        ----------
        apart : str, optional
            Tasks of layers whose name begins so are not fused with what follows.
        """
        marks = self._marks()
        keys = [(marks.name, *place) for place in self.pending]
        whole = marks.__dask_graph__()
        assert isinstance(whole, HighLevelGraph)  # noqa: S101  (arrays have no other)
        layers = whole.layers
        names = [name for name in layers if apart and name.startswith(apart)]
        # What is asked for is not fused into others; what only it needs is culled afterwards.
        kept = [key for name in names for key in layers[name].get_output_keys()]
        graph, _ = cull(marks.__dask_optimize__(whole, [*keys, *kept]), keys)
        # Where others were fused into such a task, its own key is only an alias of it.
        tasks = (getattr(graph[key], "target", key) for key in kept if key in graph)
        return Work(graph, keys, frozenset(tasks))

    def compute(self) -> None:
        """Write the pending blocks with the active scheduler."""
        if self.pending:
            compute(self.work())

    def _marks(self) -> da.Array:
        """The lazy marks of all blocks: computing one stores the block."""
        arrays = list(self.planned.bands.values())
        manifest, options = self.planned.manifest, self.target.options
        marks: da.Array = da.map_blocks(
            _write_block,
            *arrays,
            target=self.target,
            lease=self.lease,
            bands=tuple(self.planned.bands),
            edges=self.planned.edges,
            positions=self.positions,
            version=tokenize(manifest.digest, self.lease, self.dates, options),
            chunks=tuple((1,) * count for count in arrays[0].numblocks),
            dtype=np.uint8,
            meta=np.empty((0, 0, 0), np.uint8),
        )
        return marks


def compute(work: Work) -> None:
    """Write blocks with the active scheduler; the threads of this process, if there is none."""
    (get_scheduler() or threaded.get)(work.graph, work.keys)


def _write_block(
    *blocks: NDArray[Any],
    block_id: Place,
    target: Target,
    lease: str,
    bands: tuple[str, ...],
    edges: tuple[int, int],
    positions: tuple[int, ...],
    version: str,
) -> NDArray[np.uint8]:
    """Store one block of all bands, then its mark. Runs on the workers."""
    date, row, column = block_id
    top, left = row * edges[0], column * edges[1]
    _, height, width = blocks[0].shape
    place = (positions[date], slice(top, top + height), slice(left, left + width))
    packed = [pack(block[0]) for block in blocks]
    with writing(target):
        arrays, done = _opened(target, bands, version)
        check(done, target, lease)
        for array, block in zip(arrays, packed, strict=True):
            array[place] = block
        done[positions[date], row, column] = 1
    return np.ones((1, 1, 1), np.uint8)


def check(array: zarr.Array[Any], target: Target, lease: str) -> None:
    """See that the run of this task still holds the tile of an array: it may be long dead."""
    if not held(array.store, lease):
        message = f"{target.shown} was taken over by another run; this one writes no more."
        raise StoreError(message)


@lru_cache(maxsize=8)
def _opened(
    target: Target, bands: tuple[str, ...], version: str
) -> tuple[list[zarr.Array[Any]], zarr.Array[Any]]:
    """The arrays of a tile, opened once per process.

    `version` is a digest of the configuration, the run, the number of dates and the storage
    options, on which all of that depends; so a store that was replaced or has grown is opened anew.
    """
    del version
    root = target.open()
    arrays = [zarr.open_array(root, path=target.key(name), mode="r+") for name in bands]
    return arrays, zarr.open_array(root, path=target.key(DONE), mode="r+")
