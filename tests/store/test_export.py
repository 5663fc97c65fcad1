"""Files for a GIS: valid COGs that hold what the store holds, bit for bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import weakref
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rioxarray
import store_fakes as fakes
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioIOError
from rio_cogeo import cog_validate

import decametric as dm
from decametric.errors import StoreError, UsageError
from decametric.store import write
from decametric.store.packing import pack

TIMES = fakes.TIMES
# Two overviews, no multiple of a COG's tile, blocks that are none either.
BOX = GeoBox.from_bbox((300000, 6189160, 311600, 6199800), "EPSG:32633", resolution=10)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """One date with overviews: the store, and its files by band."""
    store = tmp_path_factory.mktemp("big") / "s.zarr"
    write(fakes.dataset(geobox=BOX, chunk=420), store)
    files = dm.export(store, store.parent / "cogs")
    return store, {path.stem.rpartition("_")[2]: path for path in files}


@pytest.fixture
def store(tmp_path):
    """Two dates, small."""
    path = tmp_path / "s.zarr"
    write(fakes.dataset(TIMES[:2]), path)
    return path


def pixels(path, level=None):
    with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
        return file.read()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# What is in a file


@pytest.mark.parametrize("band", fakes.BANDS)
def test_every_file_is_a_valid_cog(big, band):
    assert cog_validate(big[1][band], strict=True) == (True, [], [])


@pytest.mark.parametrize("band", fakes.BANDS)
def test_integers_are_those_of_the_store(big, band):
    (found,) = pixels(big[1][band])
    np.testing.assert_array_equal(found, fakes.numbers(TIMES[0], band, BOX.shape), strict=True)


def test_a_file_says_what_it_is(big):
    with rasterio.open(big[1]["B05"]) as file:
        assert (file.crs, file.transform) == ("EPSG:32633", BOX.transform)
        assert (file.shape, file.dtypes, file.nodata) == (BOX.shape, ("uint16",), 0)
        assert (file.scales, file.offsets) == ((1e-4,), (-0.1,))
        assert (file.descriptions, file.tags(1)["long_name"]) == (("B05",), "red edge 1")
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert (structure["COMPRESSION"], structure["PREDICTOR"]) == ("DEFLATE", "2")
        assert file.block_shapes == [(512, 512)]
        tags = file.tags()
    assert tags["TIFFTAG_DATETIME"] == "2017:05:27 10:20:31"
    assert (tags["time"], tags["tile"], tags["level"]) == (TIMES[0], "33UUB", "L1C")
    assert tags["items"] == "S2B_33UUB_20170527_0_L1C"
    assert "modified Copernicus Sentinel data" in tags["TIFFTAG_IMAGEDESCRIPTION"]


def test_classes_have_no_scale(big):
    with rasterio.open(big[1]["SCL"]) as file:
        assert (file.dtypes, file.nodata) == (("uint8",), 0)
        assert (file.scales, file.offsets) == ((1.0,), (0.0,))


def test_rioxarray_gives_the_reflectance_of_the_store(big):
    store, files = big
    stored = xr.open_zarr(store, group="33UUB").B02.isel(time=0)
    with rioxarray.open_rasterio(files["B02"], masked=True) as file:
        found = file.sel(band=1).load()
    scaled = found.astype("f8") * found.attrs["scale_factor"] + found.attrs["add_offset"]
    np.testing.assert_array_equal(scaled.values, stored.values)
    assert int(found.isnull().sum()) == 40 * 41 // 2
    with rioxarray.open_rasterio(files["B02"], mask_and_scale=True) as file:
        decoded = file.sel(band=1).load()
    # rioxarray decodes with single precision: the same number but for its last bit.
    np.testing.assert_allclose(decoded.values, stored.values, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(pack(decoded.values), pixels(files["B02"])[0], strict=True)
    for axis in "xy":
        np.testing.assert_array_equal(found[axis], stored[axis])


def test_gdalinfo_reads_it(big):
    if shutil.which("gdalinfo") is None:
        pytest.skip("gdalinfo is not installed")
    answer = subprocess.run(
        ["gdalinfo", "-json", str(big[1]["B02"])], check=True, capture_output=True, text=True
    )
    facts = json.loads(answer.stdout)
    (band,) = facts["bands"]
    assert (band["scale"], band["offset"], band["noDataValue"]) == (1e-4, -0.1, 0)
    assert [each["size"] for each in band["overviews"]] == [[580, 532], [290, 266]]
    assert facts["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"


def halved(image):
    """The mean of the valid pixels of each two by two, rounded half up; 0 where there is none."""
    rows, cols = (size // 2 for size in image.shape)
    four = image.reshape(rows, 2, cols, 2).transpose(0, 2, 1, 3).reshape(rows, cols, 4)
    count = (four > 0).sum(-1)
    return np.where(count, (2 * four.sum(-1, dtype=int) + count) // np.maximum(2 * count, 1), 0)


def test_overviews_are_means_of_the_valid_pixels(big):
    expected = pixels(big[1]["B02"])[0]
    for level in range(2):
        expected = halved(expected)
        np.testing.assert_array_equal(pixels(big[1]["B02"], level)[0], expected)
    assert (expected == 0).sum() < 40 * 41 // 2 / 16


def test_overviews_of_classes_hold_classes_of_their_place(big):
    image = pixels(big[1]["SCL"])[0]
    for level, step in enumerate((2, 4)):
        coarse = pixels(big[1]["SCL"], level)[0]
        rows, cols = coarse.shape
        inside = image.reshape(rows, step, cols, step)
        assert (inside == coarse[:, None, :, None]).any((1, 3)).all()


# Which files are written


def test_one_file_for_each_date_and_band(store, tmp_path):
    ticks = []
    files = dm.export(store, tmp_path / "out", progress=lambda *counts: ticks.append(counts))
    assert [path.name for path in files] == [
        f"33UUB_{day}_{band}.tif" for day in ("20170527", "20170601") for band in fakes.BANDS
    ]
    assert names(tmp_path / "out") == sorted(path.name for path in files)
    assert sorted(ticks) == [(count, 6) for count in range(1, 7)]


def test_stacked_bands_share_a_file_and_classes_do_not(store, tmp_path):
    stack, classes = dm.export(store, tmp_path / "out", stacked=True, time="2017-06")
    assert (stack.name, classes.name) == ("33UUB_20170601.tif", "33UUB_20170601_SCL.tif")
    with rasterio.open(stack) as file:
        assert file.descriptions == ("B02", "B05")
        assert (file.scales, file.offsets) == ((1e-4, 1e-4), (-0.1, -0.1))
        np.testing.assert_array_equal(
            file.read(), [fakes.numbers(TIMES[1], band) for band in ("B02", "B05")]
        )
    assert cog_validate(stack, strict=True)[0]


@pytest.mark.parametrize(
    ("time", "days"),
    [
        ("2017-05-27", ["20170527"]),
        ("2017-06", ["20170601", "20170606"]),
        ("2017-05/2017-06-01", ["20170527", "20170601"]),
        ("2017-06/", ["20170601", "20170606"]),
        ("../2017-06-01", ["20170527", "20170601"]),
    ],
)
def test_dates_are_chosen(tmp_path, time, days):
    files = dm.export(fakes.dataset(TIMES), tmp_path, bands=["B05"], time=time)
    assert [path.name for path in files] == [f"33UUB_{day}_B05.tif" for day in days]


def test_all_tiles_or_one(store, tmp_path):
    other = fakes.dataset()
    write(other.assign_attrs(tile="33UUC"), store)
    chosen = dm.export(store, tmp_path / "one", tile="33UUC", bands=["B02"])
    assert [path.name for path in chosen] == ["33UUC_20170527_B02.tif"]
    both = dm.export(store, tmp_path / "all", bands=["B02"], time="2017-05")
    assert [path.name[:5] for path in both] == ["33UUB", "33UUC"]


@pytest.mark.parametrize("kind", ["sharpened", "decoded", "integers"])
def test_datasets_give_the_files_of_their_store(store, tmp_path, kind):
    dataset = fakes.dataset(TIMES[:2])
    if kind != "sharpened":
        dataset = xr.open_zarr(store, group="33UUB", mask_and_scale=kind == "decoded")
    ours = dm.export(dataset, tmp_path / "ours")
    theirs = dm.export(store, tmp_path / "theirs")
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_a_store_elsewhere(tmp_path):
    write(fakes.dataset(), "memory://export/s.zarr")
    (path,) = dm.export("memory://export/s.zarr", tmp_path, bands=["B02"])
    np.testing.assert_array_equal(pixels(path)[0], fakes.numbers(TIMES[0], "B02"))


# How they are written


def test_what_is_lazy_is_computed_once(tmp_path):
    seen = []
    dataset = fakes.dataset(TIMES[:2], hook=lambda *block: seen.append(block))
    dm.export(dataset, tmp_path)
    assert len(seen) == len(set(seen)) == 2 * 4 * len(fakes.BANDS)


def test_a_few_blocks_are_in_memory_at_a_time(tmp_path):
    alive, most, lock = set(), [0], threading.Lock()

    def block(block_info=None):
        place = block_info[None]["array-location"]
        made = np.full([stop - start for start, stop in place], 0.25, np.float32)
        with lock:
            alive.add(key := str(place))
            most[0] = max(most[0], len(alive))
        weakref.finalize(made, alive.discard, key)
        return made

    dataset = fakes.dataset(geobox=GEOBOX_OF_100_BLOCKS, chunk=60, bands=("B02",))
    dataset["B02"] = dataset.B02.copy(
        data=da.map_blocks(block, chunks=dataset.B02.chunks, dtype="f4", meta=np.empty((0,) * 3))
    )
    with dask.config.set(num_workers=2):
        (path,) = dm.export(dataset, tmp_path)
    assert most[0] <= 8
    assert (pixels(path) == 3500).all()


GEOBOX_OF_100_BLOCKS = GeoBox.from_bbox(
    (300000, 6193800, 306000, 6199800), "EPSG:32633", resolution=10
)


def test_finished_files_are_kept_unless_told(store, tmp_path):
    files = dm.export(store, tmp_path / "out")
    for path in files[1:]:
        path.write_bytes(b"kept")
    files[0].unlink()
    assert dm.export(store, tmp_path / "out") == files
    assert [path.read_bytes() == b"kept" for path in files] == [False] + [True] * 5
    dm.export(store, tmp_path / "out", overwrite=True)
    assert all(cog_validate(path, strict=True)[0] for path in files)


def test_a_failure_leaves_whole_files_only(store, tmp_path, monkeypatch):
    copy = rasterio.shutil.copy

    def full_disk(source, target, **options):
        if "B05" in Path(target).name:
            Path(target).write_bytes(b"II*")
            message = "No space left on device"
            raise RasterioIOError(message)
        copy(source, target, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", full_disk)
    with pytest.raises(StoreError, match=r"out cannot be written \(No space .* run the same call"):
        dm.export(store, tmp_path / "out")
    assert set(names(tmp_path / "out")) <= {"33UUB_20170527_B02.tif", "33UUB_20170527_SCL.tif"}
    monkeypatch.undo()
    files = dm.export(store, tmp_path / "out")
    assert names(tmp_path / "out") == sorted(path.name for path in files)


def test_what_a_killed_run_left_is_written_over(store, tmp_path):
    left = tmp_path / "out" / ".33UUB_2017-05-27.partial" / "raw_33UUB_20170527_B02.tif"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"torn")
    files = dm.export(store, tmp_path / "out", bands=["B02"], time="2017-05")
    assert names(tmp_path / "out") == [files[0].name]
    assert cog_validate(files[0], strict=True)[0]


# What is refused


def test_dates_that_are_not_finished(tmp_path):
    def failing(_band, time, _row, _col):
        if time == 1:
            raise RuntimeError

    path = tmp_path / "s.zarr"
    write(fakes.dataset(TIMES[:1], bands=("B02",)), path)
    with pytest.raises(RuntimeError):
        write(fakes.dataset(TIMES[:2], bands=("B02",), hook=failing), path)
    with pytest.raises(StoreError, match=r"33UUB of 2017-06-01T10:20:31Z is not finished; give"):
        dm.export(path, tmp_path)
    (file,) = dm.export(path, tmp_path, time="2017-05-27")
    np.testing.assert_array_equal(pixels(file)[0], fakes.numbers(TIMES[0], "B02"))


def test_a_tile_that_is_being_written(store, tmp_path):
    dataset = xr.open_zarr(store, group="33UUB").assign_attrs(complete=False)
    with pytest.raises(StoreError, match="33UUB is being written, or its run was killed; wait"):
        dm.export(dataset, tmp_path)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"tile": "1XX"}, r"s\.zarr has no tile 1XX; it has 33UUB\."),
        ({"bands": ["B03"]}, r"33UUB has no B03; it has B02, B05, SCL\."),
        ({"time": "2019"}, "There is no date in 2019; leave out time"),
        ({"time": "May"}, "time 'May' is no date or period; write 2024-07-28"),
        ({"directory": "s3://bucket/cogs"}, "s3://bucket/cogs is not a local folder"),
        ({"directory": __file__}, r"test_export\.py is a file; give a folder\."),
    ],
    ids=lambda value: next(iter(value.values()))[0] if isinstance(value, dict) else "",
)
def test_wrong_wishes(store, tmp_path, wish, message):
    with pytest.raises(UsageError, match=message):
        dm.export(store, **{"directory": tmp_path / "out", **wish})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["absent.zarr", "theirs.zarr"])
def test_other_stores(tmp_path, name):
    fakes.dataset().drop_attrs().to_zarr(tmp_path / "theirs.zarr", consolidated=False)
    with pytest.raises(StoreError, match=rf"{name} is not a store of decametric; give the path"):
        dm.export(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_attrs(), "has no tile or no dimension time; export what sharpen"),
        (lambda d: d.isel(time=0), "has no tile or no dimension time; export what sharpen"),
        (lambda d: d.transpose("x", ...), r"33UUB has no bands; it has no band over \(time, y, x"),
        (lambda d: d.astype("int32"), "B02 has dtype int32; write takes float reflectance"),
        (lambda d: d[["B02"]].astype("uint16"), r"B02 has integers with .*None.* export what"),
    ],
)
def test_other_datasets(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        dm.export(change(fakes.dataset()), tmp_path)
