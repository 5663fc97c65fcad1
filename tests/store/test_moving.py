"""A late date is put in its place, and nobody ever sees the series half moved."""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path

import numpy as np
import pytest
import store_fakes as fakes
import xarray as xr
import zarr

from decametric.errors import StoreError
from decametric.store import moving, write
from decametric.store.layout import plan
from decametric.store.tile import open_tile

SMALL = {"bands": ("B05", "SCL"), "chunk": 120}


def small(*days, **options):
    return fakes.dataset(tuple(fakes.TIMES[day] for day in days), **{**SMALL, **options})


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
def test_any_order_of_arrival_gives_the_same_bytes(tmp_path, order):
    for day in order:
        write(small(day), tmp_path / "out.zarr")
    write(small(0, 1, 2), tmp_path / "once.zarr")
    assert fakes.tree(tmp_path / "out.zarr") == fakes.tree(tmp_path / "once.zarr")


def test_a_late_date_is_written_alone(tmp_path):
    write(fakes.dataset(fakes.TIMES[::2]), tmp_path / "out.zarr")
    result = write(fakes.dataset(), tmp_path / "out.zarr")
    assert result.blocks_written == 0

    def only_the_second(_band, time, _row, _col):
        assert time == 1

    late = fakes.dataset(hook=only_the_second, times=fakes.TIMES)
    assert write(late, tmp_path / "out.zarr").blocks_written == 4


def test_the_memory_filesystem_moves_too(tmp_path):
    url = f"memory://{uuid.uuid4().hex}/out.zarr"
    write(small(1, 2), url)
    write(small(0), url)
    write(small(0, 1, 2), tmp_path / "local.zarr")
    for band in SMALL["bands"]:
        np.testing.assert_array_equal(
            zarr.open_array(f"{url}/33UUB/{band}", mode="r")[:],
            zarr.open_array(tmp_path / "local.zarr" / "33UUB" / band, mode="r")[:],
        )


def seen(store):
    """Days and digital numbers that a reader finds now."""
    tile = xr.open_zarr(store, group=fakes.TILE, mask_and_scale=False)
    if not tile.data_vars:
        return {}
    times = tile.time.values.astype("datetime64[s]").astype(str)
    return {f"{time}Z": tile.B05[n].values for n, time in enumerate(times)}


def test_a_reader_sees_the_old_series_or_none_or_the_new(tmp_path, monkeypatch):
    store = tmp_path / "out.zarr"
    write(small(1, 2), store)
    views = []

    def look(method):
        def change(path, target):
            views.append(seen(store))
            return method(path, target)

        return change

    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, look(getattr(Path, name)))
    write(small(0), store)
    assert {len(view) for view in views} == {0, 2, 3}
    for view in views:
        for time, numbers in view.items():
            late = time == fakes.TIMES[0] and not numbers.any()
            assert late or np.array_equal(numbers, fakes.numbers(time, "B05")), time


def test_a_move_that_was_begun_is_finished_before_anything_else(tmp_path, monkeypatch):
    store = tmp_path / "out.zarr"
    write(small(1, 2), store)
    renamed = []
    rename = moving._rename

    def breaks(*arguments):
        if len(renamed) == 4:
            message = "pulled the plug"
            raise OSError(message)
        renamed.append(arguments)
        rename(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(moving, "_rename", breaks)
        with pytest.raises(StoreError, match="pulled the plug"):
            write(small(0), store)
    assert seen(store) == {}
    write(small(2), store)
    assert list(seen(store)) == list(fakes.TIMES)
    write(small(0), store)
    write(small(0, 1, 2), tmp_path / "once.zarr")
    assert fakes.tree(store) == fakes.tree(tmp_path / "once.zarr")


def test_blocks_that_are_being_written_do_not_move(tmp_path):
    with open_tile(tmp_path / "out.zarr", fakes.TILE) as tile:
        job = tile.add(plan(small(1)))
        with pytest.raises(StoreError, match="cannot take an earlier date while"):
            tile.add(plan(small(0)))
        job.compute()
    assert list(seen(tmp_path / "out.zarr")) == [fakes.TIMES[1]]


def test_another_configuration_moves_nothing(tmp_path):
    write(small(1), tmp_path / "out.zarr")
    before = fakes.tree(tmp_path / "out.zarr")
    with pytest.raises(StoreError, match="another configuration"):
        write(small(0, predictor="dsen2"), tmp_path / "out.zarr")
    assert fakes.tree(tmp_path / "out.zarr") == before


def test_dates_that_are_not_whole_are_named(tmp_path):
    with open_tile(tmp_path / "out.zarr", fakes.TILE) as tile:
        tile.add(plan(small(0))).compute()
        tile.add(plan(small(1)))
    attributes = xr.open_zarr(tmp_path / "out.zarr", group=fakes.TILE).attrs
    assert (attributes["complete"], attributes["unfinished"]) == (False, [fakes.TIMES[1]])
    write(small(1), tmp_path / "out.zarr")
    attributes = xr.open_zarr(tmp_path / "out.zarr", group=fakes.TILE).attrs
    assert attributes["complete"] is True
    assert "unfinished" not in attributes
