"""Processes of their own that write a series and are killed, or hit a limit; see test_resume.py.

``slow STORE LOG``: write with slow blocks, each appended to LOG; the test kills it.
``every FOLDER SCENE STEP``: before every STEP-th change that a run makes on the disk, kill it with
SIGKILL (each time in a fork), resume, and compare with an undisturbed run.
``limited STORE BYTES``: write big blocks while no file may be larger than BYTES.
``full STORE``: write big blocks; the test has made the disk too small.
``cluster STORE LOG``: write on two worker processes.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import store_fakes as fakes

from decametric.errors import StoreError
from decametric.store import lease, write
from decametric.store.layout import plan

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[Path], object]

CHANGES = {"os.rename", "os.remove", "os.rmdir"}


def log_block(band: str, date: int, row: int, col: int, *, log: str, pause: float) -> None:
    """Tell the test that a source block has been computed."""
    time.sleep(pause)
    with Path(log).open("a") as lines:
        lines.write(f"{band} {date} {row} {col}\n")


def run(work: Work, store: Path, kill_before: int | None = None) -> bool:
    """Do `work` in a fork, killed before its n-th change; whether it lived to be killed."""
    child = os.fork()
    if child == 0:
        count = iter(range(10**6))

        def watch(event: str, _arguments: object) -> None:
            if event in CHANGES and next(count) == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        with dask.config.set(scheduler="sync"):
            work(store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        sys.exit("a run failed")
    return os.WIFSIGNALED(status)


def kill_at_changes(folder: Path, step: int, before: Work | None, work: Work, after: Work) -> int:
    """Kill `work` wherever it can be killed; `after` must end as if nothing had happened."""
    start, whole, store = folder / "start", folder / "whole", folder / "out.zarr"
    start.mkdir()
    lease.SETTLE = 0  # no worker outlives a killed fork
    plan(fakes.dataset())  # what is loaded here need not be loaded in each fork
    if before:
        run(before, start)
    shutil.copytree(start, whole)
    run(after, whole)
    moment = 0
    while True:
        shutil.copytree(start, store)
        if not run(work, store, moment):
            return moment // step
        run(after, store)
        if differing := set(fakes.tree(store).items()) ^ set(fakes.tree(whole).items()):
            sys.exit(f"killed before change {moment}: {sorted(differing)}")
        shutil.rmtree(store)
        moment += step


def small(
    store: Path, dates: int = 1, first: int = 0, predictor: str = "bicubic", **options: bool
) -> None:
    """Write one block of two bands."""
    source = fakes.dataset(
        fakes.TIMES[first:dates], bands=("B05", "SCL"), chunk=120, predictor=predictor
    )
    write(source, store, **options)


def give_up_replacing(store: Path) -> None:
    """After a killed overwrite: go on with the old configuration, or learn that it is gone."""
    try:
        small(store)
    except StoreError as error:
        if "'dsen2' in the store" not in str(error):
            raise
        small(store, overwrite=True)


SCENES: dict[str, tuple[Work | None, Work, Work]] = {
    "new": (None, small, small),
    "append": (small, partial(small, dates=2), partial(small, dates=2)),
    "late": (partial(small, dates=3, first=1), small, partial(small, dates=3)),
    "replace": (
        partial(small, dates=2, predictor="dsen2"),
        partial(small, overwrite=True),
        partial(small, overwrite=True),
    ),
    "give up": (small, partial(small, predictor="dsen2", overwrite=True), give_up_replacing),
}


def main(mode: str, store: str, *rest: str) -> None:
    """Do what the test asks for."""
    if mode == "every":
        print(kill_at_changes(Path(store), int(rest[1]), *SCENES[rest[0]]))  # noqa: T201
    elif mode in {"slow", "cluster"}:
        hook = partial(log_block, log=rest[0], pause=0.02 if mode == "slow" else 0)
        source = fakes.dataset(fakes.TIMES[:2], chunk=42, hook=hook)
        if mode == "slow":
            write(source, store)
        else:
            from distributed import Client, LocalCluster

            with (
                LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
                Client(cluster),
            ):
                write(source, store)
    else:
        if mode == "limited":
            limit = int(rest[0])
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            write(fakes.big_dataset(), store)
        except StoreError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
