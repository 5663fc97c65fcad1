"""Many scenes on a cluster: planning, overhead, flat memory, two workers against one.

Scheduler and workers are processes of their own; scenes are generated, the predictor is trivial.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.benchmarks.common import arguments, finish
from tests.benchmarks.memory import pixels

FULL, TILES, RUN, MANY = 10980, 200, 3, 200
BURN = 0.4
"""Seconds of arithmetic in a window, for the throughput of one worker and of two."""


@dataclass(frozen=True)
class Burner:
    """A predictor of B11 that computes for a while without reading, writing or waiting."""

    name = "burner"
    bands_in = ("B11",)
    bands_out = ("B11",)
    halo = 6

    def __call__(self, b10, b20, b60):
        """Burn, then repeat pixels."""
        del b10, b60
        end = time.thread_time() + BURN
        while time.thread_time() < end:
            np.sqrt(b20).sum()
        return b20.repeat(2, -1).repeat(2, -2)


def items(count: int, size: int, tiles: int):
    """Items of `tiles` tiles, as many days as needed, whose files do not exist."""
    import pystac

    found = []
    for n in range(count):
        tile, day = f"33U{chr(65 + n % tiles // 20)}{chr(65 + n % tiles % 20)}", n // tiles
        when = f"{2020 + day // 300}-{1 + day % 300 // 25:02d}-{1 + day % 25:02d}T10:20:31Z"
        assets = {
            key: {
                "href": f"/none/{key}.tif",
                "proj:shape": [size * 10 // res] * 2,
                "proj:transform": [res, 0, 300000, 0, -res, 6200040],
                "raster:bands": [{"nodata": 0, "scale": 1e-4, "offset": -0.1}],
            }
            for key, res in KEYS.items()
        }
        properties = {"datetime": when, "proj:epsg": 32633}
        document = {
            "type": "Feature", "stac_version": "1.0.0", "id": f"S2A_{tile}_{n}_0_L2A",
            "geometry": None, "properties": properties, "links": [], "assets": assets,
        }  # fmt: skip
        found.append(pystac.Item.from_dict(document, href=f"/none/{n}.json"))
    return found


def bands():
    """The twelve bands with their keys and resolutions."""
    from decametric.bands import BANDS, NETWORK_BANDS

    return {b: (BANDS[b].key, res) for res, names in NETWORK_BANDS.items() for b in names}


KEYS = dict(bands().values())


def scene(found, *, chunk=None, bands=None, **_):
    """What `load` would return, generated: cheap, so that the pipeline is measured."""
    import dask.array as da
    import xarray as xr
    from odc.geo.xr import xr_coords

    from decametric.bands import NETWORK_BANDS, group
    from decametric.grid import nested
    from decametric.runs.grouping import scenes
    from decametric.scenes.footprint import item_grid
    from decametric.scenes.items import describe

    (one,) = scenes(found)
    grid = item_grid(found[0], describe(found[0]).assets)
    chunk = chunk or 1098
    time_ = np.array([one.time.removesuffix("Z")], "M8[ns]")
    children = {}
    for res, box in nested(grid).items():
        edge = chunk * 10 // res
        chunks = ((1,), *((edge,) * (n // edge) for n in box.shape))
        data = {
            name: (
                ("time", "y", "x"),
                da.map_blocks(
                    pixels, edge=edge, band=7 * n + hash(one.key) % 997, chunks=chunks, dtype="f4"
                ),
            )
            for n, name in enumerate(NETWORK_BANDS[res])
            if bands is None or name in bands
        }
        children[group(res)] = xr.Dataset(data, {"time": time_, **xr_coords(box)})
    attrs = {"level": "L2A", "tile": one.tile, "provenance": {"scenes": [one.record]}}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **children})


def resident(process: int | str = "self") -> float:
    """Resident memory of a process in MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


@contextmanager
def cluster(folder: Path, workers: int):
    """A scheduler and workers of one thread; yields a client and the scheduler's process."""
    from distributed import Client

    file = folder / f"scheduler-{time.time_ns()}.json"
    dask = [sys.executable, "-m", "dask"]
    log = (folder / "dask.log").open("ab")
    started = [
        subprocess.Popen(
            [*dask, "scheduler", "--host", "tcp://127.0.0.1", "--port", "0", "--no-dashboard",
             "--scheduler-file", str(file)], stdout=log, stderr=log,
        )
    ]  # fmt: skip
    while not file.exists():
        time.sleep(0.1)
    started += [
        subprocess.Popen(
            [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny",
             "--no-dashboard"], stdout=log, stderr=log,
        )
        for _ in range(workers)
    ]  # fmt: skip
    try:
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(workers, timeout=120)
            warm(folder, workers)
            yield client, started[0].pid
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
        log.close()


