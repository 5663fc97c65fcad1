"""Bands in S3 are read with the keys of the environment, and without keys one sentence says so."""

from __future__ import annotations

import socket

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine

from decametric.errors import SceneError
from decametric.scenes.reader import load

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
NAMES = (*KEYS, "AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_VIRTUAL_HOSTING", "AWS_HTTPS")


@pytest.fixture(scope="module")
def service():
    """URL of a real S3 endpoint on the loopback interface."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = server.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    running.start()
    yield f"http://127.0.0.1:{port}"
    running.stop()


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An environment without keys and without a service that could give some."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return monkeypatch


def in_bucket(service, item, bucket, folder):
    """The item as the archive lists it: its files moved into a bucket."""
    client = boto3.client(
        "s3",
        endpoint_url=service,
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106  (moto takes any)
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    for asset in document["assets"].values():
        name = asset["href"].removeprefix("./")
        client.upload_file(str(folder / name), bucket, f"Sentinel-2/MSI/L2A/{name}")
        asset["href"] = f"s3://{bucket}/Sentinel-2/MSI/L2A/{name}"
    document["links"] = [{"rel": "self", "href": "https://stac.example.com/items/a"}]
    return pystac.Item.from_dict(document)


def as_jpeg2000(folder, item, band, key):
    """Store a band as ESA does."""
    with rasterio.open(folder / f"{band}.tif") as file:
        dn, crs = file.read(1), file.crs
    profile = {"height": dn.shape[0], "width": dn.shape[1], "count": 1, "dtype": "uint16"}
    with rasterio.open(
        folder / f"{band}.jp2",
        "w",
        driver="JP2OpenJPEG",
        crs=crs,
        transform=Affine(10, 0, 300000, 0, -10, 6200040),
        QUALITY="100",
        REVERSIBLE="YES",
        **profile,
    ) as file:
        file.write(dn, 1)
    item.assets[key].href = f"./{band}.jp2"


@pytest.fixture
def archive(service, position_item):
    """An item in the archive of the Copernicus Data Space, with a JPEG 2000 and a GeoTIFF."""
    item = position_item.write(bands=["B02", "B05", "B01"])
    folder = position_item.folder / item.id
    as_jpeg2000(folder, item, "B02", "blue")
    return in_bucket(service, item, "eodata", folder)


def assert_read(item, written):
    scene = load(item, bands=["B02", "B05"], chunk=18)
    for group, band in (("r10m", "B02"), ("r20m", "B05")):
        expected = (written[band].astype("f4") - np.float32(1000)) / np.float32(10000)
        np.testing.assert_array_equal(scene[group][band].values[0], expected)


def test_the_archive_is_read_with_keys_of_the_environment(archive, service, bare, position_item):
    for name, value in KEYS.items():
        bare.setenv(name, value)
    bare.setenv("AWS_S3_ENDPOINT", service)  # as beside the archive, in its own cloud
    assert_read(archive, position_item.written[archive.id])


def test_another_bucket_is_read_where_everybody_else_reads_it(bare, service, position_item):
    item = position_item.write(bands=["B02", "B05", "B01"])
    item = in_bucket(service, item, "mine", position_item.folder / item.id)
    for name, value in KEYS.items():
        bare.setenv(name, value)
    bare.setenv("AWS_ENDPOINT_URL", service)
    assert_read(item, position_item.written[item.id])


def test_without_keys_one_sentence_says_which_and_whence(archive, service, bare):
    bare.setenv("AWS_S3_ENDPOINT", service)
    with pytest.raises(SceneError) as caught:
        load(archive, bands=["B02"], chunk=18)["r10m"]["B02"].compute()
    text = str(caught.value)
    assert text == (
        f"Cannot read B02.jp2 of item {archive.id} from S3 without valid keys; set "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY made at "
        "https://eodata-s3keysmanager.dataspace.copernicus.eu in the environment of every process "
        "that reads."
    )


def test_a_missing_object_is_named(archive, service, bare):
    for name, value in KEYS.items():
        bare.setenv(name, value)
    bare.setenv("AWS_S3_ENDPOINT", service)
    # A date that holds the number of another failure.
    archive.assets["blue"].href = "s3://eodata/Sentinel-2/MSI/L2A/20240301/gone.jp2"
    with pytest.raises(SceneError, match=r"Cannot read gone\.jp2 of item \S+ \(missing"):
        load(archive, bands=["B02"])["r10m"]["B02"].compute()
