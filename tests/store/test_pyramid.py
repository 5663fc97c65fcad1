"""Coarser levels beside the data: right numbers, in step with the series, read by viewers."""

from __future__ import annotations

import json
import warnings

import numpy as np
import odc.geo.xr  # noqa: F401  (the accessor under test)
import pystac
import pytest
import rioxarray  # noqa: F401  (the accessor under test)
import store_fakes as fakes
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox

import decametric as dm
from decametric.errors import StoreError
from decametric.store import progress, pyramid, write
from decametric.store.layout import plan
from decametric.store.reading import open_series
from decametric.store.tile import missing, open_tile

TIMES = fakes.TIMES
SMALL = {"bands": ("B05", "SCL"), "chunk": 120}


@pytest.fixture(autouse=True)
def small_pyramids(monkeypatch):
    """Levels as small as the images of these tests."""
    monkeypatch.setattr(pyramid, "SMALLEST", 30)


def level(store, name, *, raw=True):
    return xr.open_zarr(store, group=f"33UUB/{name}", mask_and_scale=not raw)


def layout(store):
    document = json.loads((store / "33UUB" / "zarr.json").read_text())
    return [entry["asset"] for entry in document["attributes"]["multiscales"]["layout"]]


def halved(image):
    """Xarray's mean of the valid pixels of each two by two, rounded half up."""
    valid = xr.DataArray(image, dims=("y", "x")).where(image > 0)
    return np.floor(valid.coarsen(y=2, x=2, boundary="pad").mean() + 0.5).fillna(0).to_numpy()


def assert_levels(store, times, shape=(120, 120), bands=fakes.BANDS):
    for index, time in enumerate(times):
        for band in bands:
            image = fakes.numbers(time, band, shape)
            for name in ("r10m", "r20m", "r40m"):
                found = level(store, name)[band]
                assert found.dtype == (np.uint8 if band == "SCL" else np.uint16)
                np.testing.assert_array_equal(found[index], image)
                image = image[::2, ::2] if band == "SCL" else halved(image)


# What is in the levels


