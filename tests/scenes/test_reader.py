"""A scene is lazy, exact, merged by day, and every failure is one sentence."""

from __future__ import annotations

import copy
import shutil

import dask
import numpy as np
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
from affine import Affine
from dask._task_spec import Alias
from hypothesis import given, settings
from hypothesis import strategies as st

from decametric.bands import BANDS
from decametric.errors import RadiometryError, SceneError, UsageError
from decametric.scenes.items import RESOLUTION
from decametric.scenes.radiometry import first_class, reflectance
from decametric.scenes.reader import load

TWELVE = [name for name in BANDS if name != "B10"]
ENGINES = ["stackstac", "odc-stac"]


def reflect(dn, offset=-1000):
    out = (dn.astype("f4") + np.float32(offset)) / np.float32(10000)
    return np.where(dn == 0, np.float32(np.nan), out)


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, -1000])
def test_every_digital_number_survives_packing(offset):
    dn = np.arange(1, 65536, dtype="uint16")
    value = reflectance(dn, offsets=[offset])
    assert value.dtype == np.float32
    packed = np.round((value + 0.1) * 10000)
    np.testing.assert_array_equal(packed, dn.astype(int) + offset + 1000)


def test_zero_is_no_data_and_one_is_below_zero():
    value = reflectance(np.array([0, 1, 999, 1000], "uint16"), offsets=[-1000])
    np.testing.assert_array_equal(value, np.array([np.nan, -0.0999, -0.0001, 0], "f4"))


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4))
@settings(deadline=None)
def test_the_first_valid_granule_wins(granules):
    arrays = [np.array(granule, "uint16") for granule in granules]
    offsets = [-n for n in range(len(arrays))]
    expected = [
        next(((dn - n) / 10000 for n, dn in enumerate(pixel) if dn), np.nan)
        for pixel in zip(*granules, strict=True)
    ]
    np.testing.assert_array_equal(reflectance(*arrays, offsets=offsets), np.array(expected, "f4"))
    classes = [next((c for c in pixel if c), 0) for pixel in zip(*granules, strict=True)]
    np.testing.assert_array_equal(first_class(*arrays), np.array(classes, "u1"))


# --- the scene -------------------------------------------------------------------------------


def test_the_scene_is_what_the_contract_says(position_item):
    item = position_item.write(s2__processing_baseline="05.10")
    scene = load(item, chunk=18)
    assert scene.attrs == {
        "level": "L2A",
        "tile": "33UUB",
        "provenance": {
            "scenes": [
                {
                    "time": "2024-07-01T10:20:31Z",
                    "items": [item.id],
                    "offset": [-1000],
                    "rule": ["offset declared by the item's raster metadata"],
                }
            ]
        },
    }
    for res in (10, 20, 60):
        level = scene[f"r{res}m"].to_dataset()
        expected = {name for name, r in RESOLUTION.items() if r == res and name != "B10"}
        assert set(level.data_vars) == expected
        assert level.odc.geobox.boundingbox.bbox == (300000, 6199500, 300660, 6200040)
        assert level.rio.crs.to_epsg() == 32633
        assert level.rio.transform() == Affine(res, 0, 300000, 0, -res, 6200040)
        assert level.time.dtype == "datetime64[ns]"
        for name, band in level.data_vars.items():
            assert band.dims == ("time", "y", "x")
            assert band.dtype == ("uint8" if name == "SCL" else "float32")
            edge = 180 // res
            assert band.chunks[0] == (1,)
            assert {*band.chunks[1][:-1], *band.chunks[2][:-1]} == {edge}
            assert band.attrs["units"] == "1"
            assert name in band.attrs["long_name"]


def test_bands_are_asked_for_in_any_spelling_and_nothing_else_is_read(position_item):
    item = position_item.write()
    for path in (position_item.folder / item.id).glob("B*.tif"):
        if path.stem != "B11":
            path.unlink()
    scene = load(item, bands=["swir16"])
    assert [list(scene[g].data_vars) for g in ("r10m", "r20m", "r60m")] == [[], ["B11"], []]
    assert scene["r10m"].sizes == {"time": 1, "y": 54, "x": 66}
    dn = position_item.written[item.id]["B11"]
    np.testing.assert_array_equal(scene["r20m"]["B11"].values[0], reflect(dn))
    assert "SCL" in load(item, bands=["B02", "scl"])["r20m"]
    assert "B02" in load(item, bands="b2")["r10m"]


