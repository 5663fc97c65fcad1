"""Every dialect is understood: bands, level, tile, baseline, offset; and catalogs are searched."""

from __future__ import annotations

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pystac
import pytest
from shapely.geometry import shape

from decametric.bands import BANDS
from decametric.errors import RadiometryError, SceneError, UsageError
from decametric.scenes.access import is_from_network, locator
from decametric.scenes.catalogs import CATALOGS, search
from decametric.scenes.items import RESOLUTION, describe
from decametric.scenes.sources import read_items

ITEMS = Path(__file__).parents[1] / "data" / "items"
KEYS = {name: band.key for name, band in BANDS.items()}
L2A = [name for name in BANDS if name != "B10"]


def measured(name):
    return f"measurement-{name.lower()}"


# file, level, baseline, offset, part of the reason, key of a band, bands
DIALECTS = [
    ("earth-search-l2a-applied", "L2A", "05.09", 0, "boa_offset_applied is true", KEYS.get),
    ("earth-search-l2a-not-applied", "L2A", "04.00", -1000, "raster metadata", KEYS.get),
    ("earth-search-l2a-old", "L2A", "02.12", 0, "raster metadata", KEYS.get),
    ("earth-search-c1-l2a", "L2A", "05.00", -1000, "raster metadata", KEYS.get),
    ("earth-search-l1c", "L1C", "05.09", -1000, "raster metadata", KEYS.get),
    ("planetary-computer-l2a", "L2A", "04.00", -1000, "baseline 04.00", str),
    ("cdse-l2a", "L2A", "05.10", -1000, "raster metadata", lambda n: f"{n}_{RESOLUTION[n]}m"),
    ("cdse-l1c", "L1C", "05.10", -1000, "raster metadata", str),
    ("metadata-v2-l2a", "L2A", None, -1000, "raster metadata", measured),
]  # fmt: skip


def document(name):
    return json.loads((ITEMS / f"{name}.json").read_text())


@pytest.mark.parametrize(("name", "level", "baseline", "offset", "reason", "key"), DIALECTS)
def test_describe_understands_each_dialect(name, level, baseline, offset, reason, key):
    info = describe(pystac.Item.from_dict(document(name)))
    assert (info.level, info.tile, info.baseline) == (level, "33UUB", baseline)
    assert info.rule.offset == offset
    assert reason in info.rule.reason
    expected = list(BANDS) if level == "L1C" else L2A
    assert {n: k for n, k in info.assets.items() if n != "SCL"} == {n: key(n) for n in expected}
    classes = {"metadata-v2-l2a": None, "cdse-l2a": "SCL_20m", "planetary-computer-l2a": "SCL"}
    scl = classes.get(name, "scl") if level == "L2A" else None
    assert info.assets.get("SCL") == scl


def test_a_common_name_finds_a_band_but_never_a_red_edge():
    item = document("metadata-v2-l2a")
    item["assets"] = {
        f"file{n}": {**asset, "bands": [{**asset["bands"][0], "name": f"x{n}"}]}
        for n, asset in enumerate(item["assets"].values())
    }
    found = describe(pystac.Item.from_dict(item)).assets
    assert found["B04"] == "file3"
    assert not {"B05", "B06", "B07"} & set(found)


def test_resampled_copies_are_no_bands():
    item = document("cdse-l2a")
    del item["assets"]["B01_60m"]
    assert "B01" not in describe(pystac.Item.from_dict(item)).assets


def change(name, *, properties=(), drop=(), offset="keep"):
    item = copy.deepcopy(document(name))
    item["properties"].update(dict(properties))
    for key in drop:
        item["properties"].pop(key, None)
    for asset in item["assets"].values():
        for band in asset.get("raster:bands", []):
            if offset is None:
                band.pop("offset", None)
            elif offset != "keep" and "offset" in band:
                band["offset"] = offset
    return pystac.Item.from_dict(item)


