"""A run that is killed, or runs into a full disk, goes on and ends with the same bytes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import store_fakes as fakes
import xarray as xr

import decametric
from decametric.store import progress, write

HERE = Path(__file__).parent
BLOCKS = 2 * 3 * 3


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(HERE / "kill_run.py"), *map(str, arguments)]


@pytest.fixture(scope="module")
def environment():
    source = Path(decametric.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{HERE}"}


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def finished(store: Path) -> set[str]:
    """The source blocks whose marks are set, named as in the log."""
    done = xr.open_zarr(store, group="33UUB/manifest", consolidated=False).done.values
    return {f"{b} {t} {r} {c}" for t, r, c in np.argwhere(done) for b in fakes.BANDS}


def test_killed_at_three_random_moments_it_ends_as_if_undisturbed(tmp_path, environment):
    store, log = tmp_path / "out.zarr", tmp_path / "log"
    seed = time.time_ns() % 10**6
    moments = sorted(random.Random(seed).sample(range(2, BLOCKS * 3 - 6), 3))  # noqa: S311
    for moment in moments:
        before, known = len(lines(log)), finished(store) if store.exists() else set()
        process = subprocess.Popen(command("slow", store, log), env=environment)
        while len(lines(log)) < moment and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not known & set(lines(log)[before:]), f"finished blocks repeated, seed {seed}"
        assert progress(store, fakes.TILE)[0] < BLOCKS, f"killed too late, seed {seed}"
    before, known = len(lines(log)), finished(store)
    subprocess.run(command("slow", store, log), env=environment, check=True)
    assert not known & set(lines(log)[before:]), f"finished blocks repeated, seed {seed}"
    write(fakes.dataset(fakes.TIMES[:2], chunk=42), tmp_path / "whole.zarr")
    assert fakes.tree(store) == fakes.tree(tmp_path / "whole.zarr"), f"seed {seed}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed runs are forks")
@pytest.mark.parametrize(
    ("scene", "step"),
    [
        ("new", 9),
        ("append", 5),
        ("late", 11),
        ("replace", 25),
        ("give up", 23),
        pytest.param("new", 2, marks=pytest.mark.slow),
        pytest.param("append", 1, marks=pytest.mark.slow),
        pytest.param("late", 2, marks=pytest.mark.slow),
        pytest.param("replace", 4, marks=pytest.mark.slow),
        pytest.param("give up", 1, marks=pytest.mark.slow),
    ],
)
def test_killed_before_a_change_on_the_disk(tmp_path, environment, scene, step):
    done = subprocess.run(
        command("every", tmp_path, scene, step),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3


def test_a_cluster_of_processes_writes_the_same_bytes(tmp_path, environment):
    store, log = tmp_path / "out.zarr", tmp_path / "log"
    subprocess.run(command("cluster", store, log), env=environment, check=True, capture_output=True)
    assert len(lines(log)) == len(set(lines(log))) == BLOCKS * len(fakes.BANDS)
    write(fakes.dataset(fakes.TIMES[:2], chunk=42), tmp_path / "whole.zarr")
    assert fakes.tree(store) == fakes.tree(tmp_path / "whole.zarr")


def assert_stopped(process: subprocess.CompletedProcess[str], store: Path, reason: str) -> None:
    """It failed with one sentence, and the store says that it is not whole."""
    assert process.returncode == 1
    assert process.stderr == (
        f"{store}/33UUB cannot be written ({reason}); free some space and run the same call again, "
        f"it goes on where it stopped.\n"
    )
    done, total = progress(store, fakes.TILE)
    assert done < total
    assert xr.open_zarr(store, group="33UUB").attrs["complete"] is False


def test_a_file_limit_is_one_sentence_and_the_run_goes_on(tmp_path, environment):
    store = tmp_path / "out.zarr"
    limited = command("limited", store, 60_000)
    process = subprocess.run(limited, env=environment, check=False, capture_output=True, text=True)
    assert_stopped(process, store, "File too large")
    write(fakes.big_dataset(), store)
    write(fakes.big_dataset(), tmp_path / "whole.zarr")
    assert fakes.tree(store) == fakes.tree(tmp_path / "whole.zarr")


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 300 kB, and a way to make it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    tmpfs = [mount or "", "-t", "tmpfs", "-o"]
    size = [*tmpfs, "size=300k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(size, check=False, capture_output=True).returncode:
        pytest.skip("this process may not mount a tmpfs")

    def enlarge() -> None:
        subprocess.run([mount, "-o", "remount,size=30m", str(folder)], check=True)

    yield folder, enlarge
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_the_run_goes_on(tiny_disk, tmp_path, environment):
    folder, enlarge = tiny_disk
    store = folder / "out.zarr"
    full = command("full", store)
    process = subprocess.run(full, env=environment, check=False, capture_output=True, text=True)
    assert_stopped(process, store, "No space left on device")
    enlarge()
    write(fakes.big_dataset(), store)
    write(fakes.big_dataset(), tmp_path / "whole.zarr")
    assert fakes.tree(store) == fakes.tree(tmp_path / "whole.zarr")
