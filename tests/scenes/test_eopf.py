"""EOPF products give the scene that the same numbers give as COGs, each band once and native."""

from __future__ import annotations

import copy
import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numcodecs
import numpy as np
import pystac
import pytest
import xarray as xr
import zarr

import eopf_product as made
from decametric.errors import RadiometryError, SceneError, UsageError
from decametric.runs.series import run_series
from decametric.scenes.arrays import ZarrBand
from decametric.scenes.items import describe
from decametric.scenes.reader import load
from decametric.scenes.sources import read_items

NAME = "S2A_MSIL2A_20240701T102031_N0510_R065_T33UUB_20240701T162411"


@pytest.fixture
def pair(position_item, tmp_path):
    """Factory of one scene twice: an item of COGs, and the path of an EOPF product."""

    def factory(zarr_format=2, **options):
        grid = {key: options.pop(key) for key in ("epsg", "corner") if key in options}
        bands = options.pop("bands", None)
        item = position_item.write(NAME, shape=(5, 6), bands=bands, **grid)
        path = tmp_path / f"{NAME}.zarr"
        numbers = position_item.written[NAME]
        made.write_product(path, numbers, zarr_format=zarr_format, **grid, **options)
        return item, path

    return factory


def without_rule(scene):
    """Attributes of a scene without the reason of its offset, which names the metadata read."""
    attributes = copy.deepcopy(scene.attrs)
    rules = [step.pop("rule") for step in attributes["provenance"]["scenes"]]
    return attributes, rules


def assert_same(scene, expected):
    for group in ("r10m", "r20m", "r60m"):
        xr.testing.assert_identical(scene[group].to_dataset(), expected[group].to_dataset())


# --- the scene -------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_product_gives_the_scene_of_its_cogs(pair, zarr_format):
    item, path = pair(zarr_format)
    scene, expected = load(path, chunk=12), load(item, chunk=12)
    assert scene["r10m"]["B02"].data.chunks == expected["r10m"]["B02"].data.chunks
    assert_same(scene, expected)
    assert bool(scene["r10m"]["B02"].notnull().all())
    attributes, rules = without_rule(scene)
    assert attributes == without_rule(expected)[0]
    assert rules == [["offset declared by the item's Zarr arrays"]]


def test_the_grid_of_a_southern_tile_and_a_window(pair):
    item, path = pair(3, epsg=32755, corner=(600000, 6100040))
    window = ((7, 22), (13, 29))
    assert_same(load(path, window=window), load(item, window=window))