@pytest.mark.parametrize(
    ("rows", "columns", "chunk"), [(120, 120, 60), (102, 78, 60), (66, 120, 30)], ids=str
)
def test_each_level_is_the_mean_of_the_one_before(tmp_path, rows, columns, chunk):
    path, box = tmp_path / "s.zarr", fakes.GEOBOX[:rows, :columns]
    write(fakes.dataset(TIMES[:2], geobox=box, chunk=chunk), path, multiscale=True)
    assert_levels(path, TIMES[:2], box.shape)
    assert level(path, "r40m").B02.shape == (2, -(-rows // 4), -(-columns // 4))


def test_valid_pixels_alone_count():
    gaps = np.array([[0, 0, 3, 0], [0, 0, 0, 4], [65535, 65535, 1, 2], [65535, 65535, 2, 2]], "u2")
    np.testing.assert_array_equal(pyramid.halve(gaps), [[0, 4], [65535, 2]])


def test_each_level_says_where_it_lies(tmp_path):
    path = tmp_path / "s.zarr"
    box = fakes.GEOBOX[:102, :78]
    write(fakes.dataset(geobox=box), path, multiscale=True)
    for name, factor in (("r10m", 1), ("r20m", 2), ("r40m", 4)):
        found = level(path, name)
        assert found.odc.geobox == box.zoom_out(factor)
        assert (found.rio.crs, found.rio.transform()) == ("EPSG:32633", found.odc.geobox.transform)
        assert found.attrs["proj:code"] == "EPSG:32633"
        assert found.attrs["spatial:transform"] == list(box.zoom_out(factor).transform)[:6]
        assert found.attrs["spatial:shape"] == list(found.B02.shape[1:])
        assert found.B02.encoding["chunks"] == (1, 60, 60)
        attributes = zarr.open_array(path / "33UUB" / name / "B02", mode="r").attrs
        assert (attributes["scale_factor"], attributes["_FillValue"]) == (1e-4, 0)


def test_the_group_above_tells_the_levels(tmp_path):
    path = tmp_path / "s.zarr"
    write(fakes.dataset(), path, multiscale=True)
    above = zarr.open_group(path / "33UUB", mode="r")
    names = {each["name"] for each in above.attrs["zarr_conventions"]}
    assert names == {"multiscales", "proj", "spatial"}
    assert above.attrs["multiscales"] == {
        "resampling_method": "average",
        "layout": [
            {
                "asset": name,
                **({"derived_from": source} if source else {}),
                "transform": {"scale": [scale, scale], "translation": [0.0, 0.0]},
                "spatial:shape": [size, size],
                "spatial:transform": [pixel, 0.0, 300000.0, 0.0, -pixel, 6199800.0],
            }
            for name, source, scale, size, pixel in (
                ("r10m", None, 1.0, 120, 10.0),
                ("r20m", "r10m", 2.0, 60, 20.0),
                ("r40m", "r20m", 2.0, 30, 40.0),
            )
        ],
    }
    # The documents that it carries are those of the nodes themselves.
    for name, node in above.members(max_depth=None):
        alone = zarr.open(path / "33UUB" / name, mode="r", use_consolidated=False)
        assert dict(node.attrs) == dict(alone.attrs)
        assert getattr(node, "shape", None) == getattr(alone, "shape", None)


# Who reads them


def test_xarray_opens_the_tree(tmp_path):
    path = tmp_path / "s.zarr"
    write(fakes.dataset(), path, multiscale=True)
    tree = xr.open_datatree(path, engine="zarr")
    assert set(tree["33UUB"].children) == {"r10m", "r20m", "r40m"}
    np.testing.assert_array_equal(tree["33UUB/r20m/B02"], level(path, "r20m", raw=False).B02)


@pytest.mark.parametrize(("width", "name"), [(120, "r10m"), (60, "r20m"), (30, "r40m")])
def test_rio_tiler_reads_the_level_of_the_picture(tmp_path, width, name):
    pytest.importorskip("rio_tiler", reason="rio-tiler is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental
        from rio_tiler.experimental.zarr import GroupReader
    path = tmp_path / "s.zarr"
    write(fakes.dataset(TIMES[:2]), path, multiscale=True)
    # Readings of other levels would fail.
    for other in {"r10m", "r20m", "r40m"} - {name}:
        (path / "33UUB" / other / "B02" / "c").rename(path / f"{other}.away")
    with GroupReader(zarr.open_group(path / "33UUB", mode="r")) as reader:
        found = {each["name"]: each["multiscale"] for each in reader.list_variables()}
        assert found == dict.fromkeys(fakes.BANDS, True)
        picture = reader.part(
            fakes.GEOBOX.boundingbox.bbox,
            bounds_crs="EPSG:32633",
            dst_crs="EPSG:32633",
            variables=["B02"],
            width=width,
            height=width,
        )
    np.testing.assert_array_equal(picture.data, level(path, name).B02)


# In step with the series


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)], ids=str)
def test_any_order_of_arrival_gives_the_same_bytes(tmp_path, order):
    for day in order:
        write(fakes.dataset((TIMES[day],), **SMALL), tmp_path / "s.zarr", multiscale=True)
    write(fakes.dataset(TIMES, **SMALL), tmp_path / "once.zarr", multiscale=True)
    assert fakes.tree(tmp_path / "s.zarr") == fakes.tree(tmp_path / "once.zarr")
    assert_levels(tmp_path / "s.zarr", TIMES, bands=SMALL["bands"])


