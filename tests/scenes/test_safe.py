"""SAFE products, folders and zips, both levels, before and after the shift; and hostile ones."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import rasterio
from affine import Affine

from decametric.bands import BANDS
from decametric.errors import RadiometryError, SceneError
from decametric.scenes import safe
from decametric.scenes.items import RESOLUTION, describe
from decametric.scenes.reader import load
from decametric.scenes.sources import read_items

CORNER = (699960, 4900020)
ROWS = 8
"""Rows and columns of 60 m of the products written here."""

ADD = {"L1C": ("Radiometric_Offset_List", "RADIO_ADD_OFFSET"),
       "L2A": ("BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET")}  # fmt: skip


def mtd(level, baseline, images, offset):
    """Product metadata, as short as they can be."""
    quantity = "QUANTIFICATION_VALUE" if level == "L1C" else "BOA_QUANTIFICATION_VALUE"
    group, tag = ADD[level]
    values = "".join(f'<{tag} band_id="{n}">{offset}</{tag}>' for n in range(13))
    offsets = f"<{group}>{values}</{group}>" if offset is not None else ""
    number = baseline.replace(".", "")
    listed = "".join(f"<IMAGE_FILE>{image}</IMAGE_FILE>" for image in images)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level[1:]}_User_Product xmlns:n1="https://example.com/psd"><n1:General_Info><Product_Info>
<PRODUCT_URI>S2A_MSI{level}_20170616T101030_N{number}_R022_T32TPQ_20170616T101200.SAFE</PRODUCT_URI>
<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Datatake datatakeIdentifier="GS2A_20170616T101030_010358_N{baseline}"/>
<Granule_List><Granule>{listed}</Granule></Granule_List></Product_Info>
<Characteristics><{quantity} unit="none">10000</{quantity}>{offsets}</Characteristics>
</n1:General_Info></n1:Level-{level[1:]}_User_Product>"""


def mtd_tl():
    """Tile metadata."""
    sizes = "".join(
        f'<Size resolution="{r}"><NROWS>{ROWS * 60 // r}</NROWS><NCOLS>{ROWS * 60 // r}</NCOLS>'
        f"</Size>"
        f'<Geoposition resolution="{r}"><ULX>{CORNER[0]}</ULX><ULY>{CORNER[1]}</ULY>'
        f"<XDIM>{r}</XDIM><YDIM>-{r}</YDIM></Geoposition>"
        for r in (10, 20, 60)
    )
    return f"""<t:Tile_ID xmlns:t="https://example.com/psd"><t:General_Info>
<TILE_ID>S2A_OPER_MSI_L1C_TL_MTI__20170616T101200_A010358_T32TPQ_N02.05</TILE_ID>
<SENSING_TIME>2017-06-16T10:10:35.461Z</SENSING_TIME></t:General_Info>
<Tile_Geocoding><HORIZONTAL_CS_CODE>EPSG:32632</HORIZONTAL_CS_CODE>{sizes}</Tile_Geocoding>
</t:Tile_ID>"""


def write_jp2(path, band, dn):
    res = RESOLUTION[band]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        height=dn.shape[0],
        width=dn.shape[1],
        count=1,
        dtype=dn.dtype,
        crs="EPSG:32632",
        transform=Affine(res, 0, CORNER[0], 0, -res, CORNER[1]),
        QUALITY="100",
        REVERSIBLE="YES",
        YCBCR420="NO",
    ) as file:
        file.write(dn, 1)


@pytest.fixture
def product(tmp_path):
    """Factory of SAFE folders: ``product(level, baseline, offset)``; numbers by band."""

    def write(level="L1C", baseline="02.05", offset=None, bands=("B02", "B05", "B01")):
        folder = tmp_path / f"{level}-{baseline}.SAFE"
        granule = f"GRANULE/{level}_T32TPQ_A010358_20170616T101035"
        images, numbers = [], {}
        for band in bands:
            res = RESOLUTION[band]
            name = f"T32TPQ_20170616T101030_{band}"
            inner = f"{granule}/IMG_DATA/{name}"
            if level == "L2A":
                inner = f"{granule}/IMG_DATA/R{res}m/{name}_{res}m"
            images.append(inner)
            size = ROWS * 60 // res
            dn = (np.arange(size * size).reshape(size, size) % 9000).astype("uint16")
            dn = (dn % 12).astype("uint8") if band == "SCL" else dn
            write_jp2(folder / f"{inner}.jp2", band, dn)
            numbers[band] = dn
        (folder / f"MTD_MSI{level}.xml").write_text(mtd(level, baseline, images, offset))
        (folder / granule / "MTD_TL.xml").write_text(mtd_tl())
        return folder, numbers

    return write


