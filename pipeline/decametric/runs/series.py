"""`run_series`: many tiles and many dates into one store, whatever fails on the way.

Strategy. The unit of work is a scene: one tile, one solar day. Scenes are begun in the order of
tile and time: each is built lazily and its date becomes part of the tile's group; then its missing
blocks are submitted as one graph. A bounded number of scenes is in flight; the next one is built
meanwhile, and nothing of a scene that has ended is kept but its line in the report. A tile is held
under its lease from its first scene to its last one. What is finished is never done again, so a run
that was stopped anywhere goes on when it is called again.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from decametric.bands import listed
from decametric.grid import DEFAULT_CHUNK
from decametric.runs.executors import executor
from decametric.runs.grouping import Scene, scenes
from decametric.runs.report import Report, SceneReport
from decametric.runs.scene import Order
from decametric.runs.tiles import Tiles
from decametric.scenes.sources import read_items
from decametric.store.layout import plan
from decametric.superres.predictor import provenance

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from distributed import Client

    from decametric.runs.executors import Executor
    from decametric.scenes.sources import Items
    from decametric.store.blocks import Job
    from decametric.store.tile import Tile
    from decametric.superres.predictor import Predictor
    from decametric.superres.presets import Precision

    Progress = Callable[[int, int], object]
    Tell = Callable[[SceneReport], object]
    Submit = Callable[[Callable[[], None]], None]


def run_series(
    items: Items,
    store: str | os.PathLike[str],
    *,
    predictor: Predictor | str | Path | None = None,
    client: Client | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    bands: Sequence[str] | None = None,
    chunk: int | None = None,
    window: int = DEFAULT_CHUNK,
    precision: Precision = "float32",
    orientations: int = 1,
    offset: int | None = None,
    any_level: bool = False,
    in_flight: int = 2,
    retries: int = 2,
    resources: Mapping[str, float] | None = None,
    overwrite: bool = False,
    multiscale: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], object] | None = None,
    tell: Callable[[SceneReport], object] | None = None,
) -> Report:
    """Sharpen all scenes of `items` and write each tile's series into its group of `store`.

    Items are grouped by tile and solar day. Dates that the store holds already are skipped, new
    ones are put in their places in time; a run that was stopped goes on when it is called again
    with the same arguments. A scene that fails is tried again, then reported; it never stops the
    others.

    Parameters
    ----------
    items : pystac.Item, list, pystac.ItemCollection, path, URL or dict
        Anything that `load` takes, of any number of tiles and days.
    store : path or URL
        Root of the series; tile 33UUB becomes the group ``<store>/33UUB``.
    predictor : Predictor, str or Path, optional
        What sharpens, or its name or path. Default: the preset of the level of the scenes.
    client : distributed.Client, optional
        The cluster that computes. Default: the active client; without one, this process.
    bbox : (west, south, east, north), optional
        Area of interest in degrees, cut from every tile.
    bands : sequence of str, optional
        Bands of the result. Default: all.
    chunk, window : int, optional
        Edges of blocks and of the predictor's windows in 10 m pixels, see `load` and `sharpen`.
    precision : {"float32", "bfloat16"}
        Arithmetic of a predictor that is given by name.
    orientations : {1, 2, 4, 8}
        Orientations that such a predictor takes the mean over, see `load_predictor`.
    offset : int, optional
        Radiometric offset in digital numbers, where an item leaves it open.
    any_level : bool
        Take scenes of another level than the predictor was trained for.
    in_flight : int
        Scenes that are computed at a time on a cluster.
    retries : int
        How often a failed task is tried again on a cluster; without one, how often the rest of a
        scene is.
    resources : mapping of str to float, optional
        What a worker must declare to run the predictor, ``{"GPU": 1}``; reading and writing go to
        any worker.
    overwrite : bool
        Replace the tiles of `items` where the store has them.
    multiscale : bool
        Begin tiles with coarser levels for viewers, see `write`.
    storage_options : mapping, optional
        Options of the fsspec filesystem of `store`; never stored.
    progress : callable, optional
        Called with (blocks finished, blocks expected) after each block, from any thread.
    tell : callable, optional
        Called with the report of each scene that has ended, from any thread.

    Returns
    -------
    Report
        A line for each scene. ``report.ok`` is False if one failed.

    Raises
    ------
    DecametricError
        If no scene at all can be begun: the reason of the first.
    """
    order = Order(
        predictor=predictor,
        bands=None if bands is None else tuple(listed(bands)),
        bbox=bbox,
        chunk=chunk,
        window=window,
        precision=precision,
        orientations=orientations,
        offset=offset,
        any_level=any_level,
    )
    given = read_items(items)
    opened = order.open_predictor(given)
    order = replace(order, predictor=opened)
    found = scenes(given, offset=offset)
    where = executor(client, in_flight=in_flight, retries=retries, resources=resources)
    where.prepare(opened)
    tiles = Tiles(
        store, found, overwrite=overwrite, multiscale=multiscale, storage_options=storage_options
    )
    run = _Run(order, tiles, where, retries, _Ticks(len(found), progress), tell)
    return run.all(found, provenance(opened))


@dataclass(frozen=True)
class _Begun:
    """A scene whose date is part of its tile's group."""

    tile: Tile
    kept: int
    """Blocks that were finished before."""
    job: Job | None = None
    """Its blocks that are not; None if it did not even have to be built."""