FLAG = "earthsearch:boa_offset_applied"
BASELINE = "s2:processing_baseline"
DATATAKE = "s2:datatake_id"


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (change("earth-search-l2a-not-applied", offset=0), "declare an offset of 0"),
        (change("earth-search-l2a-old", offset=-0.1), "declare an offset of -1000"),
        (change("cdse-l2a", properties={"processing:version": "02.14"}), "baseline 02.14 has 0"),
        (
            change(
                "planetary-computer-l2a", drop=(BASELINE, DATATAKE, "s2:product_uri")
            ),
            "no offset and no processing baseline",
        ),
    ],
    ids=["applied?", "old", "cdse", "silent"],
)  # fmt: skip
def test_a_contradiction_is_refused_until_the_offset_is_stated(item, why):
    with pytest.raises(RadiometryError, match=why) as caught:
        describe(item)
    assert item.id in str(caught.value)
    assert "--offset=-1000" in str(caught.value)
    assert describe(item, offset=-1000).rule.offset == -1000
    assert describe(item, offset=0).rule.reason == "stated by the caller"


@pytest.mark.parametrize("reprocessed", ["05.00", "04.00"])
def test_the_baseline_decides_and_never_the_date(reprocessed):
    item = change("earth-search-l2a-old", properties={BASELINE: reprocessed}, offset=None)
    assert item.datetime.year == 2019
    assert describe(item).rule.offset == -1000
    earlier = change("earth-search-l2a-old", properties={BASELINE: "03.01"}, offset=None)
    assert describe(earlier).rule.offset == 0


def test_the_baseline_is_read_from_the_id_and_99_99_is_none():
    item = change("planetary-computer-l2a", drop=(BASELINE, DATATAKE, "s2:product_uri"))
    item.id = "S2A_MSIL2A_20220704T102041_N0510_R065_T33UUB_20220704T181203"
    assert describe(item).rule.reason == "processing baseline 05.10"
    item.id = item.id.replace("N0510", "N9999")
    with pytest.raises(RadiometryError):
        describe(item)


def test_another_scale_and_unequal_offsets_are_refused():
    item = change("cdse-l2a")
    item.assets["B02_10m"].extra_fields["raster:offset"] = 0
    with pytest.raises(RadiometryError, match=r"different offsets \[-1000, 0\]"):
        describe(item)
    item.assets["B02_10m"].extra_fields["raster:scale"] = 2e-5
    with pytest.raises(RadiometryError, match="has scale 2e-05"):
        describe(item)


def test_an_item_without_a_level_is_refused():
    item = document("metadata-v2-l2a")
    item |= {"id": "scene", "collection": "mine"}
    with pytest.raises(SceneError, match="L1C or L2A"):
        describe(pystac.Item.from_dict(item))


def test_real_items_have_no_shift(shared_data):
    items = read_items(str(shared_data / "stac" / "catalog.json"))
    assert len(items) == 44
    infos = [describe(item) for item in items]
    assert {info.rule.offset for info in infos} == {0}
    # Two crops that were placed by hand belong to no tile.
    assert sum(info.tile is None for info in infos) == 2
    assert all(set(info.assets) >= set(L2A) for info in infos)


class Api(BaseHTTPRequestHandler):
    """A STAC API of one collection, and documents by path."""

    documents: dict[str, object]
    searches: list[dict]

    def log_message(self, *_):
        pass

    def answer(self, content):
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(self.documents.get(self.path))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.searches.append(body)
        self.answer(self.documents["/search"])