def zipped(folder, name="product.zip"):
    path = folder.parent / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_folder_may_have_any_name(product, pack):
    folder, numbers = product()
    odd = folder.parent / "a#b ?c"
    odd.mkdir()
    path = pack(folder.rename(odd / folder.name))
    scene = load(path, bands=["B05"])
    values = np.rint(10000 * np.nan_to_num(scene["r20m"]["B05"].values[0]))
    np.testing.assert_array_equal(values, numbers["B05"])


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize(
    ("level", "baseline", "offset", "bands"),
    [
        ("L1C", "02.05", None, ("B02", "B05", "B01", "B10")),
        ("L1C", "05.00", -1000, ("B02", "B05", "B01", "B10")),
        ("L2A", "03.01", None, ("B02", "B05", "B01", "SCL")),
        ("L2A", "04.00", -1000, ("B02", "B05", "B01", "SCL")),
    ],
)
def test_a_product_is_read_where_it_lies(product, pack, level, baseline, offset, bands):
    folder, numbers = product(level, baseline, offset, bands)
    before = {path.name for path in folder.parent.iterdir()}
    path = pack(folder)
    scene = load(path, bands=bands, chunk=24)
    assert scene.attrs["level"] == level
    assert scene.attrs["tile"] == "32TPQ"
    (step,) = scene.attrs["provenance"]["scenes"]
    assert step["offset"] == [offset or 0]
    assert step["rule"] == [f"offset declared by the item's MTD_MSI{level}.xml"]
    assert step["time"] == "2017-06-16T10:10:35Z"
    for band, dn in numbers.items():
        found = scene[f"r{RESOLUTION[band]}m"][band].values[0]
        if band == "SCL":
            np.testing.assert_array_equal(found, dn)
        else:
            valued = (dn.astype("f4") + np.float32(offset or 0)) / np.float32(10000)
            np.testing.assert_array_equal(found, np.where(dn == 0, np.float32(np.nan), valued))
    assert {path.name for path in folder.parent.iterdir()} - before <= {"product.zip"}


def test_asset_keys_are_those_of_earth_search(product):
    folder, _ = product(bands=("B04", "B8A", "B10"))
    (item,) = read_items(folder)
    assert list(item.assets) == [BANDS[band].key for band in ("B04", "B8A", "B10")]
    assert item.id == "S2A_MSIL1C_20170616T101030_N0205_R022_T32TPQ_20170616T101200"


def test_missing_images_are_named(product):
    folder, _ = product()
    next(folder.rglob("*_B05.jp2")).unlink()
    for path in (folder, zipped(folder)):
        with pytest.raises(SceneError, match=r"no asset for B05 .*T32TPQ_20170616T101030_B05\.jp2"):
            load(path, bands=["B02", "B05"])
        assert np.isfinite(load(path, bands=["B02"])["r10m"]["B02"].values).any()


def test_a_published_product(shared_data):
    (folder,) = (shared_data / "products" / "stactools-safe-l2a-n0400").glob("*.SAFE")
    (item,) = read_items(folder)
    info = describe(item)
    assert (info.level, info.tile, info.baseline) == ("L2A", "29UNU", "04.00")
    assert info.rule.offset == -1000
    assert set(info.missing) == {*BANDS} - {"B01", "B09", "B10"}
    with pytest.raises(SceneError, match=r"T29UNU_20221005T115411_B02_10m\.jp2"):
        load(folder)
    scene = load(folder, bands=["B01", "SCL"], window=((0, 1200), (4200, 5400)))
    with rasterio.open(next(folder.rglob("*_B01_60m.jp2"))) as file:
        dn = file.read(1)[:200, 700:900]
    expected = np.where(dn == 0, np.nan, (dn.astype("f4") - 1000) / np.float32(10000))
    np.testing.assert_array_equal(scene["r60m"]["B01"].values[0], expected.astype("f4"))
    # Dark water below zero is kept.
    assert np.nanmin(scene["r60m"]["B01"].values) < 0
    assert scene["r20m"]["SCL"].values.max() <= 11


