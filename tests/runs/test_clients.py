"""Which cluster computes, and how its processes are set up."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys

import pytest
import run_fakes

from decametric.errors import DecametricError, UsageError
from decametric.runs import workers
from decametric.runs.clients import client, start, threads
from decametric.runs.executors import Cluster, Here, Placement, executor
from decametric.runs.series import run_series
from decametric.superres.presets import load_predictor

LOCAL = """
distributed: {worker: {memory: {target: 0.42}}}
decametric:
  cluster: distributed.LocalCluster
  options: {n_workers: 0, threads_per_worker: 1, processes: false, dashboard_address: ":0"}
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "dask.yaml"
        path.write_text(text)
        return path

    return write


def test_nothing_asked_for_is_this_process():
    with client() as made:
        assert made is None
    assert isinstance(executor(None, in_flight=4, retries=1, resources=None), Here)


def test_only_one_cluster_may_be_named():
    with (
        pytest.raises(UsageError, match="Give one of --workers, --gpus, --cluster only"),
        client(workers=1, gpus=True, cluster="x.yaml"),
    ):
        pass


def test_a_network_gets_one_thread_to_compute_and_one_to_read_and_write():
    assert [threads(cores, network=True) for cores in (1, 2, 16)] == [1, 2, 2]
    assert [threads(cores, network=False) for cores in (1, 2, 16)] == [1, 2, 16]
    assert workers.environment(8)["TF_NUM_INTRAOP_THREADS"] == "8"


def test_a_second_cluster_on_a_machine_starts_without_a_warning():
    with client(workers=1) as first, client(workers=1) as second:
        links = {made.scheduler_info()["services"]["dashboard"] for made in (first, second)}
    assert len(links - {8787}) == 2


def test_a_cluster_of_a_file(file, monkeypatch):
    import dask

    text = LOCAL + "  workers: 1\n"
    with client(cluster=file(text)) as made:
        made.wait_for_workers(1, timeout=30)
        assert dask.config.get("distributed.worker.memory.target") == 0.42
        found = executor(None, in_flight=4, retries=1, resources={"GPU": 1})
        assert isinstance(found, Cluster)  # the active client is taken
        assert found.client is made
    scaled = []
    monkeypatch.setattr("distributed.LocalCluster.adapt", lambda _self, **k: scaled.append(k))
    with start(file(LOCAL + "  adapt: {minimum: 0, maximum: 3}\n")):
        assert scaled == [{"minimum": 0, "maximum": 3}]


def test_a_queue_is_refused_where_no_job_can_be_submitted(file, monkeypatch, tmp_path):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    quiet = '{dashboard: false, dashboard_address: "127.0.0.1:0", host: 127.0.0.1}'
    options = f"{{cores: 1, memory: 1GiB, scheduler_options: {quiet}}}"
    text = f"decametric: {{cluster: dask_jobqueue.SLURMCluster, workers: 1, options: {options}}}"
    with (
        pytest.raises(DecametricError, match="cannot start workers: there is no sbatch here"),
        client(cluster=file(text)),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "Cannot read .*dask.yaml"),
        ("- 1", "does not name the class of a cluster; write `decametric:"),
        ("decametric: {cluster: SLURM}", "does not name the class"),
        ("decametric: {cluster: no_such.Cluster}", "no_such.Cluster, which cannot be imported"),
        ("decametric: {cluster: distributed.NoCluster}", "distributed.NoCluster, which cannot"),
        (
            "decametric: {cluster: fractions.Fraction, options: {numerator: x}}",
            "The cluster of .* does not start: Invalid literal for Fraction",
        ),
    ],
)
def test_a_file_that_makes_no_cluster_is_one_sentence(file, text, said):
    with pytest.raises(DecametricError, match=said), start(file(text)):
        pass


def test_a_file_that_is_not_there_is_named():
    with (
        pytest.raises(DecametricError, match=r"Cannot read no\.yaml: No such file"),
        start("no.yaml"),
    ):
        pass


@pytest.mark.skipif(
    importlib.util.find_spec("dask_cuda") is not None, reason="dask-cuda is installed"
)
def test_without_dask_cuda_gpus_are_refused():
    with (
        pytest.raises(DecametricError, match="--gpus needs the package dask-cuda"),
        client(gpus=True),
    ):
        pass


def test_only_workers_with_the_resource_are_taken():
    assert workers.offers({"GPU": 1, "MEM": 5}, {"GPU": 1})
    assert not workers.offers({"MEM": 5}, {"GPU": 1})
    assert workers.offers({}, {})
    placement = Placement(frozenset({("block", 0)}), {"GPU": 1})
    assert placement(("block", 0)) == {"GPU": 1}
    assert placement(("write", 0)) == {}


def test_warming_opens_every_network_once(preset, monkeypatch):
    from decametric.superres import presets

    presets._open_network.cache_clear()
    predictor = load_predictor(preset)
    workers.warm(predictor)
    assert presets._open_network.cache_info().currsize == 2
    workers.warm(load_predictor("bicubic"))  # nothing to open
    monkeypatch.setattr(presets.Path, "is_file", lambda _: False)
    presets._open_network.cache_clear()
    workers.warm(predictor)  # the tasks will say that the file is missing


def test_ctrl_c_stops_the_client_and_leaves_what_is_finished(catalog, processes, tmp_path):
    items, store = catalog(tiles=("33UUB",)), tmp_path / "out.zarr"
    processes.worker("only")
    log = tmp_path / "log"
    words = [sys.executable, run_fakes.HERE / "run_client.py", items, store]
    words += [processes.scheduler_file, log, "0.3"]
    process = subprocess.Popen(words, env=run_fakes.ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while len(run_fakes.lines(log)) < 3:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in error
    assert list(store.glob("*.lease")) == []
    assert run_series(
        str(items), store, predictor=run_fakes.Watched(str(log)), bands=("B04", "B11", "SCL"),
        chunk=36, window=36,
    ).ok  # fmt: skip
    assert len(run_fakes.lines(log)) <= 3 * 4 + 2