def test_levels_are_made_once_and_follow_without_being_asked(tmp_path, monkeypatch):
    path, made, halve = tmp_path / "s.zarr", [], pyramid.halve
    monkeypatch.setattr(pyramid, "halve", lambda block: made.append(1) or halve(block))
    write(fakes.dataset(TIMES[:1], **SMALL), path, multiscale=True)
    assert len(made) == 2 * 2  # two bands, two levels of one chunk
    before = fakes.tree(path)
    write(fakes.dataset(TIMES[:1], **SMALL), path)
    assert (len(made), fakes.tree(path)) == (4, before)
    write(fakes.dataset(TIMES[:2], **SMALL), path)
    assert len(made) == 8
    assert_levels(path, TIMES[:2], bands=SMALL["bands"])


@pytest.mark.parametrize(("late", "calls"), [(False, 0), (False, 3), (True, 1), (True, 5)])
def test_a_run_that_stops_in_the_levels_goes_on(tmp_path, monkeypatch, calls, late):
    path, left, halve = tmp_path / "s.zarr", [calls], pyramid.halve
    days = (TIMES[2], TIMES[0]) if late else (TIMES[0], TIMES[2])
    write(fakes.dataset(days[:1], **SMALL), path, multiscale=True)

    def stopped(block):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return halve(block)

    monkeypatch.setattr(pyramid, "halve", stopped)
    with pytest.raises(KeyboardInterrupt):
        write(fakes.dataset(days[1:], **SMALL), path)
    # The data are all there, and the levels do not pretend to be.
    assert level(path, "r10m").attrs["complete"]
    assert layout(path) == ["r10m"]
    monkeypatch.undo()
    monkeypatch.setattr(pyramid, "SMALLEST", 30)
    assert write(fakes.dataset(days[1:], **SMALL), path).blocks_written == 0
    write(fakes.dataset(TIMES[::2], **SMALL), tmp_path / "once.zarr", multiscale=True)
    assert fakes.tree(path) == fakes.tree(tmp_path / "once.zarr")


def test_a_date_that_is_not_finished_has_no_data_in_the_levels(tmp_path):
    def failing(_band, time, _row, _col):
        if time == 1:
            raise RuntimeError

    path = tmp_path / "s.zarr"
    with pytest.raises(RuntimeError):
        write(fakes.dataset(TIMES[:2], **SMALL, hook=failing), path, multiscale=True)
    write(fakes.dataset(TIMES[:1], **SMALL), path)
    assert level(path, "r10m").attrs["unfinished"] == [TIMES[1]]
    assert layout(path) == ["r10m", "r20m", "r40m"]
    assert_levels(path, TIMES[:1], bands=SMALL["bands"])
    assert not level(path, "r20m").B05[1].any()
    write(fakes.dataset(TIMES[:2], **SMALL), path)
    assert_levels(path, TIMES[:2], bands=SMALL["bands"])


def test_while_a_tile_is_written_its_levels_are_not_shown(tmp_path):
    path = tmp_path / "s.zarr"
    write(fakes.dataset(TIMES[:1], **SMALL), path, multiscale=True)
    planned = plan(fakes.dataset(TIMES[1:2], **SMALL))
    with open_tile(path, fakes.TILE) as tile:
        tile.add(planned)
        assert layout(path) == ["r10m"]
        assert set(xr.open_datatree(path, engine="zarr")["33UUB"].children) == {"r10m"}


def test_an_image_that_is_small_has_no_coarser_level(tmp_path, monkeypatch):
    monkeypatch.undo()
    path = tmp_path / "s.zarr"
    write(fakes.dataset(**SMALL), path, multiscale=True)
    assert layout(path) == ["r10m"]
    assert level(path, "r10m").B05.shape == (1, 120, 120)


# With the rest of the store


def test_the_data_are_those_of_a_plain_tile(tmp_path):
    for name, multiscale in (("plain", False), ("levels", True)):
        write(fakes.dataset(TIMES[:2], **SMALL), tmp_path / name, multiscale=multiscale)
    plain = fakes.tree(tmp_path / "plain" / "33UUB")
    assert fakes.tree(tmp_path / "levels" / "33UUB" / "r10m") == plain
    assert progress(tmp_path / "levels", fakes.TILE) == (2, 2)
    assert missing(plan(fakes.dataset(TIMES[:2], **SMALL)), tmp_path / "levels") == 0