@pytest.mark.parametrize("folder", ["", f"{NAME}.zarr/"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zip_is_read_where_it_lies(pair, zarr_format, folder):
    item, path = pair(zarr_format, bands=["B02", "B05", "B01"])
    packed = made.zipped(path, folder=folder)
    shutil.rmtree(path)
    bands = ["B02", "B05", "B01"]
    assert_same(load(packed, bands=bands), load(item, bands=bands))


def test_a_product_of_level_1c(pair):
    item, path = pair(level="L1C", bands=["B02", "B10"])
    described = describe(read_items(path)[0])
    assert described.level == "L1C"
    assert list(described.assets) == ["B02", "B10"]
    item.id = NAME.replace("L2A", "L1C")
    scene = load(path, bands=["B10"])
    np.testing.assert_array_equal(scene["r60m"]["B10"], load(item, bands=["B10"])["r60m"]["B10"])


def test_nothing_but_metadata_is_read_before_compute(pair):
    _, path = pair()
    scene = load(path)
    for file in path.rglob("b*/[0-9]*"):
        file.unlink()
    # What was never written is no data in Zarr; here everything.
    assert bool(scene["r10m"]["B02"].isnull().all())


def test_a_product_is_sharpened_and_stored_like_its_cogs(pair, tmp_path):
    item, path = pair()
    stores = []
    for name, source in (("eopf", path), ("cogs", item)):
        report = run_series(source, tmp_path / f"{name}.out", predictor="bicubic", bands=["B11"])
        assert report.ok, report
        stores.append(xr.open_zarr(tmp_path / f"{name}.out", group="33UUB"))
    np.testing.assert_array_equal(stores[0].B11.values, stores[1].B11.values)


# --- what the arrays say ---------------------------------------------------------------------


def test_the_offset_is_applied_once_and_comes_from_the_array(pair):
    _, path = pair(bands=["B02"])
    dn = zarr.open_array(path / "measurements/reflectance/r10m/b02", mode="r")[:]
    value = load(path, bands=["B02"])["r10m"]["B02"].values[0]
    np.testing.assert_array_equal(value, (dn.astype("f4") - np.float32(1000)) / np.float32(10000))
    # As xarray decodes it, up to rounding: neither nothing nor twice.
    decoded = xr.open_zarr(path, group="measurements/reflectance/r10m")["b02"]
    np.testing.assert_allclose(value, decoded, atol=1e-6)


def test_an_old_product_states_no_shift(pair):
    _, path = pair(
        bands=["B02"],
        encoding={"scale_factor": 0.0001, "add_offset": 0},
        **{"eopf:datatake_id": "GS2A_20200701T102031_026250_N02.14"},
    )
    old = path.rename(path.with_name("S02MSIL2A_20200701T102031_0000_A065_T123.zarr"))
    rule = describe(read_items(old)[0]).rule
    assert (rule.offset, rule.reason) == (0, "offset declared by the item's Zarr arrays")
    assert describe(read_items(old)[0]).baseline == "02.14"


def test_an_array_that_says_nothing_follows_the_baseline(pair):
    _, path = pair(bands=["B02"], encoding={})
    rule = describe(read_items(path)[0]).rule
    assert (rule.offset, rule.reason) == (-1000, "processing baseline 05.10")


def test_a_contradiction_of_array_and_baseline_is_refused(pair):
    _, path = pair(bands=["B02"], encoding={"scale_factor": 0.0001, "add_offset": 0.0})
    with pytest.raises(RadiometryError, match=r"declare an offset of 0, processing baseline 05"):
        load(path, bands=["B02"])


def test_decoded_arrays_are_refused(pair):
    _, path = pair(bands=["B02"])
    product = zarr.open_group(path, mode="r+", use_consolidated=False)
    place = "measurements/reflectance/r10m/b02"
    del product[place]
    product.create_array(place, shape=(30, 36), dtype="f4", attributes=made.ENCODING)
    made.consolidate(product.store)
    with pytest.raises(SceneError, match=r"b02 holds float32, not the digital num"):
        load(path)


def test_other_codecs_than_compression_are_refused(pair):
    _, path = pair(bands=["B02"])
    product = zarr.open_group(path, mode="r+", use_consolidated=False)
    place = "measurements/reflectance/r10m/b02"
    del product[place]
    hidden = numcodecs.FixedScaleOffset(offset=-0.1, scale=10000, dtype="f8", astype="u2")
    product.create_array(place, shape=(30, 36), dtype="u2", filters=[hidden], compressors=None)
    made.consolidate(product.store)
    with pytest.raises(SceneError, match="b02 is stored with fixedscaleoffset, which is not read"):
        load(path, bands=["B02"], offset=0)["r10m"]["B02"].compute()


# --- refusals --------------------------------------------------------------------------------


def test_other_hierarchies_are_refused(tmp_path):
    zarr.open_group(tmp_path / "own.zarr", mode="w")
    with pytest.raises(SceneError, match=r"own\.zarr is no EOPF product .*from_bands"):
        read_items(tmp_path / "own.zarr")
    with pytest.raises(SceneError, match=r"Cannot read the Zarr product gone\.zarr: "):
        read_items(tmp_path / "gone.zarr")
    (tmp_path / "torn.zarr.zip").write_bytes(b"PK")
    with pytest.raises(SceneError, match=r"Cannot read the Zarr product torn\.zarr\.zip: BadZip"):
        read_items(tmp_path / "torn.zarr.zip")
    with pytest.raises(SceneError, match="is a zip on a server; download it"):
        read_items("https://example.com/S2A.zarr.zip")


def spoil(path, change):
    """Change the discovery metadata of a product of version 3."""
    document = json.loads((path / "zarr.json").read_text())
    del document["consolidated_metadata"]
    facts = document["attributes"]["stac_discovery"]["properties"]
    change(facts, document["attributes"]["other_metadata"])
    (path / "zarr.json").write_text(json.dumps(document))


def no_crs(facts, other):
    del facts["proj:code"], other["horizontal_crs_code"]


def no_time(facts, _):
    del facts["datetime"]


def no_level(facts, _):
    del facts["product:type"], facts["processing:level"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (no_crs, "does not say its CRS"),
        (no_time, "does not say when it was seen"),
        (no_level, "does not say whether it is of level L1C or L2A"),
    ],
)
def test_what_a_product_does_not_say_is_named(pair, change, text):
    _, path = pair(3, bands=["B02"])
    path = path.rename(path.with_name("product.zarr"))
    spoil(path, change)
    with pytest.raises(SceneError, match=text):
        read_items(path)


def test_coordinates_of_corners_are_refused(pair):
    """If they named corners and not centres, the grids of 10 and 60 m would not nest."""
    _, path = pair(bands=["B02", "B01"])
    for res in (10, 60):
        group = zarr.open_group(path / f"measurements/reflectance/r{res}m", mode="r+")
        for axis, half in (("x", -res // 2), ("y", res // 2)):
            group[axis][:] = group[axis][:] + half
    with pytest.raises(SceneError, match=r"b02 of item \S+ lies between the pixels"):
        load(path, bands=["B02"])["r10m"]["B02"].compute()


def test_uneven_coordinates_are_refused(pair):
    _, path = pair(bands=["B02"])
    zarr.open_array(path / "measurements/reflectance/r10m/x", mode="r+")[3] = 7
    with pytest.raises(SceneError, match="coordinates are not evenly spaced"):
        read_items(path)


def test_the_other_engine_says_that_it_cannot(pair):
    _, path = pair(bands=["B02"])
    with pytest.raises(UsageError, match="reads no Zarr products; use engine='stackstac'"):
        load(path, bands=["B02"], engine="odc-stac")


def test_a_lost_shard_of_bytes_names_the_band(pair):
    _, path = pair(bands=["B02"])
    band = load(path, bands=["B02"])["r10m"]["B02"]
    for chunk in (path / "measurements/reflectance/r10m/b02").glob("[0-9]*"):
        chunk.write_bytes(b"torn")
    with pytest.raises(SceneError, match=rf"Cannot read b02 of item {NAME} \(missing, damaged"):
        band.compute()


# --- catalogs and servers --------------------------------------------------------------------


def catalog_item(root, self_href):
    """An item as the catalog of the samples writes it: b01 at 20 m only, offset printed again."""
    assets = {"product": {"href": str(root), "type": "application/vnd+zarr"}}
    for key, place in {
        "SR_10m": "r10m",
        "SR_60m": "r60m",
        "B01_20m": "r20m/b01",
        "B02_10m": "r10m/b02",
    }.items():
        assets[key] = {
            "href": f"{root}/measurements/reflectance/{place}",
            "type": "application/vnd+zarr",
            "raster:scale": 0.0001,
            "raster:offset": -0.1,
        }
    return pystac.Item.from_dict(
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": NAME,
            "collection": "sentinel-2-l2a",
            "geometry": None,
            "properties": {"datetime": "2024-07-01T10:20:31Z", "processing:version": "05.10"},
            "links": [{"rel": "self", "href": str(self_href)}],
            "assets": assets,
        }
    )


def test_an_item_of_the_catalog_leads_to_the_product(pair, tmp_path):
    item, path = pair()
    found = catalog_item(path, tmp_path / "item.json")
    scene = load([found])
    assert_same(scene, load(item))
    assert without_rule(scene)[0] == without_rule(load(item))[0]
    assert set(found.assets) == {"product", "SR_10m", "SR_60m", "B01_20m", "B02_10m"}


def test_an_item_from_the_network_cannot_name_a_local_product(pair):
    _, path = pair(bands=["B02"])
    found = catalog_item(f"file://{path}", "https://example.com/items/a")
    with pytest.raises(SceneError, match="names a local file"):
        read_items(found)


@pytest.fixture
def server(tmp_path):
    """The folder of products behind HTTP."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Quiet, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_product_on_a_server(pair, server, zarr_format):
    item, path = pair(zarr_format, bands=["B02", "B01"])
    bands = ["B02", "B01"]
    assert_same(load(f"{server}/{path.name}", bands=bands), load(item, bands=bands))
    with pytest.raises(SceneError, match=r"Cannot read the Zarr product gone\.zarr") as caught:
        read_items(f"{server}/gone.zarr")
    assert server not in str(caught.value)


def test_a_band_is_like_a_file(pair):
    _, path = pair(bands=["B02"])
    band = ZarrBand(str(path / "measurements/reflectance/r10m/b02"))
    assert (band.count, band.dtypes, band.height, band.width) == (1, ("uint16",), 30, 36)
    assert band.transform[:6] == (10, 0, 300000, 0, -10, 6200040)
    band.close()