def test_one_task_per_band_and_block(position_item):
    items = [position_item.write(f"S2A_33UUB_2024070{n}_0_L2A", when=f"2024-07-0{n}T10:20:31Z")
             for n in (1, 2)]  # fmt: skip
    level = load(items, chunk=18)["r10m"].to_dataset()
    (level,) = dask.optimize(level)
    graph = dict(level.__dask_graph__())
    tasks = sum(not isinstance(task, Alias) for task in graph.values())
    blocks = sum(band.data.npartitions for band in level.data_vars.values())
    # Two small ones per file (its address and its reader) are shared by its blocks.
    assert blocks == 2 * 4 * 3 * 4
    assert tasks <= blocks + 2 * 2 * 4


def test_nothing_is_read_before_compute(position_item, monkeypatch):
    item = position_item.write()
    shutil.rmtree(position_item.folder / item.id)

    def never(*_, **__):
        pytest.fail("a file was opened")

    with monkeypatch.context() as patch:
        patch.setattr(rasterio, "open", never)
        scene = load(item, chunk=18)
    message = r"Cannot read B04\.tif of item S2A_33UUB_20240701_0_L2A \(missing"
    with pytest.raises(SceneError, match=message):
        scene["r10m"]["B04"].compute()


# --- grids -----------------------------------------------------------------------------------


def without_projection(item):
    document = item.to_dict()
    for asset in document["assets"].values():
        asset.pop("proj:shape", None)
        asset.pop("proj:transform", None)
    return pystac.Item.from_dict(document)


def test_without_metadata_the_header_of_a_60_m_file_tells_the_grid(position_item):
    item = position_item.write(epsg=32755, corner=(600000, 6100000))
    bare = without_projection(item)
    assert load(bare).attrs["tile"] == "33UUB"
    assert load(bare)["r10m"].to_dataset().identical(load(item)["r10m"].to_dataset())
    (position_item.folder / item.id / "B01.tif").unlink()
    with pytest.raises(SceneError, match=r"Cannot read B01\.tif of item"):
        load(bare)


def test_epsg_as_text_and_grid_on_the_item(position_item):
    item = without_projection(position_item.write())
    item.properties |= {
        "proj:epsg": "32633",
        "proj:shape": [54, 66],
        "proj:transform": [10, 0, 300000, 0, -10, 6200040],
    }
    item.properties.pop("proj:code", None)
    grid = load(item)["r60m"].to_dataset().odc.geobox
    assert grid.shape == (9, 11)
    assert grid.transform[:6] == (60, 0, 300000, 0, -60, 6200040)


def test_an_item_of_10_m_grows_to_whole_60_m_pixels(position_item):
    item = position_item.write(bands=["B02"])
    item.assets["blue"].extra_fields["proj:shape"] = [50, 61]
    scene = load(item, bands=["B02"])
    assert scene["r60m"].sizes == {"time": 1, "y": 9, "x": 11}


def test_crops_of_one_lattice_are_joined(position_item):
    """The two dates of a place may differ in extent by a few pixels."""
    first = position_item.write("a_33UUB_L2A")
    second = position_item.write(
        "b_33UUB_L2A", corner=(300060, 6199980), shape=(9, 10), when="2024-07-02T10:20:31Z"
    )
    scene = load([second, first], bands=["B02"])
    values = scene["r10m"]["B02"].values
    assert values.shape == (2, 60, 66)
    np.testing.assert_array_equal(values[0, :54], reflect(position_item.written[first.id]["B02"]))
    assert np.isnan(values[0, 54:]).all()
    dn = position_item.written[second.id]["B02"]
    np.testing.assert_array_equal(values[1, 6:, 6:], reflect(dn))
    assert np.isnan(values[1, :6]).all()
    assert np.isnan(values[1, :, :6]).all()