def test_stac_points_at_the_data(tmp_path):
    path = tmp_path / "s.zarr"
    write(fakes.dataset(), path, multiscale=True)
    write(fakes.dataset(), tmp_path / "plain.zarr")
    found = pystac.Item.from_file(str(path / "stac" / "33UUB.json"))
    opened = xr.open_zarr(found.assets["zarr"].get_absolute_href())
    assert int(dm.valid(opened).sum()) > 0
    ours, theirs = (
        json.loads((root / "stac" / "33UUB.json").read_text())
        for root in (path, tmp_path / "plain.zarr")
    )
    assert theirs["assets"]["zarr"].pop("href") == "../33UUB"
    assert ours["assets"]["zarr"].pop("href") == "../33UUB/r10m"
    assert ours == theirs


def test_series_are_opened_at_ten_metres(tmp_path):
    path = tmp_path / "s.zarr"
    write(fakes.dataset(**SMALL), path, multiscale=True)
    expected = level(path, "r10m", raw=False).load()
    for source, tile in ((path, None), (path, "33UUB"), (path / "33UUB", None)):
        xr.testing.assert_identical(open_series(source, tile).load(), expected)


def test_export_writes_the_data(tmp_path):
    write(fakes.dataset(**SMALL), tmp_path / "s.zarr", multiscale=True)
    ours = dm.export(tmp_path / "s.zarr", tmp_path / "ours")
    theirs = dm.export(fakes.dataset(**SMALL), tmp_path / "theirs")
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_a_plain_tile_gets_no_levels_unless_replaced(tmp_path):
    path = tmp_path / "s.zarr"
    write(fakes.dataset(**SMALL), path)
    with pytest.raises(StoreError, match=r"33UUB was written without coarser levels; use --over"):
        write(fakes.dataset(**SMALL), path, multiscale=True)
    write(fakes.dataset(**SMALL), path, multiscale=True, overwrite=True)
    assert layout(path) == ["r10m", "r20m", "r40m"]
    write(fakes.dataset(**SMALL), path, overwrite=True)
    write(fakes.dataset(**SMALL), tmp_path / "plain.zarr")
    assert fakes.tree(path) == fakes.tree(tmp_path / "plain.zarr")


def test_tiles_with_and_without_levels_share_a_store(tmp_path):
    path = tmp_path / "s.zarr"
    write(fakes.dataset(**SMALL), path, multiscale=True)
    write(fakes.dataset(**SMALL).assign_attrs(tile="33UUC"), path)
    tree = xr.open_datatree(path, engine="zarr")
    assert list(tree["33UUB"].children) == ["r10m", "r20m", "r40m"]
    assert list(tree["33UUC"].data_vars) == ["B05", "SCL"]


def test_a_store_that_is_no_disk(tmp_path):
    url = "memory://levels/s.zarr"
    write(fakes.dataset(TIMES[1:2], **SMALL), url, multiscale=True)
    write(fakes.dataset(TIMES[:1], **SMALL), url)
    write(fakes.dataset(TIMES[:2], **SMALL), tmp_path / "s.zarr", multiscale=True)
    for name in ("r10m", "r20m", "r40m"):
        xr.testing.assert_identical(
            level(url, name).load(), level(tmp_path / "s.zarr", name).load()
        )


def test_a_whole_tile_ends_at_320_metres():
    box = GeoBox.from_bbox((300000, 6090240, 409800, 6200040), "EPSG:32633", resolution=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyramid, "SMALLEST", 512)
        found = pyramid.levels(box)
    assert [level.name for level in found] == ["r20m", "r40m", "r80m", "r160m", "r320m"]
    assert found[-1].geobox.shape == (344, 344)
