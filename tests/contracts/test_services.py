"""The whole way with real services: a STAC API, files over HTTP, an S3 endpoint, their faults."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from itertools import count
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

from decametric.runs.series import run_series
from decametric.scenes import access
from file_server import serve

L1C = "sentinel-2-l1c"
BRASILIA, NORCIA = "oscd-brasilia-1", "oscd-norcia-1"
PLAIN = 1000
"""What packing adds to the numbers of a product without an offset."""


def command(*words):
    """A command line of this package, in a process of its own."""
    return [sys.executable, "-m", "decametric", *map(str, words)]


@pytest.fixture(scope="session")
def environment():
    """Variables of processes that run this package."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "pipeline")}


@pytest.fixture
def files(shared_data):
    """The real scenes behind an HTTP server."""
    yield from serve(shared_data / "stac")


def remote(files, name, query=""):
    """A real item as a catalog would tell of it: its files are on the server."""
    path = files.folder / L1C / name / f"{name}.json"
    document = json.loads(path.read_text())
    for asset in document["assets"].values():
        href = asset["href"].removeprefix("./")
        asset["href"] = f"{files.url}/{L1C}/{name}/{href}{query}"
    document["links"] = []
    document["collection"] = L1C
    return document


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def api(folder, *sources):
    """A STAC API server on the loopback interface, in memory: yields its URL."""
    beside = Path(sys.executable).parent / "rustac"
    program = str(beside) if beside.exists() else shutil.which("rustac")
    if program is None:
        pytest.skip("rustac, a STAC API server, is not installed: pip install rustac")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = [program, "serve", "--addr", f"127.0.0.1:{port}", *sources]
    with (folder / "api.log").open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "api.log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def catalog(files, tmp_path):
    """A STAC API with all scenes of level L1C."""
    names = sorted(path.name for path in (files.folder / L1C).iterdir() if path.is_dir())
    document = {"type": "FeatureCollection", "features": [remote(files, name) for name in names]}
    (tmp_path / "all.json").write_text(json.dumps(document))
    yield from api(tmp_path, "--create-collections", tmp_path / "all.json")


def numbers(files, name, band):
    """Digital numbers of a band as they lie in the file."""
    with rasterio.open(files.folder / L1C / name / f"{band}.tif") as file:
        return file.read(1)


def stored(store, tile, band, date=0):
    """Integers of a band as they lie in the store."""
    with xr.open_zarr(store, group=tile, mask_and_scale=False) as opened:
        return opened[band].isel(time=date).values


def packed(dn):
    """Digital numbers without offset as the store holds them."""
    return np.where(dn == 0, 0, dn.astype(np.int64) + PLAIN)


def scenes_of(report):
    """State of each scene of a report in JSON, by item."""
    return {
        scene["items"][0]: (scene["state"], scene["why"])
        for tile in report["tiles"]
        for scene in tile["scenes"]
    }