class _Run:
    """One call of `run_series`."""

    def __init__(
        self,
        order: Order,
        tiles: Tiles,
        where: Executor,
        retries: int,
        ticks: _Ticks,
        tell: Tell | None,
    ) -> None:
        self.order = order
        self.tiles = tiles
        self.where = where
        self.retries = retries
        self.ticks = ticks
        self.tell = tell
        self.begun = False
        """Whether the store took one scene at least."""
        self.reports: dict[str, SceneReport] = {}

    def all(self, found: list[Scene], predictor: dict[str, object]) -> Report:
        """Every scene, in order; `predictor` says in the report what sharpened."""
        started = time.monotonic()
        try:
            with _bounded(self.where) as submit:
                for scene in found:
                    self._scene(scene, submit)
        finally:
            self.tiles.close()
        reports = tuple(self.reports[scene.key] for scene in found)
        if reports and not self.begun and reports[0].error is not None:
            raise reports[0].error
        return Report(reports, time.monotonic() - started, predictor)

    def _scene(self, scene: Scene, submit: Submit) -> None:
        """Begin a scene, and leave its computation to others."""
        started = time.monotonic()
        try:
            begun = self._begin(scene)
        except Exception as error:  # noqa: BLE001  (one scene never stops the others)
            self.ticks.expect(0)
            self._end(scene, started, None, error)
            return
        self.begun = True
        self.ticks.expect(len(begun.job.pending) if begun.job else 0)
        if begun.job is None or not begun.job.pending:
            self._end(scene, started, begun, None)
        else:
            submit(partial(self._compute, scene, started, begun, begun.job))

    def _begin(self, scene: Scene) -> _Begun:
        """Build a scene and make its date part of the series; not if it is there already."""
        if scene.error is not None:
            raise scene.error
        self.where.check()
        tile = self.tiles.held(scene)
        if tile is not None and (kept := tile.finished(scene.record)):
            return _Begun(tile, kept)
        planned = plan(self.order.sharpen(scene.items))
        tile = tile or self.tiles.hold(planned, self._builds)
        job = tile.add(planned)
        return _Begun(tile, job.blocks - len(job.pending), job)

    def _builds(self, scene: Scene) -> bool:
        """Whether a scene can be built; if not, its turn will come to be reported."""
        with suppress(Exception):
            self.order.sharpen(scene.items)
            return True
        return False

    def _compute(self, scene: Scene, started: float, begun: _Begun, job: Job) -> None:
        """Write the blocks of a scene; what a cluster or a file refused is tried again."""
        error: Exception | None = None
        for _ in range(1 + self.retries):
            try:
                self.where.compute(job, self.ticks.tick)
            except self.where.again as again:
                error = again
            except Exception as final:  # noqa: BLE001  (one scene never stops the others)
                error = final
                break
            else:
                error = None
                break
            with suppress(Exception):  # then the same graph is tried
                job = begun.tile.job(plan(self.order.sharpen(scene.items)))
        self._end(scene, started, begun, error)

    def _end(
        self, scene: Scene, started: float, begun: _Begun | None, error: Exception | None
    ) -> None:
        """Report a scene, and let its tile go if it was the last."""
        facts: dict[str, Any] = {}
        if begun is not None:
            facts = {"path": begun.tile.target.shown, "bands": begun.tile.bands}
            facts |= {"blocks_skipped": begun.kept, **_written(begun, error)}
        try:
            self.tiles.leave(scene)
        except Exception as failure:  # noqa: BLE001  (one scene never stops the others)
            error = error or failure
        if error is not None and self.reports:
            # Its frames hold the scene's graph; only the first one may yet be raised.
            error.__traceback__ = None
        done = begun is not None and begun.job is not None and begun.job.pending
        self.reports[scene.key] = SceneReport(
            tile=scene.tile,
            time=scene.time,
            items=tuple(item.id for item in scene.items),
            state="failed" if error else "done" if done else "skipped",
            seconds=time.monotonic() - started,
            error=error,
            **facts,
        )
        if self.tell is not None:
            self.tell(self.reports[scene.key])


def _written(begun: _Begun, error: Exception | None) -> dict[str, int]:
    """What a run stored of a scene."""
    job = begun.job
    if job is None:
        return {}
    if error is None:
        return {"blocks_written": len(job.pending), "pixels": job.pixels}
    with suppress(Exception):  # the store itself may be what failed
        left = begun.tile.job(job.planned)
        written = len(job.pending) - len(left.pending)
        return {"blocks_written": written, "pixels": job.pixels - left.pixels}
    return {}


@contextmanager
def _bounded(where: Executor) -> Iterator[Submit]:
    """A way to run work in the background, as many at a time as are to be in flight.

    Where this process computes, one scene fills it, and work runs in the foreground.
    """
    if where.in_flight == 1:
        yield lambda work: work()
        return
    slots = threading.Semaphore(where.in_flight)
    running: set[Future[None]] = set()

    def submit(work: Callable[[], None]) -> None:
        slots.acquire()
        future = pool.submit(work)
        running.add(future)
        future.add_done_callback(ended)

    def ended(future: Future[None]) -> None:
        running.discard(future)
        slots.release()

    with ThreadPoolExecutor(where.in_flight) as pool:
        try:
            yield submit
            wait(tuple(running))
        except BaseException:
            where.stop()
            raise


class _Ticks:
    """Counts blocks for a progress bar."""

    def __init__(self, scenes: int, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._left = scenes
        self._done = self._known = self._last = 0

    def expect(self, blocks: int) -> None:
        """Another scene has so many blocks to write; those that follow are taken to be like it."""
        with self._lock:
            self._left -= 1
            self._known += blocks
            self._last = blocks

    def tick(self) -> None:
        """A block is finished."""
        with self._lock:
            self._done += 1
            done, known = self._done, self._known + self._left * self._last
        if self._progress is not None:
            self._progress(done, max(done, known))
