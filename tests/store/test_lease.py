"""One run at a time writes a tile, whatever crashes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import store_fakes as fakes

import decametric
from decametric.errors import StoreError
from decametric.store import lease, write
from decametric.store.tile import open_tile

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        map(str, (Path(decametric.__file__).parents[1], Path(__file__).parent))
    ),
}
HOLD = """
import sys, time
from decametric.store.tile import open_tile
with open_tile(sys.argv[1], "33UUB"):
    print("held", flush=True)
    time.sleep(60)
"""
WRITE = """
import sys, store_fakes as fakes
from decametric.errors import StoreError
from decametric.store import write
input()
try:
    write(fakes.dataset(), sys.argv[1])
except StoreError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def store(tmp_path):
    return tmp_path / "out.zarr"


def leases(store):
    return list(store.glob("*.lease"))


def test_a_second_run_is_refused_and_the_first_goes_on(store):
    with open_tile(store, fakes.TILE):
        with pytest.raises(StoreError, match=rf"another run \(host .*, process {os.getpid()}\)"):
            write(fakes.dataset(), store)
        assert len(leases(store)) == 1
    assert leases(store) == []
    assert write(fakes.dataset(), store).blocks_written == 4


def test_other_tiles_of_the_store_are_free(store):
    with open_tile(store, "32VNH"):
        assert write(fakes.dataset(), store).blocks_written == 4


def test_the_lease_of_a_killed_process_is_taken_at_once(store):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, store], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=f"process {process.pid}"):
        write(fakes.dataset(), store)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(leases(store)) == 1
    write(fakes.dataset(), store)
    assert leases(store) == []


def foreign(store, beat):
    """A lease of another machine, as it is after so many beats."""
    store.mkdir(exist_ok=True)
    text = {"host": "far", "place": "elsewhere", "process": 7, "born": "1", "beat": beat}
    (store / f"33UUB.{'0' * 32}.lease").write_text(json.dumps(text))


def test_a_lease_of_another_machine_that_beats_is_respected(store, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 3.5)
    foreign(store, 1)

    def sleep(_seconds):
        foreign(store, 2)

    monkeypatch.setattr(lease.time, "sleep", sleep)
    with pytest.raises(StoreError, match="host far, process 7"):
        write(fakes.dataset(), store)


def test_a_lease_of_another_machine_that_is_silent_is_taken(store, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 0.3)
    foreign(store, 1)
    write(fakes.dataset(), store)
    assert leases(store) == []


def test_a_lease_beats(store, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.01)
    with open_tile(store, fakes.TILE):
        (file,) = leases(store)
        while json.loads(file.read_text() or '{"beat": 0}')["beat"] < 2:
            time.sleep(0.01)


def test_a_run_whose_lease_was_taken_writes_no_more(store):
    def take(_band, _time, row, _col):
        if row == 1:
            for file in leases(store):
                file.unlink(missing_ok=True)  # two blocks of the row may come at once

    with pytest.raises(StoreError, match="taken over by another run; this one writes no more"):
        write(fakes.dataset(hook=take), store)


def test_of_runs_that_start_together_one_at_most_writes(store, tmp_path):
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, store],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for run in runs:
        run.stdin.write("\n")
        run.stdin.flush()
    errors = [run.communicate()[1].strip() for run in runs]
    assert all(not error or "being written by another run" in error for error in errors)
    write(fakes.dataset(), store)
    write(fakes.dataset(), tmp_path / "alone.zarr")
    assert fakes.tree(store) == fakes.tree(tmp_path / "alone.zarr")