def test_an_item_of_no_tile_is_named_after_its_own_corner(position_item):
    item = position_item.write("place-1", s2__product_type="S2MSI1C", bands=TWELVE)
    scene = load(item, window=((12, 30), (12, 30)))
    assert scene.attrs["tile"] == "EPSG32633_300000_6200040"
    assert scene.attrs["level"] == "L1C"


# --- days ------------------------------------------------------------------------------------


def test_time_is_sorted_and_one_step_per_solar_day(position_item):
    # At 170 degrees east the sun is eleven hours ahead: 22:50 is the next morning.
    east = {"epsg": 32659, "corner": (399960, 6200040), "bands": ["B02"]}
    items = [
        position_item.write(f"S2A_59UQR_{n}_L2A", when=when, **east)
        for n, when in enumerate(
            ["2024-07-02T23:10:00Z", "2024-07-01T22:50:00Z", "2024-07-02T00:10:00Z"]
        )
    ]
    scene = load(items, bands=["B02"])
    assert scene["r10m"].time.dt.strftime("%d %H:%M").values.tolist() == ["01 22:50", "02 23:10"]
    steps = scene.attrs["provenance"]["scenes"]
    assert [step["items"] for step in steps] == [
        ["S2A_59UQR_1_L2A", "S2A_59UQR_2_L2A"],
        ["S2A_59UQR_0_L2A"],
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_granules_of_one_day_keep_their_own_offsets(position_item, engine):
    hole = {"B02": np.indices((54, 66))[1] > 30, "SCL": np.indices((27, 33))[0] > 9}
    old = position_item.write("S2A_33UUB_20240701_0_L2A", offset=0, holes=hole)
    new = position_item.write("S2B_33UUB_20240701_0_L2A", offset=-0.1, when="2024-07-01T10:30:00Z")
    scene = load([new, old], engine=engine, chunk=18)
    dn = position_item.written[new.id]["B02"]
    expected = np.where(hole["B02"], reflect(dn), reflect(dn, 0))
    np.testing.assert_array_equal(scene["r10m"]["B02"].values[0], expected)
    np.testing.assert_array_equal(
        scene["r20m"]["SCL"].values[0], position_item.written[new.id]["SCL"]
    )
    (step,) = scene.attrs["provenance"]["scenes"]
    assert step["items"] == [old.id, new.id]
    assert step["offset"] == [0, -1000]
    assert step["time"] == "2024-07-01T10:20:31Z"


def test_of_a_datatake_processed_twice_the_newest_baseline_stays(position_item):
    def written(name, baseline, offset, part):
        return position_item.write(
            name,
            offset=offset,
            bands=["B02"],
            s2__datatake_id=f"GS2A_20200701T102031_026250_N{baseline}",
            s2__processing_baseline=baseline,
            s2__sequence=part,
        )

    old = written("S2A_33UUB_20200701_0_L2A", "02.14", 0, "0")
    halves = [written(f"S2A_33UUB_20200701_{n}_L2A", "05.00", -0.1, str(n)) for n in (1, 2)]
    (step,) = load([old, *halves], bands=["B02"]).attrs["provenance"]["scenes"]
    assert step["items"] == [half.id for half in halves]


# --- refusals --------------------------------------------------------------------------------


def other_tile(item):
    item.id = "S2A_33UUC_20240701_0_L2A"


def other_zone(item):
    other_tile(item)
    item.properties["proj:code"] = "EPSG:32634"


def other_level(item):
    item.id = "S2A_33UUB_20240701_0_L1C"


def shifted(item):
    item.id = "S2B_33UUB_20240702_0_L2A"
    item.assets["coastal"].extra_fields["proj:transform"] = [60, 0, 300020, 0, -60, 6200040]


PAIRS = {
    "tiles": (other_tile, "different tiles .33UUB: S2A.*33UUC: S2A"),
    "zones": (other_zone, "different UTM zones .EPSG:32633: .*EPSG:32634"),
    "levels": (other_level, "different levels .L1C: .*L2A: "),
    "shifted": (shifted, "shifted by part of a pixel"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_items_that_are_no_one_scene_are_refused(position_item, kind):
    item = position_item.write("S2A_33UUB_20240701_0_L2A")
    other = copy.deepcopy(item)
    change, text = PAIRS[kind]
    change(other)
    with pytest.raises(SceneError, match=text) as caught:
        load([item, other], bands=["B02", "B01"])
    assert "\n" not in str(caught.value)


def lacks_bands(item):
    del item.assets["nir09"], item.assets["swir16"]


def odd_pixels(item):
    item.assets["coastal"].extra_fields["proj:transform"] = [90, 0, 0, 0, -90, 0]


def no_offset(item):
    for asset in item.assets.values():
        asset.extra_fields.pop("raster:bands", None)


SPOILED = {
    "bands": (lacks_bands, SceneError, "S2A_33UUB_20240701_0_L2A has no asset for B09, B11"),
    "pixels": (odd_pixels, SceneError, "no north-up grid of 10, 20 or 60 m"),
    "offset": (no_offset, RadiometryError, "offset=-1000"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_an_item_that_is_no_scene_is_refused(position_item, kind):
    item = position_item.write("S2A_33UUB_20240701_0_L2A")
    change, error, text = SPOILED[kind]
    change(item)
    with pytest.raises(error, match=text):
        load(item)


OPTIONS = {
    "chunk": ({"chunk": 1000}, UsageError, "chunk=1000 is not a multiple of 6.*996 or 1002"),
    "engine": ({"engine": "gdal"}, UsageError, "engine='gdal' is unknown"),
    "name": ({"bands": ["B13"]}, UsageError, "'B13' is not a Sentinel-2 band"),
    "b10": ({"bands": ["B10"]}, SceneError, "no asset for B10"),
    "outside": ({"bbox": (0, 0, 1, 1)}, UsageError, r"The area \(0, 0, 1, 1\) lies outside"),
    "twice": ({"bbox": (0, 0, 1, 1), "window": ((0, 6), (0, 6))}, UsageError, "one area"),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_wrong_arguments_are_refused(position_item, kind):
    options, error, text = OPTIONS[kind]
    with pytest.raises(error, match=text):
        load(position_item.write(), **options)


def test_no_item_and_a_stated_offset(position_item):
    with pytest.raises(UsageError, match="no item"):
        load([])
    item = position_item.write(offset=None)
    scene = load(item, bands=["B02"], offset=-1000)
    dn = position_item.written[item.id]["B02"]
    np.testing.assert_array_equal(scene["r10m"]["B02"].values[0], reflect(dn))
    assert scene.attrs["provenance"]["scenes"][0]["rule"] == ["stated by the caller"]


# --- published products with traps -----------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_a_10_m_grid_that_starts_a_pixel_later_is_not_shifted(shared_data, engine):
    folder = shared_data / "products" / "mapchete-eo-mini-safe-l2a" / "s2_stac_collection"
    scene = load(folder / "catalog.json", bands=TWELVE, chunk=120, engine=engine)
    values = scene["r10m"]["B02"].values[0]
    with rasterio.open(next(folder.rglob("*_B02_10m.jp2"))) as file:
        dn = file.read(1)
    assert np.isnan(values[:, 0]).all()
    np.testing.assert_array_equal(values[:, 1:], reflect(dn[:, :191], 0))
    missing = load(folder / "catalog.json")["r20m"]["SCL"]
    with pytest.raises(SceneError, match=r"Cannot read T33SVB_20181229T095411_SCL_20m\.jp2"):
        missing.compute()


def test_files_of_other_pixels_than_their_item_says_are_refused(shared_data):
    folder = shared_data / "products" / "rio-tiler-pds-cog-l2a" / "S2A_29RKH_20200219_0_L2A"
    item = pystac.Item.from_file(str(folder / "S2A_29RKH_20200219_0_L2A.json"))
    for asset in item.assets.values():
        asset.href = f"./{asset.href.rpartition('/')[2]}"
    scene = load(item, window=((0, 1098), (0, 1098)))
    with pytest.raises(SceneError, match=r"B04\.tif .* has pixels of 100 m, its item says 10 m"):
        scene["r10m"]["B04"].compute()
