"""Reading images again, instead of keeping them, when what was learnt of them is known.

Dask computes equal tasks once, and keeps their results for whoever needs them later: a metric that
needs a median of the whole image before it can look at any block would hold all blocks in memory.
So the tasks are repeated under other names, and those that read wait for the median.
(`dask.graph_manipulation.bind` is meant for this, but as of Dask 2026.8 it clones no slices and no
rechunked arrays.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
from dask._task_spec import DataNode, GraphNode, Task, TaskRef, convert_legacy_graph
from dask.base import clone_key
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_again(
    arrays: Sequence[da.Array | None], after: Sequence[da.Array]
) -> list[da.Array | None]:
    """The same arrays, computed anew as soon as others are known.

    Parameters
    ----------
    arrays : sequence of dask.array.Array or None
        What to compute again; None stays None.
    after : sequence of dask.array.Array
        What to wait for.
    """
    present = [array for array in arrays if array is not None]
    clones = iter(_cloned(present, after, dask.base.tokenize([array.name for array in after])))
    return [None if array is None else next(clones) for array in arrays]


def _cloned(arrays: list[da.Array], after: Sequence[Any], token: str) -> list[da.Array]:
    """Arrays of new names; optimised first, since their layers become plain tasks."""
    graph: dict[Any, Any] = {}
    for array in dask.optimize(*arrays):
        graph |= convert_legacy_graph(dict(array.__dask_graph__()))
    known = Task(f"known-{token}", _nothing, *_references(after))
    names = {key: clone_key(key, token) for key in graph}
    tasks = {names[key]: _waiting(node, names, known) for key, node in graph.items()}
    tasks[known.key] = known
    clones = []
    for array in arrays:
        name = clone_key(array.name, token)
        layers = HighLevelGraph.from_collections(name, tasks, after)
        clones.append(da.Array(layers, name, array.chunks, meta=array))
    return clones


def _waiting(node: GraphNode, names: dict[Any, Any], known: Task) -> GraphNode:
    """A task of a new name; if it needs no other, it waits. Data are there already."""
    renamed = node.substitute(names, key=names[node.key])
    if node.dependencies or isinstance(node, DataNode):
        return renamed
    return Task(renamed.key, _first, renamed, TaskRef(known.key))


def _references(arrays: Sequence[da.Array]) -> list[TaskRef]:
    return [TaskRef(key) for array in arrays for key in flatten(array.__dask_keys__())]


def _nothing(*results: object) -> None:
    """Something to wait for."""


def _first(result: object, _: None) -> object:
    return result
