"""A real cluster: a scheduler and workers in processes of their own, talking TCP, and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run_fakes
import xarray as xr
from distributed import Client, get_task_stream
from run_fakes import ENVIRONMENT, HERE

import made_scenes as made
from decametric.errors import DecametricError
from decametric.runs.series import run_series

BLOCKS = 4
SMALL = {"bands": ("B04", "B11", "SCL"), "chunk": 36, "window": 36}


def until(condition, process=None):
    while not condition():
        assert process is None or process.poll() is None
        time.sleep(0.02)


def test_whatever_is_killed_all_scenes_end_as_if_undisturbed(processes, catalog, tmp_path):
    items, store, log = catalog(), tmp_path / "out.zarr", tmp_path / "log"
    words = [sys.executable, HERE / "run_client.py", items, store, processes.scheduler_file, log]
    first, second = processes.worker("first"), processes.worker("second")
    client = subprocess.Popen([*words, "0.2"], env=ENVIRONMENT)
    until(lambda: len(set(run_fakes.lines(log))) == 2, client)
    first.send_signal(signal.SIGKILL)
    processes.worker("late")
    until(lambda: "late" in run_fakes.lines(log), client)
    second.send_signal(signal.SIGKILL)
    client.send_signal(signal.SIGKILL)
    client.wait()
    before = len(run_fakes.lines(log))
    assert 4 < before < 6 * BLOCKS
    again = subprocess.run(
        [*words, "0"], env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "0 failed" in again.stdout
    # Repeated are at most the blocks that were in flight: one a worker thread, and those whose
    # windows had been computed but not yet written.
    assert len(run_fakes.lines(log)) <= 6 * BLOCKS + 8
    run_series(
        str(items),
        tmp_path / "calm.zarr",
        predictor=run_fakes.Watched(str(tmp_path / "calm")),
        **SMALL,
    )
    assert run_fakes.tree(store) == run_fakes.tree(tmp_path / "calm.zarr")


@pytest.fixture
def client(processes):
    """A cluster of one plain worker and one that says that it has a GPU."""
    processes.worker("plain")
    processes.worker("gpu", "--resources", "GPU=1")
    with Client(scheduler_file=str(processes.scheduler_file)) as made:
        made.wait_for_workers(2, timeout=60)
        yield made


def test_a_scheduler_that_fuses_long_chains_mixes_nothing_up(client):
    found = client.gather(client.compute(list(made.images_with_long_names(1000))))
    assert [round(float(image.mean())) for image in found] == list(range(1000))


def where_tasks_ran(stream):
    """Names of workers by kind of task."""
    found = {}
    for task in stream.data:
        found.setdefault(str(task["key"]).split("-")[0].strip("('"), set()).add(task["worker"])
    return found


def test_a_mixed_cluster(client, processes, series, tmp_path):
    items = series()
    mend = items[4].assets["swir16"].get_absolute_href()
    Path(mend).write_bytes(b"no raster")
    log, store = tmp_path / "log", tmp_path / "out.zarr"
    with get_task_stream(client) as stream:
        report = run_series(
            items, store, predictor=run_fakes.Watched(str(log)), resources={"GPU": 1}, **SMALL
        )
    # One broken file is one failed scene.
    assert [s.state for s in report.scenes] == ["done"] * 4 + ["failed"] + ["done"]
    assert report.of("failed")[0].why.startswith("Cannot read B11.tif of item S2A_33UUB_20240706")
    assert xr.open_zarr(store, group="33UUB").attrs["unfinished"] == ["2024-07-06T10:20:31Z"]
    # The network ran on the GPU worker only, and the other one helped with the rest.
    assert set(run_fakes.lines(log)) == {"gpu"}
    tasks = where_tasks_ran(stream)
    assert len(tasks["block"]) == 1
    assert len(set().union(*tasks.values())) == 2
    # Nothing of it is kept, once the client's loop has done what it was told.
    client.sync(asyncio.sleep, 0)
    assert client.futures == {}
    until(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0)
    # Late workers are set up like the others.
    processes.worker("late", "--resources", "GPU=1")
    client.wait_for_workers(3, timeout=60)
    names = ["TF_FORCE_GPU_ALLOW_GROWTH", "TF_NUM_INTRAOP_THREADS", "GDAL_CACHEMAX"]
    settings = client.run(lambda: [os.environ.get(name) for name in names])
    assert list(settings.values()) == [["true", "1", "256"]] * 3
    # What no worker offers is said before anything waits for it.
    with pytest.raises(
        DecametricError, match=r'declares the resource TPU=2; .*--resources "TPU=2"'
    ):
        run_series(items, store, predictor="bicubic", resources={"TPU": 2}, **SMALL)


def test_without_a_scheduler_the_rest_fails_at_once(processes, catalog, tmp_path):
    items, log = catalog(), tmp_path / "log"
    processes.worker("only")
    words = [sys.executable, HERE / "run_client.py", items, tmp_path / "out.zarr"]
    words += [processes.scheduler_file, log, "0.2"]
    client = subprocess.Popen(
        words,
        env={**ENVIRONMENT, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(run_fakes.lines(log)) == 3, client)
    processes.running[0].kill()
    report, _ = client.communicate(timeout=100)
    assert client.returncode == 1
    assert "6 failed" in report
    assert report.count("The scheduler is gone; start it and run the same call again") == 6
