"""A series from items to a store, in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import run_fakes
import xarray as xr
import zarr
from run_fakes import tree

import decametric as dm
from decametric.errors import SceneError, StoreError, UsageError
from decametric.runs.plans import plan_series
from decametric.runs.report import HEADER, PLAN_HEADER
from decametric.runs.scene import Order
from decametric.runs.series import run_series
from decametric.store.tile import open_tile

BANDS = ("B04", "B11", "SCL")
SMALL = {"predictor": "bicubic", "bands": BANDS, "chunk": 36, "window": 36}


@pytest.fixture
def store(tmp_path):
    return tmp_path / "out.zarr"


def states(report):
    return [scene.state for scene in report.scenes]


def times(store, tile):
    return [str(time)[:10] for time in xr.open_zarr(store, group=tile).time.values]


def spoil(item, band="B11"):
    """Cut a file of an item in the middle; how to mend it."""
    path = Path(item.assets[{"B11": "swir16"}[band]].get_absolute_href())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return lambda: path.write_bytes(whole)


def test_one_scene_is_what_the_three_steps_make(series, store, tmp_path):
    items = series(tiles=("33UUB",), days=("2024-07-01",))
    report = run_series(items, store, **SMALL)
    scene = dm.load(items, bands=BANDS, chunk=36)
    dm.write(dm.sharpen(scene, "bicubic", bands=BANDS[:2], window=36), tmp_path / "steps.zarr")
    assert tree(store) == tree(tmp_path / "steps.zarr")
    (scene,) = report.scenes
    assert (scene.tile, scene.time, scene.state) == ("33UUB", "2024-07-01T10:20:31Z", "done")
    assert (scene.blocks_written, scene.blocks_skipped, scene.pixels) == (4, 0, 72 * 72)
    assert scene.path == f"{store}/33UUB"


def test_a_series_of_tiles_and_dates(series, store):
    report = run_series(series(), store, **SMALL)
    assert report.ok
    assert states(report) == ["done"] * 6
    whole = xr.open_datatree(store, engine="zarr")
    assert list(whole.children) == ["32VNH", "33UUB"]
    for tile in whole.children.values():
        assert tile.attrs["complete"] is True
        assert tile.sizes["time"] == 3
        assert bool(tile.to_dataset().B11.notnull().all())
    assert [s["items"] for s in whole["33UUB"].attrs["provenance"]["scenes"]] == [
        [f"S2A_33UUB_202407{day}_0_L2A"] for day in ("01", "06", "11")
    ]


def test_what_is_there_is_skipped_and_late_dates_take_their_places(series, store, tmp_path):
    items = series(tiles=("33UUB",))
    run_series(items[2:], store, **SMALL)
    report = run_series(items, store, **SMALL)
    assert states(report) == ["done", "done", "skipped"]
    assert times(store, "33UUB") == ["2024-07-01", "2024-07-06", "2024-07-11"]
    run_series(items, tmp_path / "once.zarr", **SMALL)
    assert tree(store) == tree(tmp_path / "once.zarr")


def test_finished_scenes_are_not_even_built(series, store, monkeypatch):
    items = series(tiles=("33UUB",))
    run_series(items, store, **SMALL)
    built = []
    sharpen = Order.sharpen
    monkeypatch.setattr(Order, "sharpen", lambda self, i: built.append(i) or sharpen(self, i))
    report = run_series(items, store, **SMALL)
    assert states(report) == ["skipped"] * 3
    assert [scene.blocks_skipped for scene in report.scenes] == [4] * 3
    assert len(built) == 1  # the first, which tells the configuration
    assert report.scenes[2].bands == BANDS


def test_a_failing_scene_is_reported_and_the_others_are_done(series, store, tmp_path):
    items = series()
    mend = spoil(items[4])
    report = run_series(items, store, **SMALL)
    assert not report.ok
    assert states(report) == ["done"] * 4 + ["failed"] + ["done"]
    (failed,) = report.of("failed")
    assert failed.why.startswith("Cannot read B11.tif of item S2A_33UUB_20240706_0_L2A")
    assert failed.blocks_written < 4
    tile = xr.open_zarr(store, group="33UUB")
    assert tile.attrs["unfinished"] == ["2024-07-06T10:20:31Z"]
    assert xr.open_zarr(store, group="32VNH").attrs["complete"] is True
    mend()
    assert states(run_series(items, store, **SMALL)) == ["skipped"] * 4 + ["done"] + ["skipped"]
    run_series(items, tmp_path / "once.zarr", **SMALL)
    assert tree(store) == tree(tmp_path / "once.zarr")


def test_a_scene_that_cannot_be_built_gets_no_place_even_if_it_is_late(series, store):
    items = series(tiles=("33UUB",))
    del items[0].assets["swir16"]
    for _ in range(2):
        report = run_series(items, store, **SMALL)
        assert report.scenes[0].state == "failed"
        assert "has no asset for B11" in report.scenes[0].why
        assert times(store, "33UUB") == ["2024-07-06", "2024-07-11"]
        assert xr.open_zarr(store, group="33UUB").attrs["complete"] is True


@pytest.mark.parametrize(("failures", "state"), [(2, "done"), (3, "failed")])
def test_a_scene_is_tried_again_as_often_as_asked(series, store, tmp_path, failures, state):
    items = series(tiles=("33UUB",), days=("2024-07-01",))
    predictor = run_fakes.Watched(str(tmp_path / "log"), failures=failures)
    report = run_series(items, store, predictor=predictor, bands=["B11"], retries=2)
    assert states(report) == [state]
    assert len(run_fakes.lines(tmp_path / "log")) == 3
    assert report.scenes[0].why == ("" if state == "done" else "RuntimeError: call 2 fails")


def test_if_nothing_can_be_begun_the_reason_is_raised(series, store):
    with pytest.raises(UsageError, match="chunk=100"):
        run_series(series(), store, **SMALL | {"chunk": 100})
    with pytest.raises(SceneError, match="has no asset for B02"):
        run_series(series(), store, **SMALL | {"bands": ["B02"]})
    assert not store.exists()


def test_another_configuration_is_refused_and_overwriting_replaces(series, store, tmp_path):
    items = series(tiles=("33UUB",))
    run_series(items, store, **SMALL | {"predictor": "bilinear"})
    before = tree(store)
    with pytest.raises(StoreError, match="'bilinear' in the store, 'bicubic' now"):
        run_series(items, store, **SMALL)
    assert tree(store) == before
    assert run_series(items[:1], store, overwrite=True, **SMALL).ok
    run_series(items[:1], tmp_path / "once.zarr", **SMALL)
    assert tree(store) == tree(tmp_path / "once.zarr")


def test_a_tile_that_another_run_holds_fails_and_the_others_are_done(series, store):
    with open_tile(store, "32VNH"):
        report = run_series(series(), store, **SMALL)
    assert states(report) == ["failed"] * 3 + ["done"] * 3
    assert "being written by another run" in report.scenes[0].why


def test_a_run_that_is_interrupted_lets_its_tiles_go(series, store):
    items = series()

    def stop(done, _total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_series(items, store, progress=stop, **SMALL)
    assert list(store.glob("*.lease")) == []
    assert xr.open_zarr(store, group="32VNH").attrs["unfinished"] == ["2024-07-06T10:20:31Z"]
    assert run_series(items, store, **SMALL).ok


def test_progress_counts_the_blocks_to_come(series, store):
    seen, told = [], []
    report = run_series(
        series(), store, progress=lambda *counts: seen.append(counts), tell=told.append, **SMALL
    )
    assert sorted(seen) == [(n, 24) for n in range(1, 25)]
    assert tuple(told) == report.scenes


def test_the_report_is_a_table_and_a_document(series, store):
    items = series(tiles=("33UUB",))
    spoil(items[1])
    report = run_series(items, store, retries=0, **SMALL)
    rows = report.rows()
    assert [len(row) for row in rows] == [len(HEADER)] * 3
    assert [row[2] for row in rows] == ["done", "failed", "done"]
    assert report.summary.startswith("2 done, 0 skipped, 1 failed; ")
    assert report.pixels_per_second > 0
    assert str(report).count("\n") == 4
    (tile,) = json.loads(json.dumps(report.as_json()))["tiles"]
    assert (tile["tile"], tile["bands"]) == ("33UUB", list(BANDS))
    assert tile["predictor"] == {"name": "bicubic"}
    assert tile["scenes"][1]["why"].startswith("Cannot read")


def test_a_plan_tells_the_state_of_each_scene_and_writes_nothing(series, store):
    items = series(tiles=("33UUB",))
    order = Order(**SMALL)
    assert [p.state for p in plan_series(items, store, order)] == ["new"] * 3
    assert not store.exists()
    run_series(items[1:2], store, **SMALL)
    mend = spoil(items[2])
    run_series(items[2:], store, retries=0, **SMALL)
    mend()
    shutil.rmtree(store / "33UUB" / "manifest" / "done" / "c" / "0" / "1")
    del items[0].assets["swir16"]
    before = tree(store)
    plans = plan_series(items, store, order)
    assert tree(store) == before
    assert [p.state for p in plans][:2] == ["refused", "begun"]
    assert "has no asset for B11" in plans[0].why
    assert (plans[1].pending, plans[1].plan.blocks) == (2, 4)
    assert plans[1].plan.tasks > 4
    assert [len(p.row()) for p in plans] == [len(PLAN_HEADER)] * 3


def test_a_series_opens_masks_and_reduces_in_xarray(series, store):
    items = series(tiles=("33UUB",))
    run_series(items, store, **SMALL)
    tile = xr.open_zarr(store, group="33UUB")
    clear = tile.where(dm.valid(tile))
    mean = clear.B11.mean("time").compute()
    classes = zarr.open_array(store / "33UUB" / "SCL", mode="r")[:]
    seen = np.isin(classes, (4, 5, 6, 7, 11))
    np.testing.assert_array_equal(mean.notnull(), seen.any(0))
    assert 0 < mean.notnull().mean() < 1
    with pytest.raises(UsageError, match="no SCL"):
        dm.valid(tile.drop_vars("SCL"))
