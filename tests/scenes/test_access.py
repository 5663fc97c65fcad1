"""Files that fail are named, no address leads where it must not, and no token leaks."""

from __future__ import annotations

import logging
import pickle
import re
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from stackstac.raster_spec import RasterSpec

from decametric.errors import SceneError
from decametric.scenes import access
from decametric.scenes.access import BandFile, sign
from decametric.scenes.reader import load

ENGINES = ["stackstac", "odc-stac"]


def reflect(dn, offset=-1000):
    out = (dn.astype("f4") + np.float32(offset)) / np.float32(10000)
    return np.where(dn == 0, np.float32(np.nan), out)


def spoil(path, how):
    """Replace a good file by one that must not be read."""
    with rasterio.open(path) as file:
        profile, dn = file.profile, file.read()
    if how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return
    if how == "text":
        path.write_text("no image")
        return
    if how == "vrt":
        target = path.rename(path.with_name("target.tif"))
        path.write_text(
            f'<VRTDataset rasterXSize="66" rasterYSize="54"><VRTRasterBand dataType="UInt16" '
            f'band="1"><SimpleSource><SourceFilename>{target}</SourceFilename></SimpleSource>'
            f"</VRTRasterBand></VRTDataset>"
        )
        return
    path.unlink()
    profile = {k: profile[k] for k in ("height", "width", "crs", "transform", "dtype")} | {
        "count": 1
    }
    change = {
        "float": {"dtype": "float32"},
        "bands": {"count": 2},
        "zone": {"crs": "EPSG:32634"},
        "pixels": {"transform": Affine(100, 0, 300000, 0, -100, 6200040)},
        "between": {"transform": Affine(10, 0, 300004, 0, -10, 6200040)},
    }[how]
    with rasterio.open(path, "w", driver="GTiff", **(profile | change)) as file:
        for band in range(1, file.count + 1):
            file.write(dn[0].astype(file.dtypes[0]), band)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("truncated", r"Cannot read B02\.tif of item S2A_33UUB_20240701_0_L2A .*damaged"),
        ("text", r"Cannot read B02\.tif of item"),
        ("vrt", r"Cannot read B02\.tif of item"),
        ("float", r"B02\.tif of item \S+ holds no single band of digital numbers"),
        ("bands", r"B02\.tif of item \S+ holds no single band of digital numbers"),
        ("zone", r"B02\.tif of item \S+ is in EPSG:32634, its item says EPSG:32633"),
        ("pixels", r"B02\.tif of item \S+ has pixels of 100 m, its item says 10 m"),
        ("between", r"B02\.tif of item \S+ lies between the pixels"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(position_item, engine, how, text):
    item = position_item.write(bands=["B02", "B01"])
    spoil(position_item.folder / item.id / "B02.tif", how)
    band = load(item, bands=["B02"], chunk=18, engine=engine)["r10m"]["B02"]
    with pytest.raises(SceneError, match=text) as caught:
        band.compute(scheduler="threads")
    assert str(position_item.folder) not in str(caught.value)


def test_errors_arrive_from_other_processes(position_item):
    item = position_item.write(bands=["B02", "B01"])
    (position_item.folder / item.id / "B02.tif").unlink()
    band = load(item, bands=["B02"], chunk=54)["r10m"]["B02"]
    with pytest.raises(SceneError, match=r"Cannot read B02\.tif of item"):
        band.compute(scheduler="processes", num_workers=1)
    error = SceneError("one sentence")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  (our own bytes)


@given(
    rows=st.tuples(st.integers(-9, 60), st.integers(1, 70)),
    cols=st.tuples(st.integers(-9, 60), st.integers(1, 70)),
    shift=st.integers(-3, 3),
)
@settings(max_examples=30, deadline=None)
def test_any_window_of_a_file_is_the_window_of_its_padded_array(band_path, rows, cols, shift):
    path, dn = band_path
    spec = RasterSpec(32633, (300000 + 10 * shift, 6199500, 300660 + 10 * shift, 6200040), (10, 10))
    reader = pickle.loads(  # noqa: S301  (our own bytes)
        pickle.dumps(BandFile(url=f"{path}#item", spec=spec, dtype=np.dtype("uint16")))
    )
    found = reader.read(Window(cols[0], rows[0], cols[1], rows[1]))
    reader.close()
    padded = np.pad(dn, 100)
    top, left = rows[0] + 100, cols[0] + 100 + shift
    np.testing.assert_array_equal(found, padded[top : top + rows[1], left : left + cols[1]])


@pytest.fixture(scope="module")
def band_path(tmp_path_factory):
    """A file of 54 x 66 pixels of 10 m."""
    path = tmp_path_factory.mktemp("band") / "B02.tif"
    dn = np.arange(1, 54 * 66 + 1, dtype="uint16").reshape(54, 66)
    profile = {"height": 54, "width": 66, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    transform = Affine(10, 0, 300000, 0, -10, 6200040)
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as file:
        file.write(dn, 1)
    return path, dn


class Files(BaseHTTPRequestHandler):
    """Serves files of a folder by range; tokens that are not in `good` get 403."""

    good: set[str]
    seen: list[str]

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.seen.append(query)
        file = self.folder / path.lstrip("/")
        status = 403 if self.good and query not in self.good else 200 if file.is_file() else 404
        data = file.read_bytes() if status == 200 else b""
        size = len(data)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match and status == 200:
            last = min(int(match[2] or size - 1), size - 1)
            data, status = data[int(match[1]) : last + 1], 206
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {match[1]}-{last}/{size}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture
def files(position_item):
    handler = type("Handler", (Files,), {"good": set(), "seen": []})
    handler.folder = position_item.folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def served(position_item, files):
    """An item whose links and files are on a server."""
    item = position_item.write(bands=["B02", "B01"])
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    document["links"] = [{"rel": "self", "href": f"{files.url}/{item.id}/{item.id}.json"}]
    return pystac.Item.from_dict(document)


@pytest.mark.parametrize("engine", ENGINES)
def test_files_are_read_over_http(position_item, files, engine):
    item = served(position_item, files)
    scene = load(item, bands=["B02"], engine=engine)
    assert not files.seen
    dn = position_item.written[item.id]["B02"]
    np.testing.assert_array_equal(scene["r10m"]["B02"].values[0], reflect(dn))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_remote_file_fails_and_is_never_no_data(position_item, files, engine):
    item = served(position_item, files)
    (position_item.folder / item.id / "B02.tif").unlink()
    with pytest.raises(SceneError, match=r"Cannot read B02\.tif of item"):
        load(item, bands=["B02"], engine=engine)["r10m"]["B02"].compute()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_remote_vrt_cannot_reach_local_files(position_item, files, engine):
    item = served(position_item, files)
    spoil(position_item.folder / item.id / "B02.tif", "vrt")
    with pytest.raises(SceneError, match=r"Cannot read B02\.tif of item"):
        load(item, bands=["B02"], engine=engine)["r10m"]["B02"].compute()


@pytest.mark.parametrize(
    "href",
    [
        "/etc/hostname",
        "file:///etc/hostname",
        "/vsizip/{/tmp/a.zip}/b.tif",
        "/vsicurl/https://example.com/B02.tif",
        "/vsimem/B02.tif",
        "GTIFF_DIR:1:/etc/hostname",
        "ftp://example.com/B02.tif",
        "HTTPS+FILE:///etc/hostname",
        "zip+file:///etc/a.zip!b.tif",
        "file:B02.tif",
    ],
)
@pytest.mark.parametrize("link", ["self", "root"])
def test_an_item_from_the_network_cannot_name_local_files(position_item, files, href, link):
    item = served(position_item, files)
    if link == "root":
        # A server that hides where its items come from; clients always set the root.
        item.links = [pystac.Link("root", f"{files.url}/")]
        for asset in item.assets.values():
            asset.href = f"{files.url}/{item.id}/{asset.href}"
    item.assets["blue"].href = href
    # Either it is refused at once, or taken as a path below the item's own URL, which is not there.
    with pytest.raises(SceneError, match=r"names a local file|relative address|Cannot read"):
        load(item, bands=["B02"])["r10m"]["B02"].compute()
    taken = str(item.assets["blue"].get_absolute_href()).startswith(files.url)
    assert taken == bool(files.seen)


def test_local_items_may_name_any_file(position_item):
    item = position_item.write(bands=["B02", "B01"])
    item.assets["blue"].href = str(position_item.folder / item.id / "B02.tif")
    assert np.isfinite(load(item, bands=["B02"])["r10m"]["B02"].values).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_no_token_reaches_an_error_or_a_log(position_item, files, engine, monkeypatch, caplog):
    monkeypatch.setattr(access, "sign", lambda href: f"{href}?sig=SECRET1")
    monkeypatch.setattr("decametric.scenes.parity.sign", lambda href: f"{href}?sig=SECRET1")
    files.good = {"sig=OTHER"}
    item = served(position_item, files)
    scene = load(item, bands=["B02"], engine=engine)
    with caplog.at_level(logging.DEBUG), pytest.raises(SceneError) as caught:
        scene["r10m"]["B02"].compute()
    assert "sig=SECRET1" in files.seen
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "SECRET" not in "".join(map(str, chain)) + caplog.text
    assert "SECRET" not in str(scene.attrs)


def test_an_expired_token_is_renewed(position_item, files, monkeypatch):
    tokens = iter(["sig=OLD", "sig=NEW"])
    monkeypatch.setattr(access, "sign", lambda href: f"{href}?{next(tokens)}")
    files.good = {"sig=NEW"}
    item = served(position_item, files)
    dn = position_item.written[item.id]["B02"]
    value = load(item, bands=["B02"])["r10m"]["B02"].values[0]
    np.testing.assert_array_equal(value, reflect(dn))
    assert {"sig=OLD", "sig=NEW"} <= set(files.seen)


def test_planetary_computer_files_are_signed_when_opened(monkeypatch):
    fake = types.ModuleType("planetary_computer")
    fake.sign_url = lambda url: f"{url}?sig=fresh"
    monkeypatch.setitem(sys.modules, "planetary_computer", fake)
    href = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/33/B02.tif"
    assert sign(href) == f"{href}?sig=fresh"
    assert sign(f"{href}?sig=stale") == f"{href}?sig=fresh"
    for other in ("https://example.com/B02.tif", "/data/B02.tif", "s3://eodata/B02.jp2",
                  "https://other.blob.core.windows.net/B02.tif",
                  "https://sentinel2x.blob.core.windows.net.evil.com/B02.tif"):  # fmt: skip
        assert sign(other) == other
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    assert sign(f"{href}?sig=mine") == f"{href}?sig=mine"
    with pytest.raises(SceneError, match="install the package planetary-computer"):
        sign(href)