@pytest.fixture
def api():
    handler = type("Handler", (Api,), {"documents": {}, "searches": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    handler.documents["/"] = {
        "type": "Catalog",
        "id": "api",
        "stac_version": "1.0.0",
        "description": "test",
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
            "https://api.stacspec.org/v1.0.0/item-search#query",
        ],
        "links": [
            {"rel": "self", "href": f"{handler.url}/"},
            {"rel": "root", "href": f"{handler.url}/"},
            {
                "rel": "search",
                "href": f"{handler.url}/search",
                "type": "application/geo+json",
                "method": "POST",
            },
        ],
    }
    found = [document("earth-search-l2a-applied"), document("planetary-computer-l2a")]
    handler.documents["/search"] = {"type": "FeatureCollection", "features": found, "links": []}
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_search_asks_for_what_it_was_told_and_sorts(api):
    items = search(
        bbox=(11, 54, 13, 56), datetime="2022-07", catalog=api.url, collection="s2", max_cloud=20
    )
    body = api.searches[0]
    assert body["collections"] == ["s2"]
    assert body["bbox"] == [11, 54, 13, 56]
    assert body["query"] == {"eo:cloud_cover": {"lte": 20}}
    assert [item.datetime.year for item in items] == [2022, 2023]


def test_search_speaks_cql_and_gives_items_a_self_link(api):
    api.documents["/"]["conformsTo"][-1] = "https://api.stacspec.org/v1.0.0/item-search#filter"
    for feature in api.documents["/search"]["features"]:
        feature["links"] = []
    items = search(bbox=(1, 2, 3, 4), catalog=api.url, collection="s2", max_cloud=20)
    assert api.searches[0]["filter"]["args"] == [{"property": "eo:cloud_cover"}, 20]
    assert items[0].get_self_href() == f"{api.url}/collections/sentinel-2-l2a/items/{items[0].id}"


def test_search_filters_clouds_itself_and_counts_after_it(api):
    one = search(bbox=(11, 54, 13, 56), catalog=api.url, collection="s2", max_cloud=5)
    assert [item.id for item in one] == ["S2A_33UUB_20230628_0_L2A"]
    assert len(search(bbox=(11, 54, 13, 56), catalog=api.url, collection="s2", max_items=1)) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "bbox or intersects"),
        ({"bbox": (1, 2, 3, 4), "intersects": {}}, "bbox or intersects"),
        ({"bbox": (1, 2, 3, 4), "catalog": "nasa"}, "'nasa' is unknown"),
        ({"bbox": (1, 2, 3, 4), "level": "L3"}, "'L3' is unknown"),
        (
            {"bbox": (1, 2, 3, 4), "catalog": "planetary-computer", "level": "L1C"},
            "name a collection",
        ),
        ({"bbox": (1, 2, 3, 4), "catalog": "https://example.com"}, "name a collection"),
    ],
)
def test_search_refuses_unclear_questions(options, text):
    with pytest.raises(UsageError, match=text):
        search(**options)


def test_an_unknown_cloud_cover_is_no_reason_to_leave_an_item_out(api):
    api.documents["/search"]["features"][0]["properties"]["eo:cloud_cover"] = None
    found = search(bbox=(11, 54, 13, 56), catalog=api.url, collection="s2", max_cloud=100)
    assert len(found) == 2


SQUARE = {"type": "Polygon", "coordinates": [[[11, 55], [12, 55], [12, 56], [11, 56], [11, 55]]]}
NEXT = {"type": "Polygon", "coordinates": [[[12, 55], [13, 55], [13, 56], [12, 56], [12, 55]]]}


def feature(geometry):
    return {"type": "Feature", "properties": {}, "geometry": geometry}


@pytest.mark.parametrize(
    ("area", "bounds"),
    [
        (SQUARE, (11, 55, 12, 56)),
        (feature(SQUARE), (11, 55, 12, 56)),
        ({"type": "FeatureCollection", "features": [feature(SQUARE)]}, (11, 55, 12, 56)),
        (
            {"type": "FeatureCollection", "features": [feature(SQUARE), feature(NEXT)]},
            (11, 55, 13, 56),
        ),
    ],
    ids=["geometry", "feature", "collection", "two features"],
)
def test_a_shape_is_asked_for_as_a_geometry(api, area, bounds):
    search(intersects=area, catalog=api.url, collection="s2")
    (asked,) = api.searches
    assert asked["intersects"]["type"] == "Polygon"
    assert shape(asked["intersects"]).bounds == bounds


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"intersects": {"type": "FeatureCollection", "features": []}}, "no GeoJSON geometry"),
        ({"intersects": {"type": "Feature", "geometry": None}}, "no GeoJSON geometry"),
        ({"intersects": {"a": 1}}, "no GeoJSON geometry"),
        ({"bbox": (1, 2, 3, 4), "datetime": "2024-13"}, "month must be in 1..12"),
        ({"bbox": (1, 2, 3, 4), "datetime": "yesterday"}, "yesterday"),
    ],
)
def test_a_question_that_cannot_be_put_is_one_sentence(api, options, text):
    with pytest.raises(UsageError, match=text):
        search(catalog=api.url, collection="s2", **options)
    assert api.searches == []


@pytest.mark.parametrize("what", ["a catalog", "an item", "a list", "no JSON"])
def test_what_is_no_api_is_told_so(api, what):
    static = {**api.documents["/"], "conformsTo": []}
    api.documents["/thing"] = {
        "a catalog": static,
        "an item": document("cdse-l2a"),
        "a list": [1],
        "no JSON": "<html>",
    }[what]
    url = f"{api.url}/thing"
    with pytest.raises(SceneError, match=f"{url} is no STAC API that can be searched"):
        search(bbox=(1, 2, 3, 4), catalog=url, collection="s2")


