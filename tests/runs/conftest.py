"""Small series of real files, and clusters of real processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pystac
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from run_fakes import ENVIRONMENT

import made_scenes as made

DAYS = ("2024-07-01", "2024-07-06", "2024-07-11")
TILES = {"32VNH": (32632, (600000, 6700020)), "33UUB": (32633, (300000, 6200040))}


@pytest.fixture
def series(position_item):
    """Items of tiles and days: ``series()`` are two tiles of three days each."""

    def make(tiles=tuple(TILES), days=DAYS, **options):
        return [
            position_item.write(
                f"S2A_{tile}_{day.replace('-', '')}_0_L2A",
                epsg=TILES[tile][0],
                corner=TILES[tile][1],
                when=f"{day}T10:20:31Z",
                bands=["B04", "B11", "SCL"],
                shape=(12, 12),
                **options,
            )
            for tile in tiles
            for day in days
        ]

    return make


@pytest.fixture
def catalog(series, tmp_path):
    """The series as one document for other processes."""

    def make(**options):
        path = tmp_path / "items.json"
        items = [item.make_asset_hrefs_absolute() for item in series(**options)]
        pystac.ItemCollection(items).save_object(str(path))
        return path

    return make


@dataclass
class Processes:
    """A scheduler and its workers, each a process that talks TCP."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def scheduler_file(self) -> Path:
        return self.folder / "scheduler.json"

    def dask(self, *words: object) -> subprocess.Popen[bytes]:
        with (self.folder / f"{len(self.running)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, words)],
                env=ENVIRONMENT,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self.running.append(process)
        return process

    def scheduler(self) -> None:
        self.dask(
            "scheduler", "--host", "tcp://127.0.0.1", "--port", 0, "--no-dashboard",
            "--scheduler-file", self.scheduler_file,
        )  # fmt: skip
        while not self.scheduler_file.exists():
            assert self.running[0].poll() is None
            time.sleep(0.02)

    def worker(self, name: str, *words: object) -> subprocess.Popen[bytes]:
        return self.dask(
            "worker", "--scheduler-file", self.scheduler_file, "--name", name, "--no-nanny",
            "--nthreads", 1, "--no-dashboard", *words,
        )  # fmt: skip

    def close(self) -> None:
        for process in reversed(self.running):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path):
    """A scheduler; the test adds the workers."""
    (tmp_path / "cluster").mkdir()
    made = Processes(tmp_path / "cluster")
    try:
        made.scheduler()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A preset of two tiny networks with random weights."""
    return made.save_preset(tmp_path_factory.mktemp("preset"), blocks=1, features=4)