def warm(folder: Path, workers: int) -> None:
    """Let every worker import all that it needs, which is a cost of its start."""
    from decametric.runs.series import run_series

    name = folder / f"warm-{time.time_ns()}.zarr"
    report = run_series(items(2 * workers, 732, 2 * workers), name, chunk=366, window=366)
    assert report.ok, str(report)


def planning(folder: Path) -> list[str]:
    """Plan 200 full tiles."""
    from decametric.runs.plans import plan_series
    from decametric.runs.scene import Order

    start, before = time.perf_counter(), resident()
    plans = plan_series(items(TILES, FULL, TILES), folder / "none.zarr", Order())
    seconds, more = time.perf_counter() - start, resident() - before
    assert {plan.state for plan in plans} == {"new"}
    blocks = sum(plan.plan.blocks for plan in plans)
    found = f"{seconds / TILES:.2f} s a scene, {more:.0f} MiB more in the client"
    return [f"| {TILES} tiles of {FULL} x {FULL} planned ({blocks} blocks) | {found} |"]


def full(folder: Path) -> list[str]:
    """Run three full tiles through two workers."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    from decametric.runs.scene import Order
    from decametric.runs.series import run_series
    from decametric.store.layout import plan
    from decametric.store.tile import open_tile

    class Count(SchedulerPlugin):
        name = "count"
        tasks = 0

        def update_graph(self, _scheduler, *, tasks, **_):
            self.tasks += len(tasks)

    found = items(RUN, FULL, RUN)
    told = Order().explain(found[:1]).tasks
    start = time.perf_counter()
    planned = plan(Order().sharpen(found[:1]))
    with open_tile(folder / "prepared.zarr", planned.tile) as tile:
        work = tile.add(planned).work()
    prepared = time.perf_counter() - start
    with cluster(folder, 2) as (client, scheduler):
        client.register_plugin(Count())
        report = run_series(found, folder / "full.zarr", in_flight=2)
        seen = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.plugins["count"].tasks)
        memory = resident(scheduler)
    assert report.ok, str(report)
    each, rate = report.seconds / RUN, report.pixels_per_second / 1e6
    rows = {
        f"one made ready by the client (built, template, graph of {len(work.graph)})": (
            f"{prepared:.1f} s"
        ),
        "tasks of one: told by `explain`, seen by the scheduler": f"{told}, {seen / RUN:.0f}",
        f"{RUN} of them, bicubic, 12 bands, 2 workers of one thread": (
            f"{each:.0f} s each, {rate:.2f} Mpixel/s, {each / told * 1e3:.1f} ms a task"
        ),
        "scheduler afterwards": f"{memory:.0f} MiB",
    }
    return [f"| {what} | {value} |" for what, value in rows.items()]


def many(folder: Path) -> list[str]:
    """Run hundreds of small scenes, and watch client and scheduler."""
    from decametric.runs.series import run_series

    found, seen = items(MANY, 732, 4), {}
    with cluster(folder, 1) as (client, scheduler):
        del client

        def look(done: int, _total: int) -> None:
            if done in marks:
                seen[done // 4] = resident(), resident(scheduler)

        marks = {4 * MANY * share // 4 for share in (1, 2, 3, 4)}
        report = run_series(
            found, folder / "many.zarr", bands=["B02", "B11"], chunk=366, window=366, progress=look
        )
    assert report.ok, str(report)
    lines = [
        f"| after {n} small scenes: client, scheduler | {ours:.0f}, {theirs:.0f} MiB |"
        for n, (ours, theirs) in sorted(seen.items())
    ]
    return [
        *lines,
        f"| each of the {MANY} small scenes (4 blocks) | {report.seconds / MANY:.2f} s |",
    ]


def throughput(folder: Path) -> list[str]:
    """The same series on one worker process and on two."""
    from decametric.runs.series import run_series

    seconds = {}
    for workers in (1, 2):
        with cluster(folder, workers):
            found = items(2, 2196, 1)
            report = run_series(
                found, folder / f"w{workers}.zarr", predictor=Burner(), bands=["B11"],
                chunk=366, window=366,
            )  # fmt: skip
            assert report.ok, str(report)
            seconds[workers] = report.seconds
    ratio, found = seconds[1] / seconds[2], f"{seconds[1]:.1f} s, {seconds[2]:.1f} s"
    return [f"| 72 blocks of {BURN} s: one worker, two | {found}: **{ratio:.2f} times** |"]


def main() -> None:
    """Run every part on generated scenes."""
    import decametric.runs.scene

    folder, _ = arguments()
    decametric.runs.scene.load = scene
    lines = ["## Series on a cluster", "", "| what | measured |", "|---|---|"]
    for part in (planning, throughput, many, full):
        lines += part(folder)
        print(lines[-1], file=sys.stderr, flush=True)
    finish({"report": lines})


if __name__ == "__main__":
    main()
