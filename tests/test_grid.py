"""Nested grids, chunk arithmetic, and areas of interest."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from decametric import grid
from decametric.errors import UsageError

NORTH = GeoBox((100, 80), Affine(60, 0, 300000, 0, -60, 6200040), "EPSG:32633")
# 6 100 000 = 40 mod 60, as on every southern tile.
SOUTH = GeoBox((100, 80), Affine(60, 0, 600000, 0, -60, 6100000), "EPSG:32755")


@pytest.mark.parametrize("coarse", [NORTH, SOUTH], ids=["north", "south"])
def test_nested_grids_share_corner_and_extent(coarse):
    boxes = grid.nested(coarse)
    assert list(boxes) == [10, 20, 60]
    for res, box in boxes.items():
        assert box.shape == (100 * 60 // res, 80 * 60 // res)
        assert box.transform == Affine(res, 0, coarse.transform.c, 0, -res, coarse.transform.f)
        assert box.boundingbox == coarse.boundingbox
        assert box.crs == coarse.crs


@pytest.mark.parametrize("chunk", [6, 300, 1098, 1830, 10980])
def test_multiples_of_six_are_chunks(chunk):
    assert grid.check_chunk(chunk) == chunk


@pytest.mark.parametrize(
    ("chunk", "ways"), [(1000, "996 or 1002"), (5, "6 or 12"), (-6, "6 or 12")]
)
def test_other_chunks_are_refused_with_two_that_fit(chunk, ways):
    with pytest.raises(
        UsageError, match=f"chunk={chunk} is not a multiple of 6.*use {ways}, or 1098"
    ):
        grid.check_chunk(chunk)


@pytest.mark.parametrize(
    ("size", "limit", "edge"),
    [(3294, 1098, 1098), (1272, 1098, 636), (120, 1098, 120), (10980, 1098, 1098), (606, 102, 102)],
)
def test_window_edge(size, limit, edge):
    assert grid.window_edge(size, limit) == edge


SIXES = st.integers(1, 400).map(lambda n: 6 * n)


@given(SIXES, SIXES)
def test_windows_cover_the_scene_and_respect_the_limit(size, limit):
    edge = grid.window_edge(size, limit)
    assert edge % 6 == 0
    assert edge <= limit
    count = -(-size // limit)
    # As few windows as the limit allows, and none of them empty.
    assert (count - 1) * edge < size <= count * edge


@given(SIXES, SIXES, SIXES)
def test_blocks_are_unions_of_windows_with_one_ragged_end(size, limit, chunk):
    window = grid.window_edge(size, limit)
    edges = grid.block_edges(size, window, chunk)
    assert sum(edges) == size
    assert all(edge % window == 0 for edge in edges[:-1])
    assert len(set(edges[:-1])) <= 1
    assert len(edges) == 1 or edges[-1] >= window


def test_blocks_are_about_as_large_as_chunks():
    assert grid.block_edges(3294, 1098, 1098) == (1098, 1098, 1098)
    assert grid.block_edges(600, 102, 300) == (306, 294)
    assert grid.block_edges(600, 150, 510) == (450, 150)
    # 6 windows of 102 need 612: the last one is ragged and joins the block before it.
    assert grid.block_edges(606, 102, 100) == (102, 102, 102, 102, 198)


def test_without_an_area_the_grid_stays():
    assert grid.crop(NORTH) is NORTH


@pytest.mark.parametrize("coarse", [NORTH, SOUTH], ids=["north", "south"])
@pytest.mark.parametrize(
    ("window", "cut"),
    [
        (((0, 600), (0, 480)), np.s_[0:100, 0:80]),
        (((6, 12), (12, 24)), np.s_[1:2, 2:4]),
        (((7, 8), (11, 13)), np.s_[1:2, 1:3]),
        (((-50, 7), (470, 9999)), np.s_[0:2, 78:80]),
    ],
    ids=["whole", "exact", "grown", "clipped"],
)
def test_windows_grow_to_whole_60_m_pixels_of_the_tile(coarse, window, cut):
    assert grid.crop(coarse, window=window) == coarse[cut]


@given(st.integers(0, 99), st.integers(1, 100), st.integers(0, 79), st.integers(1, 80))
@settings(deadline=None)  # the first transformation loads the tables of PROJ
def test_a_geobox_of_whole_pixels_is_cut_exactly(top, rows, left, cols):
    part = SOUTH[top : min(top + rows, 100), left : min(left + cols, 80)]
    assert grid.crop(SOUTH, geobox=part) == part


def test_a_geobox_may_have_another_resolution_and_place():
    moved = GeoBox((30, 30), Affine(10, 0, 600000 + 90, 0, -10, 6100000 - 130), "EPSG:32755")
    # x 90 .. 390 m, y 130 .. 430 m in pixels of 60 m
    assert grid.crop(SOUTH, geobox=moved) == SOUTH[2:8, 1:7]


@pytest.mark.parametrize("coarse", [NORTH, SOUTH], ids=["north", "south"])
def test_a_box_in_degrees_covers_all_of_its_area(coarse):
    part = coarse[30:60, 20:50]
    box = part.geographic_extent.boundingbox
    found = grid.crop(coarse, bbox=box.bbox)
    assert found.boundingbox.left <= part.boundingbox.left
    assert found.boundingbox.top >= part.boundingbox.top
    # The box in degrees is upright, the grid is turned against it by the meridian convergence:
    # it may reach a few pixels farther, not more.
    assert all(0 <= grown - own <= 8 for grown, own in zip(found.shape, part.shape, strict=True))


def test_a_geobox_in_degrees_means_its_footprint():
    box = NORTH[30:60, 20:50].geographic_extent.boundingbox
    degrees = GeoBox.from_bbox(box.bbox, "EPSG:4326", shape=(64, 64))
    assert grid.crop(NORTH, geobox=degrees) == grid.crop(NORTH, bbox=box.bbox)


# A tile on the antimeridian, and tiles far and near from it, on both sides of the equator.
PLACES = {
    "01WCU": GeoBox((1830, 1830), Affine(60, 0, 300000, 0, -60, 7900020), "EPSG:32601"),
    "10SEG": GeoBox((1830, 1830), Affine(60, 0, 499980, 0, -60, 4200000), "EPSG:32610"),
    "33UUB": GeoBox((1830, 1830), Affine(60, 0, 300000, 0, -60, 6200040), "EPSG:32633"),
    "60KXF": GeoBox((1830, 1830), Affine(60, 0, 600000, 0, -60, 8100040), "EPSG:32760"),
}


@pytest.mark.parametrize("tile", PLACES)
@pytest.mark.parametrize("bbox", [(-180, -90, 180, 90), (-180, -56, 180, 84)])
def test_a_box_around_the_world_is_the_whole_tile(tile, bbox):
    assert grid.crop(PLACES[tile], bbox=bbox) == PLACES[tile]
    world = GeoBox.from_bbox(bbox, "EPSG:4326", shape=(64, 64))
    assert grid.crop(PLACES[tile], geobox=world) == PLACES[tile]


def test_continents_hold_their_tiles_and_no_others():
    americas, eurasia = (-170, -56, -30, 84), (-12, 0, 180, 82)
    assert grid.crop(PLACES["10SEG"], bbox=americas) == PLACES["10SEG"]
    assert grid.crop(PLACES["33UUB"], bbox=eurasia) == PLACES["33UUB"]
    for tile, bbox in (("10SEG", eurasia), ("33UUB", americas), ("60KXF", americas)):
        with pytest.raises(UsageError, match="lies outside of the scene"):
            grid.crop(PLACES[tile], bbox=bbox)


def test_both_sides_of_the_antimeridian_are_found():
    tile = PLACES["01WCU"]
    west, east = (grid.crop(tile, bbox=b) for b in ((170, 60, 180, 80), (-180, 60, -170, 80)))
    # 180 degrees runs askew through the tile: the two overlap in its columns.
    assert west.boundingbox.left == tile.boundingbox.left
    assert west.boundingbox.right > east.boundingbox.left
    assert east.boundingbox.right == tile.boundingbox.right
    assert west.shape.x + east.shape.x < 2 * 1830
    box = grid.degrees(tile)
    assert 177 < box.left < 178
    assert 180 < box.right < 181


@pytest.mark.parametrize(
    "area",
    [
        {"bbox": (0, 0, 1, 1)},
        {"window": ((600, 700), (0, 10))},
        {"window": ((12, 12), (0, 12))},
        {"geobox": GeoBox((5, 5), Affine(60, 0, 0, 0, -60, 0), "EPSG:32633")},
    ],
    ids=["bbox", "window", "empty window", "geobox"],
)
def test_an_area_outside_is_refused_with_the_place_of_the_scene(area):
    with pytest.raises(UsageError, match=r"lies outside of the scene, which covers \(1[12]\.\d+"):
        grid.crop(NORTH, **area)


def test_an_empty_box_and_two_areas_are_refused():
    with pytest.raises(UsageError, match=r"bbox=\(12, 55, 11, 56\) is empty"):
        grid.crop(NORTH, bbox=(12, 55, 11, 56))
    with pytest.raises(UsageError, match="one area of interest only"):
        grid.crop(NORTH, bbox=(11, 55, 12, 56), window=((0, 6), (0, 6)))
