"""Items become scenes: one tile, one solar day; what cannot be used is a scene with a reason."""

from __future__ import annotations

from decametric.errors import RadiometryError, SceneError
from decametric.runs.grouping import scenes


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
