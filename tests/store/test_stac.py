"""What the store holds is told in STAC, and found and opened by the tools of STAC."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pystac
import pytest
import store_fakes as fakes
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from pystac.extensions.datacube import DatacubeExtension, DimensionType
from pystac.extensions.grid import GridExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import validate_dict
from shapely.geometry import shape
from store_fakes import TIMES

from decametric.store import write
from decametric.store.stac import collection, publish_stac
from decametric.store.target import locate, read_document

SOUTH = GeoBox.from_bbox((300000, 6098840, 301200, 6100040), "EPSG:32755", resolution=10)


def dataset(tile=fakes.TILE, **options):
    """A dataset of any tile."""
    made = fakes.dataset(**options)
    provenance = {**made.attrs["provenance"], "tile": tile}
    return made.assign_attrs(tile=tile, provenance=provenance)


@pytest.fixture
def store(tmp_path):
    """A store of two tiles on both sides of the equator, two dates each."""
    path = tmp_path / "out.zarr"
    write(dataset(times=TIMES[:2]), path)
    write(dataset("55GDP", times=TIMES[1:], geobox=SOUTH), path)
    return path


@pytest.fixture
def items(store):
    """Its items, by id."""
    found = pystac.Collection.from_file(str(store / "stac" / "collection.json"))
    return {item.id: item for item in found.get_items()}


def test_the_collection_leads_to_an_item_for_each_tile(store, items):
    found = pystac.Collection.from_file(str(store / "stac" / "collection.json"))
    assert sorted(items) == ["33UUB_L1C_10m", "55GDP_L1C_10m"]
    times = [time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in found.extent.temporal.intervals[0]]
    assert times == [TIMES[0], TIMES[2]]
    west, south, east, north = found.extent.spatial.bboxes[0]
    assert (west, south) == (items["33UUB_L1C_10m"].bbox[0], items["55GDP_L1C_10m"].bbox[1])
    assert (east, north) == (items["55GDP_L1C_10m"].bbox[2], items["33UUB_L1C_10m"].bbox[3])
    assert "Copernicus Sentinel data" in found.description
    for item in items.values():
        assert item.get_collection().id == found.id
        assert item.get_root().id == found.id


@pytest.mark.parametrize("name", ["collection.json", "33UUB.json", "55GDP.json"])
def test_every_document_is_valid_stac(store, name):
    document = json.loads((store / "stac" / name).read_text())
    # The schemas of STAC itself come with pystac, those of the extensions lie on the network.
    validate_dict({**document, "stac_extensions": []})


@pytest.mark.parametrize(("tile", "box"), [("33UUB", fakes.GEOBOX), ("55GDP", SOUTH)])
def test_the_extensions_say_where_and_what(items, tile, box):
    item = items[f"{tile}_L1C_10m"]
    place = ProjectionExtension.ext(item)
    assert GeoBox(place.shape, box.transform, place.code) == box
    assert place.transform == list(box.transform)[:6]
    assert GridExtension.ext(item).code == f"MGRS-{tile}"
    cube = DatacubeExtension.ext(item)
    time, y, x = (cube.dimensions[name] for name in ("time", "y", "x"))
    assert [each.dim_type for each in (time, y, x)] == [
        DimensionType.TEMPORAL,
        DimensionType.SPATIAL,
        DimensionType.SPATIAL,
    ]
    assert time.values == list(TIMES[:2] if tile == "33UUB" else TIMES[1:])
    assert [*x.extent, *y.extent] == [
        box.boundingbox.left,
        box.boundingbox.right,
        box.boundingbox.bottom,
        box.boundingbox.top,
    ]
    assert x.reference_system == box.crs.epsg
    assert {name: each.dimensions for name, each in cube.variables.items()} == {
        band: ["time", "y", "x"] for band in fakes.BANDS
    }


def test_a_tile_on_the_antimeridian_has_two_outlines(tmp_path):
    box = GeoBox.from_bbox((391440, 7898820, 392640, 7900020), "EPSG:32601", resolution=10)
    path = tmp_path / "out.zarr"
    write(dataset("01WCU", geobox=box), path)
    collection = pystac.Collection.from_file(str(path / "stac" / "collection.json"))
    (item,) = collection.get_items()
    outline = shape(item.geometry)
    assert outline.geom_type == "MultiPolygon"
    west, south, east, north = item.bbox
    assert 179.9 < west < 180
    assert -180 < east < -179.9
    assert collection.extent.spatial.bboxes == [item.bbox]
    for part, (left, right) in zip(outline.geoms, ((west, 180), (-180, east)), strict=True):
        assert part.is_valid
        assert part.exterior.is_ccw
        assert part.bounds[::2] == pytest.approx((left, right), abs=1e-6)
        assert south <= part.bounds[1] < part.bounds[3] <= north


def test_the_outline_is_that_of_the_pixels(items):
    for tile, box in (("33UUB", fakes.GEOBOX), ("55GDP", SOUTH)):
        item = items[f"{tile}_L1C_10m"]
        ring = np.array(item.geometry["coordinates"][0])
        assert (ring[0] == ring[-1]).all()
        expected = np.array(box.extent.to_crs("EPSG:4326").boundingbox.bbox)
        np.testing.assert_allclose(item.bbox, expected, atol=1e-5)
        # Against the clock, as GeoJSON wants it: the area by Gauss's formula is positive.
        (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
        assert (x0 * y1 - x1 * y0).sum() > 0


def test_the_item_says_how_it_was_made(items):
    told = items["33UUB_L1C_10m"].properties
    assert told["processing:level"] == "L1C"
    assert told["processing:software"] == {"decametric": "0.1.0"}
    assert "bicubic" in told["processing:lineage"]
    assert told["decametric:complete"] is True
    assert told["decametric:unfinished"] == []
    assert told["decametric:predictor"]["name"] == "bicubic"
    assert [scene["items"] for scene in told["decametric:scenes"]] == [
        fakes.scene(time)["items"] for time in TIMES[:2]
    ]


def test_the_asset_opens_as_it_is_wherever_the_store_goes(store, tmp_path):
    moved = store.rename(tmp_path / "elsewhere.zarr")
    found = pystac.Collection.from_file(str(moved / "stac" / "collection.json"))
    item = found.get_item("33UUB_L1C_10m")
    asset = item.assets["zarr"]
    assert asset.extra_fields["zarr:consolidated"] is True
    href = asset.get_absolute_href()
    with xr.open_dataset(href, engine="zarr", chunks={}, mask_and_scale=False) as opened:
        assert list(map(str, opened.time.values.astype("datetime64[s]"))) == [
            time.removesuffix("Z") for time in TIMES[:2]
        ]
        np.testing.assert_array_equal(opened.B05.isel(time=1), fakes.numbers(TIMES[1], "B05"))
    (link,) = item.get_links("store")
    assert Path(link.get_absolute_href()).resolve() == moved.resolve()


def test_readers_of_zarr_do_not_see_it(store):
    assert set(zarr.open_group(store, mode="r")) == {"33UUB", "55GDP"}
    with xr.open_datatree(store, engine="zarr") as tree:
        assert set(tree.children) == {"33UUB", "55GDP"}


def test_a_later_date_and_another_tile_are_added(store):
    write(dataset("33UUC"), store)
    write(dataset(times=TIMES), store)
    found = pystac.Collection.from_file(str(store / "stac" / "collection.json"))
    items = {item.id: item for item in found.get_items()}
    assert sorted(items) == ["33UUB_L1C_10m", "33UUC_L1C_10m", "55GDP_L1C_10m"]
    times = DatacubeExtension.ext(items["33UUB_L1C_10m"]).dimensions["time"].values
    assert times == list(TIMES)
    single = items["33UUC_L1C_10m"]
    assert single.datetime.strftime("%Y-%m-%dT%H:%M:%SZ") == TIMES[0]


def test_it_is_the_same_bytes_for_the_same_store(store, tmp_path):
    again = tmp_path / "again.zarr"
    write(dataset("55GDP", times=TIMES[1:], geobox=SOUTH), again)
    write(dataset(times=TIMES[:1]), again)
    write(dataset(times=TIMES[:2]), again)
    assert fakes.tree(again / "stac") == fakes.tree(store / "stac")


def test_an_unfinished_tile_says_so(tmp_path):
    def broken(_band, date, row, col):
        if (date, row, col) == (1, 1, 1):
            raise OSError(5, "broken disk")

    path = tmp_path / "out.zarr"
    write(dataset(times=TIMES[:1]), path)
    with pytest.raises(OSError, match="broken disk"):
        write(dataset(times=TIMES[:2], hook=broken), path)
    item = pystac.Item.from_file(str(path / "stac" / "33UUB.json"))
    assert item.properties["decametric:complete"] is False
    assert item.properties["decametric:unfinished"] == [TIMES[1]]


def test_a_replaced_tile_is_told_anew(store):
    write(dataset(times=TIMES[2:], predictor="dsen2"), store, overwrite=True)
    item = pystac.Item.from_file(str(store / "stac" / "33UUB.json"))
    assert item.properties["decametric:predictor"]["name"] == "dsen2"
    assert item.datetime.strftime("%Y-%m-%dT%H:%M:%SZ") == TIMES[2]


def test_nothing_is_told_of_a_tile_without_arrays(tmp_path):
    target = locate(tmp_path / "out.zarr", "33UUB", None)
    publish_stac(target.open(), target)
    assert not (tmp_path / "out.zarr" / "stac").exists()


def test_tiles_that_end_at_the_same_time_are_all_in_the_collection(tmp_path):
    path = tmp_path / "out.zarr"
    tiles = [f"33UU{letter}" for letter in "ABCDE"]
    for tile in tiles:
        write(dataset(tile, bands=("B05",)), path)
    (path / "stac" / "collection.json").unlink()

    def tell(tile):
        target = locate(path, tile, None)
        publish_stac(target.open(), target)

    with ThreadPoolExecutor(len(tiles)) as pool:
        list(pool.map(tell, tiles))
    found = pystac.Collection.from_file(str(path / "stac" / "collection.json"))
    assert [item.id for item in found.get_items()] == [f"{tile}_L1C_10m" for tile in tiles]


def test_a_tile_that_is_not_of_the_military_grid_has_no_code(tmp_path):
    write(dataset("EPSG32633_300000_6200040"), tmp_path / "out.zarr")
    path = tmp_path / "out.zarr" / "stac" / "EPSG32633_300000_6200040.json"
    assert "grid:code" not in pystac.Item.from_file(str(path)).properties


def test_the_collection_spans_its_tiles_only(store):
    root = read_document(locate(store, "", None).open(), "")
    tiles = {
        name: child["attributes"]
        for name, child in root["consolidated_metadata"]["metadata"].items()
        if "/" not in name
    }
    one = collection({"55GDP": tiles["55GDP"]})
    assert one["extent"]["temporal"]["interval"] == [[TIMES[1], TIMES[2]]]
    assert [link["href"] for link in one["links"] if link["rel"] == "item"] == ["./55GDP.json"]