def piped(catalog, environment, query, store, *words):
    """``decametric search | decametric sharpen -``: exit code, standard output, standard error."""
    found = subprocess.Popen(
        command("search", "--catalog", catalog, "--collection", L1C, *query, "--json"),
        stdout=subprocess.PIPE,
        env=environment,
    )
    done = subprocess.run(
        command("sharpen", "-", "-o", store, "--predictor", "bicubic", *words, "--json"),
        stdin=found.stdout,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    found.stdout.close()
    assert found.wait(timeout=60) == 0
    return done


@pytest.mark.slow
def test_what_a_stac_api_finds_is_read_over_http_and_written(files, catalog, environment, tmp_path):
    query = ("--bbox", -47.9, -15.76, -47.87, -15.73)
    files.faults = {"B11.tif": deque([500, 503])}  # servers have bad moments
    done = piped(catalog, environment, query, tmp_path / "o.zarr", "--bands", "B04,B11")
    assert done.returncode == 0, done.stderr
    states = scenes_of(json.loads(done.stdout))
    assert {name: state for name, (state, _) in states.items()} == {
        BRASILIA: "done",
        "oscd-brasilia-2": "done",
    }
    for date, name in enumerate(states):
        dn = numbers(files, name, "B04")
        assert dn.any()
        np.testing.assert_array_equal(stored(tmp_path / "o.zarr", "22LHH", "B04", date), packed(dn))
    assert files.met == {500: 1, 503: 1}


@pytest.mark.slow
def test_a_scene_that_stays_broken_is_one_line_of_the_table(files, catalog, environment, tmp_path):
    query = ("--bbox", -180, -90, 180, 90, "--datetime", "2015-07")
    files.broken = {"oscd-norcia-1/B12.tif": 404}
    done = piped(catalog, environment, query, tmp_path / "o.zarr", "--bands", "B12")
    assert done.returncode == 1, done.stderr
    states = scenes_of(json.loads(done.stdout))
    state, why = states.pop(NORCIA)
    assert state == "failed"
    assert "B12.tif" in why
    assert states == {"oscd-pisa-1": ("done", "")}

    files.broken = {}
    again = series(files, tmp_path / "o.zarr", NORCIA, "oscd-pisa-1", bands=["B12"])
    assert {scene.items[0]: scene.state for scene in again.scenes} == {
        NORCIA: "done",
        "oscd-pisa-1": "skipped",
    }


@pytest.mark.slow
def test_results_are_found_by_the_tools_that_found_their_inputs(files, environment, tmp_path):
    series(files, tmp_path / "o.zarr", NORCIA, BRASILIA)
    folder = tmp_path / "o.zarr" / "stac"
    items = pystac.Collection.from_file(str(folder / "collection.json")).get_items()
    # As whoever publishes the store does: with addresses at which others can read it.
    features = [item.make_asset_hrefs_absolute().to_dict() for item in items]
    document = {"type": "FeatureCollection", "features": features}
    (tmp_path / "results.json").write_text(json.dumps(document))
    words = ("search", "--bbox", 13, 42, 14, 43, "--datetime", "2015-07", "--json")
    for url in api(tmp_path, "--create-collections", tmp_path / "results.json"):
        found = subprocess.run(
            command(*words, "--catalog", url, "--collection", "sentinel-2-10m"),
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
    (feature,) = json.loads(found.stdout)["features"]
    assert feature["properties"]["grid:code"] == "MGRS-33TUH"
    with xr.open_dataset(feature["assets"]["zarr"]["href"], engine="zarr") as opened:
        assert opened.sizes["time"] == 1
        assert bool(opened.B11.notnull().any())


@pytest.fixture
def impatient(monkeypatch):
    """Seconds become fractions of them."""
    monkeypatch.setitem(access.GDAL_ENV, "GDAL_HTTP_RETRY_DELAY", 0.01)
    monkeypatch.setitem(access.GDAL_ENV, "GDAL_HTTP_MAX_RETRY", 2)
    monkeypatch.setitem(access.GDAL_ENV, "GDAL_HTTP_LOW_SPEED_TIME", 1)


def series(files, store, *names, bands=("B11",), **options):
    """Sharpen real scenes behind the server, one band each, in this process."""
    items = [pystac.Item.from_dict(remote(files, name)) for name in names]
    for item in items:
        item.set_self_href(f"{files.url}/items/{item.id}")
    return run_series(items, store, predictor="bicubic", bands=bands, **options)


FAULTS = {
    "refused when opened": [500] * 4,
    "refused when read": ["fine", 503, 503, 503],
    "out of reach": [403, 404],
    "stalled when opened": ["stall"],
    "stalled when read": ["fine", "stall"],
    "torn when opened": ["truncate"],
    "torn when read": ["fine", "truncate", "truncate"],
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_server_is_outlived(files, impatient, tmp_path, fault):  # noqa: ARG001
    files.faults = {"B11.tif": deque(fault)}
    report = series(files, tmp_path / "o.zarr", NORCIA)
    assert report.ok, report
    assert files.met == {each: fault.count(each) for each in fault}
    series(type(files)(files.folder, url=files.url), tmp_path / "whole.zarr", NORCIA)
    results = [stored(tmp_path / name, "33TUH", "B11") for name in ("o.zarr", "whole.zarr")]
    assert results[1].any()
    np.testing.assert_array_equal(*results)


def test_an_expired_token_is_replaced_and_none_is_logged(
    files,
    impatient,  # noqa: ARG001
    tmp_path,
    monkeypatch,
    caplog,
):
    tokens = count()
    files.valid_token = lambda token: token not in {"", "SECRET0", "SECRET2"}
    files.faults = {"B11.tif": deque([503, 500, 503, 403])}
    monkeypatch.setattr(access, "sign", lambda href: f"{href}?token=SECRET{next(tokens)}")
    with caplog.at_level(logging.DEBUG):
        report = series(files, tmp_path / "o.zarr", NORCIA)
    assert report.ok, report
    assert files.met[403] > 1
    assert next(tokens) > 2
    assert "B11.tif" in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("fault", [500, 403, 404, "stall", "truncate"])
def test_what_stays_broken_is_one_failed_scene(files, impatient, tmp_path, fault):  # noqa: ARG001
    files.broken = {f"{NORCIA}/B11.tif": fault}
    report = series(files, tmp_path / "o.zarr", NORCIA, BRASILIA, retries=0)
    (failed,), (done,) = report.of("failed"), report.of("done")
    assert failed.items == (NORCIA,)
    assert "B11.tif" in failed.why
    assert files.url not in failed.why
    assert done.items == (BRASILIA,)
    assert not report.ok


@pytest.fixture(scope="module")
def s3():
    """A real S3 endpoint with one bucket: the variables that lead to it."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    port = free_port()
    service = server.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    service.start()
    variables = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    yield variables
    service.stop()


@pytest.fixture
def bucket(s3):
    """The filesystem behind it, as another process would see it."""
    import s3fs

    filesystem = s3fs.S3FileSystem(
        key=s3["AWS_ACCESS_KEY_ID"],
        secret=s3["AWS_SECRET_ACCESS_KEY"],
        client_kwargs={"endpoint_url": s3["AWS_ENDPOINT_URL"]},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    filesystem.mkdir("results")
    return filesystem


@pytest.mark.slow
def test_a_killed_run_goes_on_on_s3(shared_data, environment, s3, bucket, tmp_path):
    item = shared_data / "stac" / L1C / BRASILIA / f"{BRASILIA}.json"
    words = ("--bands", "B11", "--chunk", 108, "--predictor", "bicubic", "--json")
    order = command("sharpen", item, "-o", "s3://results/o.zarr", *words)
    variables = {**environment, **s3}
    marks = "results/o.zarr/22LHH/manifest/done/c/0"
    with subprocess.Popen(order, env=variables, stdout=subprocess.DEVNULL) as first:
        while first.poll() is None and not bucket.exists(marks):
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    second = subprocess.run(order, env=variables, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    (tile,) = json.loads(second.stdout)["tiles"]
    assert tile["blocks_skipped"] > 0
    assert tile["blocks_written"] + tile["blocks_skipped"] == 4 * 5

    run_series(item, tmp_path / "whole.zarr", predictor="bicubic", bands=["B11"], chunk=108)
    bucket.get("results/o.zarr", str(tmp_path / "o.zarr"), recursive=True)
    assert contents(tmp_path / "o.zarr") == contents(tmp_path / "whole.zarr")


def contents(folder):
    """Bytes of every file below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
