"""stackstac and odc-stac read the same scene bit for bit, every pixel in its place."""

from __future__ import annotations

import numpy as np
import odc.stac
import pytest
import xarray as xr

from decametric.bands import BANDS
from decametric.scenes.reader import load

NORTH = {"epsg": 32633, "corner": (300000, 6200040)}
# 6 100 000 = 40 mod 60: the grid of every southern tile.
SOUTH = {"epsg": 32755, "corner": (600000, 6100000)}

# In 10 m pixels of a scene of 54 x 66; the second is no multiple of 6 and must grow to one.
AREAS = {
    "whole": ({}, np.s_[0:9], np.s_[0:11]),
    "window": ({"window": ((7, 29), (13, 31))}, np.s_[1:5], np.s_[2:6]),
    "corner": ({"window": ((48, 54), (60, 66))}, np.s_[8:9], np.s_[10:11]),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tile", [NORTH, SOUTH], ids=["north", "south"])
@pytest.mark.parametrize("area", AREAS)
def test_engines_agree_with_each_other_and_with_the_file(position_item, tile, version, area):
    item = position_item.write(version=version, **tile)
    options, rows, cols = AREAS[area]
    scene = load(item, chunk=30, **options)
    other = load(item, chunk=30, engine="odc-stac", **options)
    for res in (10, 20, 60):
        ours, theirs = (s[f"r{res}m"].to_dataset().compute() for s in (scene, other))
        xr.testing.assert_identical(ours, theirs)
        step = 60 // res
        where = np.s_[rows.start * step : rows.stop * step, cols.start * step : cols.stop * step]
        for band, dn in position_item.written[item.id].items():
            if band in ours and band != "SCL":
                expected = (dn[where].astype("float32") - 1000) / np.float32(10000)
                np.testing.assert_array_equal(ours[band].values[0], expected)
        x0, y0 = tile["corner"]
        assert ours.odc.geobox.transform[:6] == (
            res, 0, x0 + 60 * cols.start, 0, -res, y0 - 60 * rows.start,
        )  # fmt: skip


def test_the_area_in_degrees_is_the_window_under_it(position_item):
    item = position_item.write(**SOUTH)
    whole = load(item)["r60m"].to_dataset().odc.geobox
    west, south, east, north = whole[3:5, 4:7].geographic_extent.boundingbox
    middle = [(west + east) / 2, (south + north) / 2]
    scene = load(
        item, bbox=(middle[0] - 1e-5, middle[1] - 1e-5, middle[0] + 1e-5, middle[1] + 1e-5)
    )
    assert tuple(scene["r60m"].to_dataset().odc.geobox.shape) in {(1, 1), (2, 1)}
    same = load(item, geobox=whole[3:5, 4:7])
    assert same["r60m"].to_dataset().odc.geobox == whole[3:5, 4:7]
    assert same["r10m"].to_dataset().odc.geobox == whole[3:5, 4:7].zoom_to(resolution=10)


def test_merged_granules_equal_odc_stac_with_its_own_merging(position_item):
    left = np.zeros((54, 66), bool)
    left[:, 40:] = True
    right = np.zeros((54, 66), bool)
    right[:20, :30] = True
    first = position_item.write("S2A_33UUB_20240701_0_L2A", holes={"B02": left})
    second = position_item.write(
        "S2A_33UUB_20240701_1_L2A", holes={"B02": right}, when="2024-07-01T10:20:35Z"
    )
    scene = load([second, first], bands=["B02"])
    assert scene["r10m"].sizes["time"] == 1
    fused = odc.stac.load(
        [first, second],
        bands=[BANDS["B02"].key],
        geobox=scene["r10m"].to_dataset().odc.geobox,
        groupby="solar_day",
        stac_cfg={"*": {"assets": {"*": {"data_type": "uint16", "nodata": 0}}}},
    )[BANDS["B02"].key]
    expected = np.where(fused == 0, np.nan, (fused.values.astype("f4") - 1000) / np.float32(10000))
    np.testing.assert_array_equal(scene["r10m"]["B02"].values, expected.astype("f4"))


@pytest.mark.parametrize(
    "path",
    [
        "sentinel-2-l1c/S2A_33UUB_20170527_L1C_malmo/S2A_33UUB_20170527_L1C_malmo.json",
        "sentinel-2-l1c/oscd-brasilia-2/oscd-brasilia-2.json",
        "sentinel-2-l2a/S2A_29UPU_20170617_L2A_ben_36_85/S2A_29UPU_20170617_L2A_ben_36_85.json",
    ],
)
def test_engines_agree_on_real_scenes(shared_data, path):
    window = ((30, 210), (66, 120))
    scenes = [
        load(shared_data / "stac" / path, window=window, chunk=90, engine=engine)
        for engine in ("stackstac", "odc-stac")
    ]
    for res in ("r10m", "r20m", "r60m"):
        ours, theirs = (scene[res].to_dataset().compute() for scene in scenes)
        xr.testing.assert_identical(ours, theirs)
        assert all(np.isfinite(ours[band]).any() for band in ours)
