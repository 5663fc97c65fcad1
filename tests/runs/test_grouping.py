"""Items become scenes: one tile, one solar day; what cannot be used is a scene with a reason."""

from __future__ import annotations

import time

import numpy as np
import pystac
import pytest

from decametric.errors import RadiometryError, SceneError
from decametric.runs.grouping import scenes
from decametric.scenes.reader import load


def test_scenes_are_in_the_order_of_tile_and_time(series):
    items = series()
    found = scenes(reversed(items))
    assert [(s.tile, s.time[:10]) for s in found] == [
        (tile, day)
        for tile in ("32VNH", "33UUB")
        for day in ("2024-07-01", "2024-07-06", "2024-07-11")
    ]
    assert [s.items[0].id for s in found] == [item.id for item in items]
    assert found[0].record == {
        "time": "2024-07-01T10:20:31Z",
        "items": ["S2A_32VNH_20240701_0_L2A"],
        "offset": [-1000],
        "rule": ["offset declared by the item's raster metadata"],
    }


def test_granules_of_one_solar_day_are_one_scene(position_item):
    # At 170 degrees west the sun's day changes at about 23:20 UTC.
    east = {"epsg": 32602, "corner": (500000, 6200040), "bands": ["B11"]}
    first = position_item.write("S2A_02UUB_20240701_0_L2A", when="2024-07-01T23:50:00Z", **east)
    other = position_item.write("S2A_02UUB_20240702_1_L2A", when="2024-07-02T00:00:10Z", **east)
    (scene,) = scenes([other, first])
    assert [item.id for item in scene.items] == [first.id, other.id]


def test_the_newest_baseline_of_an_observation_counts(position_item):
    take = {"bands": ["B11"], "s2__datatake_id": "GS2A_20240701T102031_047000_N05.10"}
    take["s2__product_type"] = "S2MSI2A"
    old = position_item.write("old_33UUB", s2__processing_baseline="05.09", **take)
    new = position_item.write("new_33UUB", s2__processing_baseline="05.10", **take)
    (scene,) = scenes([old, new])
    assert [item.id for item in scene.items] == ["new_33UUB"]


def test_levels_of_an_observation_do_not_replace_each_other(position_item):
    take = {"bands": ["B11"], "s2__datatake_id": "GS2A_20240701T102031_047000_N05.10"}
    for level, baseline in (("1C", "05.00"), ("2A", "05.10")):
        about = {"s2__product_type": f"S2MSI{level}", "s2__processing_baseline": baseline}
        position_item.write(f"{level}_33UUB", **take, **about)
    items = [
        pystac.Item.from_file(f"{position_item.folder}/{n}_33UUB/{n}_33UUB.json")
        for n in ("1C", "2A")
    ]
    (scene,) = scenes(items)
    assert {item.id for item in scene.items} == {"1C_33UUB", "2A_33UUB"}
    with pytest.raises(SceneError, match="different levels"):
        load(items, bands=["B11"])


def test_an_item_given_twice_is_one(series):
    (item,) = series(tiles=("33UUB",), days=("2024-07-01",))
    (scene,) = scenes([item, item.clone()])
    assert [each.id for each in scene.items] == [item.id]
    assert len(load([item, item.clone()], bands=["B11"]).attrs["provenance"]["scenes"]) == 1


def test_passes_of_a_day_across_the_antimeridian_are_one_scene(position_item):
    # Noon is at about midnight UTC there.
    where = {"epsg": 32601, "corner": (391440, 7900020), "bands": ["B11"], "shape": (20, 20)}
    first = position_item.write("S2A_01WCU_20240727_0_L2A", when="2024-07-27T23:40:31Z", **where)
    other = position_item.write("S2B_01WCU_20240728_0_L2A", when="2024-07-28T01:20:31Z", **where)
    (scene,) = scenes([first, other])
    assert [item.id for item in scene.items] == [first.id, other.id]


def test_a_time_without_zone_is_utc(series, monkeypatch):
    (naive, other) = series(tiles=("33UUB",), days=("2024-07-01", "2024-07-06"))
    naive.datetime = naive.datetime.replace(tzinfo=None)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        found = scenes([other, naive])
        stored = load(naive, bands=["B11"])["r20m"].time.to_numpy()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [s.time for s in found] == ["2024-07-01T10:20:31Z", "2024-07-06T10:20:31Z"]
    assert stored.astype("M8[s]") == np.datetime64("2024-07-01T10:20:31")


def test_a_stated_offset_is_for_the_items_that_leave_it_open(position_item):
    how = {"bands": ["B11"], "shape": (12, 12)}
    silent = position_item.write("S2A_33UUB_20240701_0_L2A", offset=None, **how)
    told = position_item.write("S2A_33UUB_20240706_0_L2A", when="2024-07-06T10:20:31Z", **how)
    first, second = scenes([silent, told], offset=0)
    assert (first.offset, first.rule) == ((0,), ("stated by the caller",))
    assert (second.offset, second.rule) == (
        (-1000,),
        ("offset declared by the item's raster metadata",),
    )


ODD = {
    "CRS": {"proj:code": "EPSG:99999", "proj:epsg": None},
    "transform": {"proj:transform": [60, 0]},
    "shape": {"proj:shape": "12x12"},
    "bands": {"raster:bands": ["B11"]},
}


@pytest.mark.parametrize("what", ODD)
def test_odd_metadata_are_one_scene_with_a_reason(series, what):
    bad, good = series(tiles=("33UUB",), days=("2024-07-01", "2024-07-06"))
    for asset in bad.assets.values():
        asset.extra_fields.update(ODD[what])
    first, second = scenes([bad, good])
    assert second.error is None
    assert isinstance(first.error, SceneError)
    assert f"metadata of item {bad.id} cannot be understood" in str(first.error)
    with pytest.raises(SceneError, match="cannot be understood"):
        load(bad, bands=["B11"])


def test_fields_that_are_null_or_no_number_say_nothing(series):
    (item,) = series(tiles=("33UUB",), days=("2024-07-01",))
    for asset in item.assets.values():
        asset.extra_fields |= {"bands": None, "gsd": "unknown"}
    (scene,) = scenes([item])
    assert (scene.error, scene.offset) == (None, (-1000,))


def test_an_item_that_cannot_be_used_spoils_its_own_day_only(series, position_item):
    good = series(tiles=("33UUB",))
    bad = position_item.write(
        "S2B_33UUB_20240706_1_L2A", when="2024-07-06T10:20:45Z", bands=["B11"], offset=None
    )
    first, second, third, fourth = scenes([*good, bad])
    assert (first.error, fourth.error) == (None, None)
    assert isinstance(second.error, RadiometryError)
    assert second.error is third.error
    assert bad.id in str(second.error)


def test_an_item_without_a_time_is_a_scene_with_a_reason(series):
    (item,) = series(tiles=("33UUB",), days=("2024-07-01",))
    item.datetime = None
    (scene,) = scenes([item])
    assert (scene.tile, scene.time) == ("33UUB", "?")
    assert isinstance(scene.error, SceneError)