def test_a_silent_catalog_is_one_sentence(api):
    del api.documents["/"]
    with pytest.raises(SceneError, match="does not answer"):
        search(bbox=(1, 2, 3, 4), catalog=f"{api.url}", collection="s2")


def test_named_catalogs_serve_level_2a():
    assert all("L2A" in catalog.collections for catalog in CATALOGS.values())
    assert CATALOGS["earth-search"].collections["L2A"] == "sentinel-2-c1-l2a"


def test_items_from_every_kind_of_source(tmp_path, api):
    path = ITEMS / "cdse-l2a.json"
    one = document("cdse-l2a")
    both = {"type": "FeatureCollection", "features": [one, document("cdse-l1c")]}
    saved = tmp_path / "found.json"
    saved.write_text(json.dumps(both))
    api.documents["/item.json"] = one
    first = [one["id"]]
    assert [i.id for i in read_items(path)] == first
    assert [i.id for i in read_items(str(path))] == first
    assert [i.id for i in read_items(path.as_uri())] == first
    assert [i.id for i in read_items(one)] == first
    assert [i.id for i in read_items(f"{api.url}/item.json")] == first
    with path.open() as stream:
        assert [i.id for i in read_items(stream)] == first
    for source in (
        both,
        saved,
        pystac.ItemCollection.from_dict(both),
        [path, document("cdse-l1c")],
    ):
        assert [i.id for i in read_items(source)] == [*first, document("cdse-l1c")["id"]]


def test_an_old_static_catalog_is_read(shared_data):
    folder = shared_data / "products" / "mapchete-eo-mini-safe-l2a" / "s2_stac_collection"
    for name in ("catalog.json", "collection/collection.json"):
        (item,) = read_items(folder / name)
        info = describe(item)
        assert (info.level, info.tile, info.baseline) == ("L2A", "33SVB", "02.11")
        assert info.rule.offset == 0
        assert info.assets == {name: name for name in RESOLUTION if name != "B10"}


@pytest.mark.parametrize("text", ["[1]", "no json", '{"type": "FeatureCollection", "features": []}',
                                  '{"type": "Feature", "id": 3}', '{"a": 1}'])  # fmt: skip
def test_other_documents_are_one_sentence(tmp_path, text):
    path = tmp_path / "document.json"
    path.write_text(text)
    with pytest.raises(SceneError, match=r"document\.json"):
        read_items(path)


def test_no_source_at_all():
    for path in ("nowhere/item.json", "no#where/item?.json", "file:///nowhere/item.json"):
        with pytest.raises(SceneError, match="No such file") as caught:
            read_items(path)
        assert path.removeprefix("file://") in str(caught.value)
    with pytest.raises(UsageError, match="5 is neither"):
        read_items(5)


def test_a_catalog_from_the_network_cannot_link_to_local_files(api):
    item = ITEMS / "metadata-v2-l2a.json"
    for link in (item.as_uri(), str(item)):
        api.documents["/catalog.json"] = {
            "type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "d",
            "links": [{"rel": "root", "href": ITEMS.as_uri()}, {"rel": "item", "href": link}],
        }  # fmt: skip
        with pytest.raises(SceneError, match="links to a local file"):
            read_items(f"{api.url}/catalog.json")


@pytest.mark.parametrize("kind", ["catalog", "collection", "item"])
def test_what_came_over_the_network_cannot_pose_as_local(api, kind):
    posing = document("metadata-v2-l2a")
    posing["links"] = [{"rel": "self", "href": (ITEMS / "item.json").as_uri()}]
    api.documents |= {
        "/item": posing,
        "/collection": {"type": "FeatureCollection", "features": [posing]},
        "/catalog": {
            "type": "Catalog",
            "id": "c",
            "stac_version": "1.0.0",
            "description": "d",
            "links": [{"rel": "item", "href": f"{api.url}/item"}],
        },
    }
    (item,) = read_items(f"{api.url}/{kind}")
    assert item.get_self_href().startswith(api.url)
    assert is_from_network(item)
    for key, asset in item.assets.items():
        if not asset.get_absolute_href().startswith(api.url):
            with pytest.raises(SceneError, match="names a local file"):
                locator(item, key)
