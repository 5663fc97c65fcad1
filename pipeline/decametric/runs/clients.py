"""Dask clients. The library takes the active one; only the command line makes one, here."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from decametric.errors import DecametricError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

CONNECT_TIMEOUT = 15
"""Seconds to wait for a running scheduler."""


@contextmanager
def client(
    *, workers: int | None = None, scheduler: str | None = None, scheduler_file: str | None = None
) -> Iterator[Client | None]:
    """Make a client for the block, and close what was made.

    Parameters
    ----------
    workers : int, optional
        Start this many worker processes on this machine; its cores are shared out among them.
    scheduler : str, optional
        Address of a running scheduler, ``tcp://host:8786``.
    scheduler_file : path, optional
        File that ``dask scheduler --scheduler-file`` wrote.

    Yields
    ------
    distributed.Client or None
        None if nothing was asked for: then the threads of this process compute.

    Raises
    ------
    UsageError
        If more than one of them is given.
    DecametricError
        If the scheduler does not answer.
    """
    given = [name for name in (workers, scheduler, scheduler_file) if name is not None]
    if len(given) > 1:
        message = "Give one of --workers, --scheduler and --scheduler-file only."
        raise UsageError(message)
    if not given:
        yield None
    elif workers is not None:
        with _local(workers) as made:
            yield made
    else:
        with _join(scheduler, scheduler_file) as made:
            yield made


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    """Processes on this machine."""
    from distributed import Client, LocalCluster

    threads = max(1, (os.cpu_count() or 1) // workers)
    with _deaf():
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=threads, dashboard_address=None
        )
    with cluster, Client(cluster) as made:
        yield made


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that start in the block inherit that Ctrl-C is not for them.

    A terminal sends it to all of them; only the first should act, and stop the others in order.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _join(scheduler: str | None, scheduler_file: str | None) -> Iterator[Client]:
    """A running cluster."""
    from distributed import Client

    try:
        made = Client(scheduler, scheduler_file=scheduler_file, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError) as error:
        where = scheduler or scheduler_file
        message = f"No Dask scheduler answers at {where}; start one with `dask scheduler`."
        raise DecametricError(message) from error
    with made:
        yield made
