"""`decametric sharpen` on series: plans, failures, and two runs at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import run_fakes
from click.testing import CliRunner

from decametric.cli import cli
from decametric.store.tile import open_tile

HOW = ("--bands", "B04,B11,SCL", "--predictor", "bicubic")


def sharpen(items, store, *words):
    return CliRunner().invoke(cli, ["sharpen", str(items), "-o", str(store), *HOW, *words])


def test_a_dry_run_tells_every_scene_and_writes_nothing(catalog, tmp_path):
    items, store = catalog(), tmp_path / "out.zarr"
    table = sharpen(items, store, "--dry-run")
    assert table.exit_code == 0
    header, *rows = [line.split("\t") for line in table.stdout.splitlines()]
    assert header[:3] == ["tile", "time", "state"]
    assert [row[2] for row in rows] == ["new"] * 6
    assert not store.exists()
    assert sharpen(items, store).exit_code == 0
    document = json.loads(sharpen(items, store, "--dry-run", "--json").stdout)
    assert {(s["state"], s["pending"], s["plan"]["blocks"]) for s in document["scenes"]} == {
        ("finished", 0, 1)
    }


def test_a_scene_that_failed_is_a_row_and_exit_code_1(catalog, tmp_path):
    items, store = catalog(), tmp_path / "out.zarr"
    broken = next(tmp_path.glob("*33UUB_20240706*")) / "B11.tif"
    whole = broken.read_bytes()
    broken.write_bytes(b"no raster")
    result = sharpen(items, store)
    assert result.exit_code == 1
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[2] for row in rows[1:7]] == ["done"] * 4 + ["failed", "done"]
    assert rows[5][-1].startswith("Cannot read B11.tif of item S2A_33UUB_20240706_0_L2A")
    assert rows[7][0].startswith("5 done, 0 skipped, 1 failed; ")
    assert "pixels per second" in rows[7][0]
    broken.write_bytes(whole)
    again = sharpen(items, store, "--json")
    assert again.exit_code == 0
    assert [t["blocks_written"] for t in json.loads(again.stdout)["tiles"]] == [0, 1]


def test_resources_are_read_and_refused(catalog, tmp_path):
    items = catalog(tiles=("33UUB",), days=("2024-07-01",))
    result = sharpen(items, tmp_path / "out.zarr", "--resources", "GPU")
    assert result.exit_code == 2
    assert "--resources 'GPU' is not of the form GPU=1." in result.stderr


def test_a_second_process_on_the_same_tile_is_told_so(catalog, tmp_path):
    items, store = catalog(tiles=("33UUB",)), tmp_path / "out.zarr"
    words = [sys.executable, "-m", "decametric", "sharpen", items, "-o", store, *HOW]
    with open_tile(store, "33UUB"):
        second = subprocess.run(
            words, env=run_fakes.ENVIRONMENT, check=False, capture_output=True, text=True
        )
    assert second.returncode == 1
    assert second.stderr.startswith(f"Error: {Path(store)}/33UUB is being written by another run")
    assert second.stdout == ""
