"""Rasters of one's own give the scene that `load` gives of them, or one sentence says why not."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from decametric.bands import BANDS
from decametric.errors import RadiometryError, SceneError, UsageError
from decametric.evaluation.assess import assess
from decametric.scenes.items import RESOLUTION
from decametric.scenes.lattice import common_area
from decametric.scenes.own import from_bands
from decametric.scenes.reader import load
from decametric.store.zarr import write
from decametric.superres.inference import sharpen
from decametric.superres.plan import explain

WHEN = "2024-07-01T10:20:31Z"
CORNER = (300000, 6200040)


@pytest.fixture
def rasters(position_item):
    """Factory: an item, and its bands as rioxarray opens them."""

    def factory(*, bands=None, shape=(5, 6), **options):
        item = position_item.write(bands=bands, shape=shape)
        folder = position_item.folder / item.id
        names = position_item.written[item.id]
        opened = {
            name: rioxarray.open_rasterio(folder / f"{name}.tif", **options) for name in names
        }
        return item, opened

    return factory


def raster(name, *, corner=CORNER, shape=(2, 2), epsg=32633, dtype="f4", value=0.25, pixel=None):
    """A band in memory; `shape` counts 60 m pixels."""
    res = pixel or RESOLUTION[name]
    size = tuple(n * 60 // res for n in shape)
    box = GeoBox(size, Affine(res, 0, corner[0], 0, -res, corner[1]), f"EPSG:{epsg}")
    return xr.DataArray(np.full(size, value, dtype), dims=("y", "x"), coords=xr_coords(box))


def assert_same(scene, expected):
    assert list(scene.children) == list(expected.children)
    for group, node in expected.children.items():
        xr.testing.assert_identical(scene[group].to_dataset(), node.to_dataset())


# --- the scene -------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [None, 7, {"y": 11, "x": 9}])
def test_opened_bands_give_the_scene_of_their_item(rasters, chunks):
    item, opened = rasters(chunks=chunks)
    scene = from_bands(opened, level="L2A", offset=-1000, time=WHEN, tile="33UUB", chunk=12)
    expected = load(item, chunk=12)
    assert_same(scene, expected)
    for group, node in expected.children.items():
        for name, band in node.data_vars.items():
            assert scene[group][name].data.chunks == band.data.chunks
    assert scene.attrs == {
        "level": "L2A",
        "tile": "33UUB",
        "provenance": {
            "scenes": [
                {
                    "time": WHEN,
                    "items": ["own bands"],
                    "offset": [-1000],
                    "rule": ["stated by the caller"],
                }
            ]
        },
    }


def test_sharpened_and_stored_they_are_the_same_bytes(rasters, tmp_path):
    item, opened = rasters(chunks={})
    names = {name: band.key for name, band in BANDS.items()} | {"SCL": "scl"}
    keyed = {names[name]: array for name, array in opened.items()}
    own = from_bands(keyed, level="L2A", offset=-1000, time=WHEN, tile="33UUB", name=item.id)
    for name, scene in (("own", own), ("item", load(item))):
        write(sharpen(scene, "bicubic"), tmp_path / name)
    files = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name / "33UUB").rglob("*")
            if path.is_file() and "c" in path.relative_to(tmp_path).parts
        }
        for name in ("own", "item")
    ]
    assert len(files[0]) > 13
    assert files[0] == files[1]


def test_the_rest_of_the_package_takes_them(rasters):
    item, opened = rasters(shape=(12, 12), chunks={})
    own = from_bands(opened, level="L2A", offset=-1000, time=WHEN)
    assert own.attrs["tile"] == "EPSG32633_300000_6200040"
    plans = [explain(scene, "bicubic") for scene in (own, load(item))]
    assert plans[0] == plans[1]
    scores = [assess(scene, "bicubic", metrics=("rmse",)) for scene in (own, load(item))]
    xr.testing.assert_equal(*scores)


def test_nothing_is_read_before_compute(rasters, position_item):
    item, opened = rasters(bands=["B02", "B05"])
    for array in opened.values():
        array.close()
    folder = position_item.folder / item.id
    (folder / "B02.tif").rename(folder / "gone.tif")
    scene = from_bands(opened, level="L2A", offset=0, time=WHEN)
    with pytest.raises(rasterio.errors.RasterioIOError, match="B02"):
        scene["r10m"]["B02"].compute()
    assert scene["r20m"]["B05"].compute().notnull().all()


def test_bands_that_nobody_needs_may_be_missing(rasters):
    _, opened = rasters(bands=["B02", "B03", "B04", "B08", "B05"])
    scene = from_bands(opened, level="L2A", offset=-1000, time=WHEN)
    assert list(scene["r20m"].data_vars) == ["B05"]
    assert scene["r60m"].sizes == {"time": 1, "y": 5, "x": 6}
    assert set(sharpen(scene, "bicubic").data_vars) == {"B02", "B03", "B04", "B05", "B08"}
    with pytest.raises(SceneError, match="The scene has no band B06, B07"):
        sharpen(scene, "bicubic", bands=["B06", "B07"])


def test_a_tree_and_a_dataset(rasters):
    item, _ = rasters()
    loaded = load(item)
    assert_same(from_bands(loaded, level="L2A"), loaded)
    fine = loaded["r10m"].to_dataset()
    assert_same(from_bands(fine, level="L2A").match("r10m"), loaded.match("r10m"))


def test_of_a_tree_with_resampled_copies_the_native_bands_are_taken(rasters):
    item, _ = rasters(bands=["B02", "B05", "B01"])
    loaded = load(item, bands=["B02", "B05", "B01"])
    nodes = {group: node.to_dataset() for group, node in loaded.children.items()}
    nodes["r20m"] = nodes["r20m"].assign(b02=nodes["r20m"].B05, b01=nodes["r20m"].B05, aot=7)
    assert_same(from_bands(xr.DataTree.from_dict(nodes), level="L2A"), loaded)


def test_dates(rasters):
    _, opened = rasters(bands=["B02", "B05"])
    times = np.array(["2024-07-01T10:20", "2024-07-06T10:20"], "datetime64[ns]")
    stacked = {
        name: xr.concat([array.isel(band=0), array.isel(band=0) + 1], "time").assign_coords(
            time=times
        )
        for name, array in opened.items()
    }
    scene = from_bands(stacked, level="L2A", offset=0)
    np.testing.assert_array_equal(scene["r10m"].time, times)
    assert [s["time"] for s in scene.attrs["provenance"]["scenes"]] == [
        "2024-07-01T10:20:00Z",
        "2024-07-06T10:20:00Z",
    ]
    later = scene["r20m"]["B05"].values
    np.testing.assert_allclose(later[1] - later[0], 1e-4, rtol=1e-2)


@pytest.mark.parametrize(
    "time",
    [
        "2024-07-01T10:20:31",
        "2024-07-01T12:20:31+02:00",
        datetime(2024, 7, 1, 10, 20, 31, tzinfo=UTC),
        np.datetime64("2024-07-01T10:20:31", "ns"),
    ],
)
def test_one_time_in_any_form(time):
    scene = from_bands({"B02": raster("B02")}, level="L1C", time=time)
    assert scene["r10m"].time.values.tolist() == [1719829231 * 10**9]


def test_a_scalar_time_of_the_rasters_is_theirs():
    array = raster("B02").assign_coords(time=np.datetime64("2024-07-01", "ns"))
    scene = from_bands({"B02": array}, level="L1C")
    assert scene.attrs["provenance"]["scenes"][0]["time"] == "2024-07-01T00:00:00Z"


# --- numbers ---------------------------------------------------------------------------------


def tagged(path, scale=0.0001, offset=-0.1):
    """Write scale and offset into a file, as exported COGs have them."""
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.scales, file.offsets = (scale,), (offset,)


@pytest.mark.parametrize("options", [{}, {"masked": True}, {"mask_and_scale": True}])
def test_scale_and_offset_of_the_file_are_applied_once(rasters, position_item, options):
    item, _ = rasters(bands=["B02"])
    path = position_item.folder / item.id / "B02.tif"
    tagged(path)
    array = rioxarray.open_rasterio(path, **options)
    scene = from_bands({"B02": array}, level="L2A", time=WHEN)
    found, expected = (s["r10m"]["B02"].values for s in (scene, load(item, bands=["B02"])))
    if "mask_and_scale" in options:  # by rioxarray, whose arithmetic is its own
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_array_equal(np.round(found * 10000), np.round(expected * 10000))
    else:
        np.testing.assert_array_equal(found, expected)


def test_a_mask_leaves_digital_numbers(rasters):
    item, opened = rasters(bands=["B02"], masked=True)
    with pytest.raises(RadiometryError, match=r"B02 holds digital numbers \(uint16\)"):
        from_bands(opened, level="L2A", time=WHEN)
    scene = from_bands(opened, level="L2A", offset=-1000, time=WHEN)
    np.testing.assert_array_equal(scene["r10m"]["B02"], load(item, bands=["B02"])["r10m"]["B02"])


def test_no_data():
    dn = raster("B02", dtype="u2", value=5000)
    dn[0, 0], dn[1, 1] = 0, 65535
    options = {"level": "L2A", "offset": 0, "time": WHEN}
    by_default = from_bands({"B02": dn}, **options)["r10m"]["B02"].values[0]
    assert np.isnan(by_default[0, 0])
    assert by_default[1, 1] == np.float32(6.5535)
    marked = dn.assign_attrs(_FillValue=65535)
    for scene in (
        from_bands({"B02": marked}, **options),
        from_bands({"B02": dn}, nodata=65535, **options),
    ):
        values = scene["r10m"]["B02"].values[0]
        assert values[0, 0] == 0
        assert np.isnan(values[1, 1])
    floats = raster("B02")
    floats[0, 0], floats[1, 1], floats[2, 2] = -9999, np.nan, 0
    values = from_bands({"B02": floats}, level="L2A", time=WHEN, nodata=-9999)["r10m"]["B02"]
    assert np.isnan(values.values[0]).sum() == 2
    assert values.values[0, 2, 2] == 0


def test_another_scale():
    dn = raster("B02", dtype="i2", value=500)
    scene = from_bands({"B02": dn}, level="L2A", offset=0, scale=1e-3, time=WHEN)
    assert (scene["r10m"]["B02"] == np.float32(0.5)).all()


def test_classes_are_not_scaled():
    scl = raster("SCL", value=4)
    scl[0, 0] = np.nan
    bands = {"scl": scl, "B05": raster("B05", dtype="u2", value=4000)}
    scene = from_bands(bands, level="L2A", offset=-1000, time=WHEN)
    assert scene["r20m"]["SCL"].dtype == "uint8"
    assert scene["r20m"]["SCL"].values[0, 0, :2].tolist() == [0, 4]
    assert (scene["r20m"]["B05"] == np.float32(0.3)).all()


def test_every_rule_is_recorded():
    packed = raster("B05", dtype="u2", value=4000).assign_attrs(scale_factor=1e-4, add_offset=-0.1)
    bands = {"B02": raster("B02"), "B05": packed, "B06": packed}
    (facts,) = from_bands(bands, level="L2A", time=WHEN, name="mine").attrs["provenance"]["scenes"]
    assert facts["items"] == ["mine"]
    assert facts["offset"] == [0, -1000]
    assert facts["rule"] == [
        "reflectance as given",
        "scale_factor and add_offset of the rasters",
    ]


SPOILED = {
    "integers": (raster("B02", dtype="u2"), {}, r"B02 holds digital numbers \(uint16\) and does"),
    "neutral": (
        raster("B02", dtype="u2").assign_attrs(scale_factor=1.0, add_offset=0.0),
        {},
        "state offset=-1000 .*offset=0",
    ),
    "contradiction": (
        raster("B02", dtype="u2").assign_attrs(scale_factor=1e-4, add_offset=-0.1),
        {"offset": 0},
        "B02 has scale_factor=0.0001 and add_offset=-0.1, which is not offset=0",
    ),
    "scale alone": (raster("B02", dtype="u2"), {"scale": 1e-4}, "scale=0.0001 comes without off"),
    "odd scale": (raster("B02", dtype="u2"), {"scale": 10000, "offset": 0}, "scale=10000 is not"),
    "fraction": (raster("B02", dtype="u2"), {"offset": -0.1}, "as for load: offset=-1000"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_doubtful_numbers_are_refused(kind):
    array, options, text = SPOILED[kind]
    with pytest.raises((RadiometryError, UsageError), match=text) as caught:
        from_bands({"B02": array}, level="L2A", time=WHEN, **options)
    assert "\n" not in str(caught.value)


def test_what_was_decoded_is_not_decoded_again():
    array = raster("B02")
    array.encoding = {"scale_factor": 1e-4, "add_offset": -0.1, "dtype": "uint16"}
    with pytest.raises(RadiometryError, match="leave out offset"):
        from_bands({"B02": array}, level="L2A", time=WHEN, offset=-1000)
    scene = from_bands({"B02": array}, level="L2A", time=WHEN)
    assert (scene["r10m"]["B02"] == np.float32(0.25)).all()
    (facts,) = scene.attrs["provenance"]["scenes"]
    assert facts["rule"] == ["reflectance, decoded when the rasters were opened"]


@pytest.mark.parametrize("value", [3200, -9999, np.inf])
def test_values_that_are_no_reflectance_stop_the_work(value):
    array = raster("B02")
    array[3, 3] = value
    scene = from_bands({"B02": array}, level="L2A", time=WHEN)
    with pytest.raises(SceneError, match=r"B02 has values of \S+, which no reflectance has: state"):
        scene["r10m"]["B02"].compute()


# --- grids -----------------------------------------------------------------------------------


def test_the_scene_is_what_all_rasters_cover(rasters):
    item, opened = rasters(bands=["B02", "B05", "B01"], shape=(6, 7))
    opened["B02"] = opened["B02"].isel(y=slice(7, None), x=slice(0, 35))
    opened["B05"] = opened["B05"].isel(y=slice(0, 17), x=slice(3, None))
    scene = from_bands(opened, level="L2A", offset=-1000, time=WHEN, chunk=12)
    # Row 7 of 10 m lies in the second 60 m pixel, which is not whole.
    window = ((12, 30), (6, 30))
    assert_same(scene, load(item, bands=["B02", "B05", "B01"], window=window, chunk=12))


def test_southern_tiles_keep_their_lattice():
    corner = (600000, 6100000 + 40)
    bands = {name: raster(name, corner=corner, epsg=32755) for name in ("B02", "B05", "B01")}
    scene = from_bands(bands, level="L2A", time=WHEN)
    assert scene["r60m"].to_dataset().odc.geobox.transform.f == corner[1]


STEPS = {"B02": 1, "B05": 2, "B01": 6}
"""Pixels of 10 m along a pixel of each band."""


@given(
    corners=st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=3),
    sizes=st.lists(st.tuples(st.integers(3, 60), st.integers(3, 60)), min_size=3, max_size=3),
)
@settings(deadline=None, max_examples=40)
def test_any_grids_on_one_lattice_meet_in_whole_coarse_pixels(corners, sizes):
    boxes, spans = {}, []
    for (name, step), corner, size in zip(STEPS.items(), corners, sizes, strict=True):
        first = np.array(corner) * step
        stop = first + np.maximum(1, np.array(size) // step) * step
        spans.append((first, stop))
        place = Affine(10 * step, 0, 10 * first[1], 0, -10 * step, -10 * first[0])
        boxes[name] = GeoBox(tuple((stop - first) // step), place, "EPSG:32633")
    # The same by asking each 60 m pixel of the lattice, along each axis, in pixels of 10 m.
    starts = spans[-1][0][:, None] + 6 * np.arange(-20, 30)
    whole = [(starts >= first[:, None]) & (starts + 6 <= stop[:, None]) for first, stop in spans]
    covered = [line[inside] for line, inside in zip(starts, np.all(whole, axis=0), strict=True)]
    if not all(line.size for line in covered):
        with pytest.raises(SceneError, match="no 60 m pixel in common"):
            common_area(boxes)
        return
    box = common_area(boxes)
    assert box.shape == tuple(line.size for line in covered)
    assert (-box.transform.f, box.transform.c) == tuple(10 * line[0] for line in covered)


PLACES = {
    "resampled": ({"B05": raster("B05", pixel=10)}, "B05 has pixels of 10 m, its own are of 20 m"),
    "zones": ({"B05": raster("B05", epsg=32634)}, "B02 is in EPSG:32633, B05 in EPSG:32634"),
    "between": ({"B05": raster("B05", corner=(300005, 6200040))}, "B02 is shifted against B05"),
    "elsewhere": ({"B05": raster("B05", corner=(360000, 6200040))}, "no 60 m pixel in common"),
    "upside down": ({"B05": raster("B05")[::-1]}, "south to north; turn it"),
    "no place": (
        {"B05": xr.DataArray(np.zeros((6, 6)), dims=("y", "x"))},
        r"B05 has no grid with a CRS; .*write_crs",
    ),
    "dimensions": (
        {"B05": raster("B05").expand_dims(band=2)},
        r"B05 has the dimensions \(band, y, x\); pass one band each",
    ),
    "names": ({"B13": raster("B05")}, "'B13' is not a Sentinel-2 band"),
    "twice": ({"blue": raster("B02")}, "B02 is given twice"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_rasters_that_form_no_scene_are_refused(kind):
    others, text = PLACES[kind]
    with pytest.raises((SceneError, UsageError), match=text) as caught:
        from_bands({"B02": raster("B02"), **others}, level="L2A", time=WHEN)
    assert "\n" not in str(caught.value)


def dated(*days):
    """A band at some dates."""
    times = np.array(days, "datetime64[ns]")
    return xr.concat([raster("B02")] * len(days), "time").assign_coords(time=times)


CALLS = {
    "level": ({"B02": raster("B02")}, {"level": "L3"}, "level='L3' is unknown"),
    "nothing": ({}, {}, "There is no band"),
    "no time": ({"B02": raster("B02")}, {"time": None}, "say when they were seen: time="),
    "two times": ({"B02": dated("2024-07-01")}, {}, "times of their own; leave out time"),
    "odd time": ({"B02": raster("B02")}, {"time": "July"}, "time='July' is no time"),
    "order": (
        {"B02": dated("2024-07-02", "2024-07-01")},
        {"time": None},
        "not in order; sort them",
    ),
    "other dates": (
        {"B02": dated("2024-07-01"), "B03": dated("2024-07-02")},
        {"time": None},
        "B02 and B03 have different times",
    ),
    "no dates": (
        {"B02": dated("2024-07-01", "2024-07-02"), "B05": raster("B05")},
        {"time": None},
        "B05 has no dimension time, other bands have 2 dates",
    ),
    "tree": (xr.DataTree.from_dict({"x": xr.Dataset()}), {}, "no bands below r10m, r20m or r60m"),
    "path": ({"B02": "b02.tif"}, {}, "B02 is a str, not a DataArray; open files with rioxarray"),
    "chunk": ({"B02": raster("B02")}, {"chunk": 7}, "chunk=7 is not a multiple of 6"),
}


@pytest.mark.parametrize("kind", CALLS)
def test_wrong_calls_are_refused(kind):
    bands, options, text = CALLS[kind]
    with pytest.raises((SceneError, UsageError), match=text):
        from_bands(bands, **{"level": "L2A", "time": WHEN, **options})
