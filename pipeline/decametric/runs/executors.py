"""How the blocks of a scene are computed: by this process, or by a cluster."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dask.callbacks import Callback
from dask.utils import funcname

from decametric.errors import DecametricError
from decametric.store.blocks import compute
from decametric.superres.blocks import block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from distributed import Client, Future

    from decametric.store.blocks import Job
    from decametric.superres.predictor import Predictor

NETWORK = f"{funcname(block)}-"
"""How the names of tasks begin that run the predictor."""


class Executor(Protocol):
    """Computes scenes."""

    @property
    def in_flight(self) -> int:
        """Scenes at a time; 1 runs them in the foreground."""

    @property
    def again(self) -> tuple[type[Exception], ...]:
        """Errors after which the rest of a scene is worth another try."""

    def prepare(self, predictor: Predictor) -> None:
        """Make ready for a predictor."""

    def check(self) -> None:
        """Raise DecametricError if nothing can be computed any more."""

    def compute(self, job: Job, tick: Callable[[], object]) -> None:
        """Write the pending blocks of a job; `tick` is called after each."""

    def stop(self) -> None:
        """Give up all that is being computed."""


@dataclass(frozen=True)
class Here:
    """The Dask scheduler of this process; one scene fills it."""

    in_flight: int = 1
    again: tuple[type[Exception], ...] = (Exception,)

    def prepare(self, predictor: Predictor) -> None:
        """Networks are opened at their first use."""

    def check(self) -> None:
        """There is always this process."""

    def compute(self, job: Job, tick: Callable[[], object]) -> None:
        """Write the pending blocks of a job."""
        work = job.work()
        wanted = set(work.keys)

        def after(key: object, *_: object) -> None:
            if key in wanted:
                tick()

        with Callback(posttask=after):
            compute(work)

    def stop(self) -> None:
        """Whoever interrupts this process has stopped it."""


@dataclass
class Cluster:
    """A `dask.distributed` cluster.

    Tasks that fail are tried again where they are; what is left to a scene are losses of the
    cluster itself. Of a scene that fails the other tasks are given up. Results are small marks, and
    no future outlives its scene, so that neither client nor scheduler grow with their number.
    """

    client: Client
    in_flight: int
    retries: int
    resources: dict[str, float]
    """What a worker must declare to run the predictor."""
    again: tuple[type[Exception], ...] = (CancelledError, OSError)
    _futures: set[Future[Any]] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def prepare(self, predictor: Predictor) -> None:
        """Set the workers up, and see that some may run the predictor.

        Raises
        ------
        DecametricError
            If there are workers, and none declares the resources.
        """
        from distributed.scheduler import KilledWorker

        from decametric.runs.workers import PLUGIN, WorkerSetup, offers

        self.again = (*self.again, KilledWorker)
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        if workers and not any(offers(w["resources"], self.resources) for w in workers):
            wanted = " ".join(f"{name}={amount:g}" for name, amount in self.resources.items())
            message = (
                f"No worker of the cluster declares the resource {wanted}; start some with "
                f'`dask worker --resources "{wanted}"`.'
            )
            raise DecametricError(message)
        self.client.register_plugin(WorkerSetup(predictor, self.resources), name=PLUGIN)

    def check(self) -> None:
        """See that the scheduler is there; a client waits for it a while before it gives it up."""
        if self.client.status == "closed":
            message = "The scheduler is gone; start it and run the same call again, it goes on."
            raise DecametricError(message)

    def compute(self, job: Job, tick: Callable[[], object]) -> None:
        """Write the pending blocks of a job."""
        from distributed import as_completed

        self.check()
        work = job.work(apart=NETWORK if self.resources else None)
        wanted = Placement(work.apart, self.resources) if self.resources else None
        if self._stopped.is_set():
            raise CancelledError
        futures = self.client.get(
            work.graph,
            work.keys,
            sync=False,
            retries=self.retries,
            resources=wanted,
            fifo_timeout=0,  # an earlier scene goes first, however soon the next one comes
        )
        del work
        self._futures.update(futures)
        try:
            for future in as_completed(futures):
                if future.status != "finished":
                    future.result()  # raises what went wrong
                tick()
        except BaseException:
            self._give_up(futures)
            raise
        finally:
            self._futures.difference_update(futures)

    def stop(self) -> None:
        """Give up all scenes in flight."""
        self._stopped.set()
        self.again = ()
        self._give_up(list(self._futures))

    def _give_up(self, futures: list[Future[Any]]) -> None:
        # Where the scheduler is gone there is nothing left to cancel.
        with suppress(Exception):
            self.client.cancel(futures)


@dataclass(frozen=True)
class Placement:
    """Resources of each task: some want them, the others none.

    A graph is sent once, and Dask asks this for each of its keys. (Annotations of the arrays
    themselves would be lost when the graph is optimised, https://github.com/dask/dask/issues/7036.)
    """

    keys: frozenset[Any]
    resources: Mapping[str, float]

    def __call__(self, key: Any) -> dict[str, float]:  # noqa: ANN401  (Dask's keys have no type)
        """What the task of a key wants."""
        return dict(self.resources) if key in self.keys else {}


def executor(
    client: Client | None, *, in_flight: int, retries: int, resources: Mapping[str, float] | None
) -> Here | Cluster:
    """The cluster of a client or of the active one, else this process."""
    from distributed import default_client

    if client is None:
        with suppress(ValueError):  # there is none
            client = default_client()
    return Here() if client is None else Cluster(client, in_flight, retries, dict(resources or {}))