def test_tile_metadata_in_the_place_of_product_metadata(shared_data):
    folder = shared_data / "products" / "mapchete-eo-mini-safe-l2a" / "s2_stac_collection"
    (product,) = folder.rglob("*.SAFE")
    with pytest.raises(SceneError, match=r"lists no images \(it is a Level-2A_Tile_ID document"):
        read_items(product)


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<a><IMAGE_FILE>&b;</IMAGE_FILE></a>"""
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/hostname">]><a>&a;</a>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, "<a>"], ids=["bomb", "external", "broken"])
def test_hostile_xml_is_refused(product, text):
    folder, _ = product()
    (folder / "MTD_MSIL1C.xml").write_text(text)
    for path in (folder, zipped(folder)):
        with pytest.raises(SceneError, match=r"MTD_MSIL1C\.xml in .* is not sound XML"):
            read_items(path)


@pytest.mark.parametrize(
    "image", ["../../secret/a/T32TPQ_B02", "/etc/GRANULE/a/T32TPQ_B02", "GRANULE/../../a/b_B02"]
)
def test_images_outside_of_the_product_are_refused(product, image):
    folder, _ = product()
    (folder / "MTD_MSIL1C.xml").write_text(mtd("L1C", "02.05", [image], None))
    with pytest.raises(SceneError, match="outside of its granule"):
        read_items(folder)


def test_documents_and_images_that_unfold_without_bound_are_refused(product, monkeypatch):
    folder, _ = product()
    path = zipped(folder)
    monkeypatch.setattr(safe, "MAX_IMAGE", 100)
    with pytest.raises(SceneError, match="larger than 100 bytes"):
        read_items(path)
    monkeypatch.setattr(safe, "MAX_XML", 200)
    for source in (path, folder):
        with pytest.raises(SceneError, match="larger than 200 bytes"):
            read_items(source)


def test_other_zips_and_folders(tmp_path, product):
    broken = tmp_path / "a.zip"
    broken.write_bytes(b"PK no zip")
    with pytest.raises(SceneError, match=r"a\.zip is no readable zip"):
        read_items(broken)
    (tmp_path / "empty.SAFE").mkdir()
    with pytest.raises(SceneError, match=r"empty\.SAFE holds no MTD_MSIL1C\.xml"):
        read_items(tmp_path / "empty.SAFE")
    folder, _ = product()
    next(folder.rglob("MTD_TL.xml")).unlink()
    with pytest.raises(SceneError, match=r"lacks GRANULE/.*/MTD_TL\.xml"):
        read_items(folder)


@pytest.mark.parametrize(
    ("text", "other", "message"),
    [
        ("<NROWS>8<", "<NROWS>many<", "describes no grid"),
        ('Geoposition resolution="60"', 'Geoposition resolution="90"', "describes no grid"),
        ("2017-06-16T10:10:35.461Z", "noon", "'noon', which is no time"),
        ("_T32TPQ_", "_PQ_", "names no MGRS tile"),
        ("HORIZONTAL_CS_CODE", "CODE", "Tile_ID metadata lack HORIZONTAL_CS_CODE"),
    ],
)
def test_damaged_tile_metadata_are_one_sentence(product, text, other, message):
    folder, _ = product()
    path = next(folder.rglob("MTD_TL.xml"))
    path.write_text(path.read_text().replace(text, other))
    with pytest.raises(SceneError, match=message):
        read_items(folder)


def test_offsets_that_differ_by_band_and_a_baseline_without_its_offset(product):
    folder, _ = product("L1C", "05.00", -1000)
    document = folder / "MTD_MSIL1C.xml"
    text = document.read_text()
    document.write_text(text.replace('band_id="3">-1000', 'band_id="3">0'))
    with pytest.raises(RadiometryError, match="different offsets"):
        read_items(folder)
    folder, _ = product("L1C", "05.01", None)
    with pytest.raises(RadiometryError, match=r"baseline 05\.01\s+has -1000"):
        load(folder, bands=["B02"])
