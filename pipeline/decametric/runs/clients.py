"""Dask clients. The library takes the active one; only the command line makes one, here."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decametric.errors import DecametricError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

CONNECT_TIMEOUT = 15
"""Seconds to wait for a running scheduler."""

NO_DASHBOARD = {
    "dashboard_address": "127.0.0.1:0",
    "scheduler_kwargs": {"dashboard": False},
}
"""Of a cluster that lives as long as a command.

A scheduler without an address of the dashboard still serves its health there: on port 8787 of all
interfaces, or with a warning on another, if a second cluster runs on this machine.
"""

_EXAMPLE = "decametric: {cluster: dask_jobqueue.SLURMCluster, workers: 4}"


@contextmanager
def client(
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: str | None = None,
    gpus: bool = False,
    cluster: str | os.PathLike[str] | None = None,
    network: bool = False,
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
    gpus : bool
        Start one worker process for each GPU of this machine.
    cluster : path, optional
        Dask configuration (YAML) of a cluster to start, see `start`.
    network : bool
        Whether the work is that of a network: see `threads`.

    Yields
    ------
    distributed.Client or None
        None if nothing was asked for: then the threads of this process compute.

    Raises
    ------
    UsageError
        If more than one of them is given.
    DecametricError
        If the scheduler does not answer, or the cluster cannot be started.
    """
    ways = {
        "--workers": workers is not None,
        "--scheduler": scheduler is not None,
        "--scheduler-file": scheduler_file is not None,
        "--gpus": gpus,
        "--cluster": cluster is not None,
    }
    if sum(ways.values()) > 1:
        message = f"Give one of {', '.join(name for name, given in ways.items() if given)} only."
        raise UsageError(message)
    if not any(ways.values()):
        yield None
    elif scheduler is not None or scheduler_file is not None:
        with _join(scheduler, scheduler_file) as made:
            yield made
    else:
        with _started(workers, cluster, network=network) as there, there.get_client() as made:
            yield made


@contextmanager
def _started(
    workers: int | None, cluster: str | os.PathLike[str] | None, *, network: bool
) -> Iterator[Any]:
    """A cluster of our own: from a file, of this machine's cores, or of its GPUs."""
    if cluster is not None:
        with start(cluster) as made:
            yield made
        return
    with _deaf():
        made = _local(workers, network=network) if workers is not None else _local_gpus()
    with made:
        yield made


def _local(workers: int, *, network: bool) -> Any:  # noqa: ANN401  (Dask's clusters share no type)
    """Processes on this machine."""
    from distributed import LocalCluster

    from decametric.runs.workers import environment

    cores = max(1, (os.cpu_count() or 1) // workers)
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=threads(cores, network=network),
        **NO_DASHBOARD,
        env=environment(cores),
    )


def threads(cores: int, *, network: bool) -> int:
    """Dask threads of a worker process with `cores` cores.

    A network runs once at a time in a process, on TensorFlow's own threads, which fill the cores;
    a second Dask thread reads and writes meanwhile, and more would only wait with memory in hand.
    Interpolation is NumPy, and wants a thread for each core.
    """
    return min(cores, 2) if network else cores


def _local_gpus() -> Any:  # noqa: ANN401  (Dask's clusters share no type)
    """A process for each GPU of this machine."""
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        message = "--gpus needs the package dask-cuda; install it, or use --workers."
        raise DecametricError(message) from error
    try:
        return LocalCUDACluster(threads_per_worker=2, **NO_DASHBOARD)
    except Exception as error:
        message = f"--gpus finds no GPU that can be used ({error}); use --workers."
        raise DecametricError(message) from error


@contextmanager
def start(file: str | os.PathLike[str]) -> Iterator[Any]:
    """Start the cluster that a Dask configuration describes, and close it after the block.

    Its section ``decametric`` names the class (``cluster``), its arguments (``options``, optional),
    and ``workers`` or the limits of ``adapt`` (``{minimum: 0, maximum: 8}``). All other sections
    (``jobqueue``, ``gateway``, ``distributed``, ...) are what Dask and the class know by
    themselves.

    Parameters
    ----------
    file : path
        YAML.

    Yields
    ------
    distributed.deploy.Cluster or dask_gateway.GatewayCluster

    Raises
    ------
    DecametricError
        If the file cannot be read, the class is not installed, or the cluster does not start.
    """
    import dask

    document = _read(file)
    ours = document["decametric"]
    with dask.config.set(dask.config.merge(dask.config.config, document)):
        made = _made(str(ours["cluster"]), ours.get("options") or {}, file)
        with made:
            _check_queue(made, file)
            if "adapt" in ours:
                made.adapt(**ours["adapt"])
            elif "workers" in ours:
                made.scale(ours["workers"])
            yield made


def _read(file: str | os.PathLike[str]) -> dict[str, Any]:
    """The configuration in a file."""
    import yaml

    try:
        document = yaml.safe_load(Path(file).read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).replace("\n", " ")
        message = f"Cannot read {file}: {reason}; give a Dask configuration in YAML."
        raise DecametricError(message) from error
    ours = document.get("decametric") if isinstance(document, dict) else None
    if not isinstance(ours, dict) or "." not in str(ours.get("cluster")):
        message = f"{file} does not name the class of a cluster; write `{_EXAMPLE}`."
        raise DecametricError(message)
    found: dict[str, Any] = document
    return found


def _made(name: str, options: dict[str, Any], file: str | os.PathLike[str]) -> Any:  # noqa: ANN401
    """A cluster of the class `name`."""
    module, _, short = name.rpartition(".")
    try:
        with _deaf():
            return getattr(import_module(module), short)(**options)
    except (ImportError, AttributeError) as error:
        message = f"{file} names {name}, which cannot be imported ({error}); install its package."
        raise DecametricError(message) from error
    except Exception as error:
        reason = str(error).replace("\n", " ").rstrip(".")
        message = f"The cluster of {file} does not start: {reason}."
        raise DecametricError(message) from error


def _check_queue(made: Any, file: str | os.PathLike[str]) -> None:  # noqa: ANN401
    """Refuse a cluster of queued jobs where no job can be submitted: it would wait for ever."""
    job = getattr(made, "job_cls", None)
    for command in str(getattr(job, "submit_command", "")).split()[:1]:
        if shutil.which(command) is None:
            message = (
                f"The cluster of {file} cannot start workers: there is no {command} here; run this "
                "where jobs can be submitted."
            )
            raise DecametricError(message)


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
