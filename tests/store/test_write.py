"""What is in the store, what every reader makes of it, and what is refused."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (the accessor under test)
import store_fakes as fakes
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox

from decametric.errors import StoreError, UsageError
from decametric.store import progress, write
from decametric.store.tile import open_tile

TIMES = fakes.TIMES


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.zarr"


def opened(store, **options):
    return xr.open_zarr(store, group=fakes.TILE, **options)


def assert_holds(store, times, *, chunk_shape=(120, 120), bands=fakes.BANDS):
    """The store holds exactly the expected integers and decodes to the expected reflectance."""
    raw, decoded = opened(store, mask_and_scale=False), opened(store)
    np.testing.assert_array_equal(
        raw.time.values.astype("datetime64[s]").astype(str), [t[:-1] for t in times]
    )
    for index, time in enumerate(times):
        for band in bands:
            numbers = fakes.numbers(time, band, chunk_shape)
            np.testing.assert_array_equal(raw[band][index], numbers, strict=True)
            if band != "SCL":
                values = decoded[band][index].to_numpy().astype(np.float32)
                np.testing.assert_array_equal(values, fakes.reflectance(numbers))


# What is written


def test_a_series_holds_the_expected_integers(path):
    result = write(fakes.dataset(TIMES[:2]), path)
    assert (result.path, result.blocks_written, result.blocks_skipped) == (f"{path}/33UUB", 8, 0)
    assert progress(path, fakes.TILE) == (8, 8)
    assert_holds(path, TIMES[:2])


def test_ragged_blocks_are_whole(path):
    box = fakes.GEOBOX[:102, :78]
    write(fakes.dataset(geobox=box), path)
    assert opened(path).B02.shape == (1, 102, 78)
    assert opened(path).B02.encoding["chunks"] == (1, 60, 60)
    assert_holds(path, TIMES[:1], chunk_shape=(102, 78))


def test_a_scene_of_no_data_succeeds_all_masked(path):
    empty = fakes.dataset().map(
        lambda band: band.where(band < -9) if band.dtype.kind == "f" else band * 0,
        keep_attrs=True,
    )
    write(empty, path)
    stored = opened(path)
    assert stored.attrs["complete"] is True
    assert stored.B02.isnull().all()
    assert (stored.SCL == 0).all()
    assert progress(path, fakes.TILE) == (4, 4)


def test_layout_is_plain_zarr_that_gdal_can_read(path):
    write(fakes.dataset(), path)
    array = zarr.open_array(path / "33UUB" / "B02", mode="r")
    assert (array.metadata.zarr_format, array.shards, array.chunks) == (3, None, (1, 60, 60))
    assert [type(codec).__name__ for codec in array.metadata.codecs] == ["BytesCodec", "ZstdCodec"]
    assert (array.dtype, array.fill_value) == (np.uint16, 0)
    attributes = dict(array.attrs)
    assert (attributes["scale_factor"], attributes["add_offset"]) == (1e-4, -0.1)
    assert (attributes["_FillValue"], attributes["grid_mapping"]) == (0, "spatial_ref")
    assert "_FillValue" not in zarr.open_array(path / "33UUB" / "SCL", mode="r").attrs
    time = zarr.open_array(path / "33UUB" / "time", mode="r")
    assert time.dtype == np.int64
    assert time.attrs["units"] == "seconds since 1970-01-01"
    assert time.attrs["calendar"] == "proleptic_gregorian"


def test_the_band_keeps_its_own_attributes(path):
    source = fakes.dataset()
    source.B02.attrs.update(long_name="blue", wavelength=np.float32(492.5), scale_factor=7)
    write(source, path)
    attributes = opened(path).B02.attrs
    assert (attributes["long_name"], attributes["wavelength"]) == ("blue", 492.5)
    assert opened(path).B02.encoding["scale_factor"] == 1e-4


# Who can open it


def test_xarray_opens_the_whole_and_a_tile_without_a_warning(path):
    write(fakes.dataset(), path)
    whole = xr.open_datatree(path, engine="zarr")
    assert list(whole.children) == ["33UUB"]
    xr.testing.assert_identical(whole["33UUB"].to_dataset().load(), opened(path).load())
    assert set(opened(path).coords) == {"time", "y", "x", "spatial_ref"}


@pytest.mark.filterwarnings("ignore:Object at stac is not recognized:UserWarning")  # our catalog
def test_what_the_groups_list_is_what_zarr_itself_would_list(path):
    write(fakes.dataset(), path)
    ours = json.loads((path / "zarr.json").read_text())
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(path)
    theirs = json.loads((path / "zarr.json").read_text())
    listed = theirs["consolidated_metadata"]["metadata"]
    visible = {key: value for key, value in listed.items() if "manifest" not in key}
    assert ours["consolidated_metadata"] == {**theirs["consolidated_metadata"], "metadata": visible}


def test_the_grid_survives_for_rioxarray_and_odc(path):
    write(fakes.dataset(), path)
    stored = opened(path)
    assert stored.rio.crs.to_epsg() == stored.B02.rio.crs.to_epsg() == 32633
    assert stored.B02.rio.transform() == fakes.GEOBOX.transform
    assert stored.odc.geobox == fakes.GEOBOX


def test_the_grid_is_in_the_geozarr_attributes(path):
    write(fakes.dataset(), path)
    attributes = opened(path).attrs
    assert attributes["proj:code"] == "EPSG:32633"
    assert attributes["spatial:dimensions"] == ["y", "x"]
    assert attributes["spatial:shape"] == [120, 120]
    assert attributes["spatial:transform"] == [10, 0, 300000, 0, -10, 6199800]
    assert attributes["spatial:bbox"] == [300000, 6198600, 301200, 6199800]
    assert [c["name"] for c in attributes["zarr_conventions"]] == ["proj", "spatial"]


def test_gdal_opens_it_where_it_reads_zarr_3(path):
    version = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])
    if version < (3, 12):
        pytest.skip(
            f"rasterio's GDAL is {rasterio.__gdal_version__}; it reads Zarr v3 from 3.12 on"
        )
    write(fakes.dataset(), path)
    with rasterio.open(f'ZARR:"{path}":/33UUB/B02:0') as source:
        np.testing.assert_array_equal(source.read(1), fakes.numbers(TIMES[0], "B02"))
        assert source.crs.to_epsg() == 32633
        assert source.transform == fakes.GEOBOX.transform
        assert (source.nodata, source.scales[0], source.offsets[0]) == (0, 1e-4, -0.1)


def test_provenance_is_in_the_attributes(path):
    source = fakes.dataset(TIMES[:2])
    write(source, path)
    attributes = opened(path).attrs
    assert (attributes["level"], attributes["tile"]) == ("L1C", "33UUB")
    given = source.attrs["provenance"]
    assert attributes["provenance"] == {**given, "parameters": {"window": 1098, "bands": ["B05"]}}


# Work: laziness, tasks, resuming


def test_a_block_costs_at_most_one_task_beside_its_source(path, monkeypatch):
    seen = []

    def scheduler(graph, keys, **_):
        seen.append((len(graph), len(keys)))
        return dask.get(graph, keys)

    with dask.config.set(scheduler=scheduler):
        write(fakes.dataset(TIMES[:2]), path)
    # The fakes are blockwise: source, packing and writing of three bands fuse into one task.
    assert seen == [(8, 8)]
    monkeypatch.undo()


def test_finished_blocks_are_skipped_with_their_sources(path):
    write(fakes.dataset(), path)
    before = fakes.tree(path)

    def never(*place):
        raise AssertionError(place)

    result = write(fakes.dataset(hook=never), path)
    assert (result.blocks_written, result.blocks_skipped) == (0, 4)
    assert fakes.tree(path) == before


def test_a_failing_source_leaves_the_rest_and_the_next_run_goes_on(path):
    def broken(_band, _time, row, col):
        if (row, col) == (1, 0):
            message = "this block cannot be read"
            raise RuntimeError(message)

    with dask.config.set(scheduler="sync"), pytest.raises(RuntimeError, match="cannot be read"):
        write(fakes.dataset(hook=broken), path)
    done, total = progress(path, fakes.TILE)
    assert 0 < done < total == 4
    assert opened(path).attrs["complete"] is False
    assert xr.open_datatree(path, engine="zarr")["33UUB"].attrs["complete"] is False
    assert write(fakes.dataset(), path).blocks_written == total - done
    assert opened(path).attrs["complete"] is True
    assert_holds(path, TIMES[:1])


def unreadable(*_):
    message = "this file cannot be read"
    raise RuntimeError(message)


def test_a_date_without_a_finished_block_yields_to_another_of_its_day(path):
    processed_again = "2017-06-01T10:20:35Z"
    write(fakes.dataset(TIMES[:1]), path)
    with dask.config.set(scheduler="sync"), pytest.raises(RuntimeError, match="cannot be read"):
        write(fakes.dataset(TIMES[1:2], hook=unreadable), path)
    write(fakes.dataset(TIMES[2:]), path)
    assert opened(path).attrs["unfinished"] == [TIMES[1]]
    assert write(fakes.dataset((processed_again,)), path).blocks_written == 4
    assert_holds(path, (TIMES[0], processed_again, TIMES[2]))
    assert opened(path).attrs["complete"] is True
    with pytest.raises(StoreError, match=f"holds {processed_again} from .*not from"):
        write(fakes.dataset(TIMES[1:2]), path)


def test_a_date_with_one_finished_block_yields_to_none(path):
    seen = set()

    def second(_band, _date, row, col):
        seen.add((row, col))
        if len(seen) > 1:
            unreadable()

    with dask.config.set(scheduler="sync"), pytest.raises(RuntimeError, match="cannot be read"):
        write(fakes.dataset(TIMES[1:2], hook=second), path)
    assert progress(path, fakes.TILE)[0] > 0
    with pytest.raises(StoreError, match="not from"):
        write(fakes.dataset(("2017-06-01T10:20:35Z",)), path)


def test_progress_is_zero_of_zero_before_there_is_anything(path):
    assert progress(path, fakes.TILE) == (0, 0)
    assert not path.exists()


def test_a_dataset_in_memory_is_written_too(path):
    write(fakes.dataset().compute(scheduler="sync"), path)
    assert_holds(path, TIMES[:1])


# Time grows


def test_later_dates_are_appended_and_equal_one_run(path, tmp_path):
    write(fakes.dataset(TIMES[:1]), path)
    result = write(fakes.dataset(TIMES), path)
    assert (result.blocks_written, result.blocks_skipped) == (8, 4)
    assert_holds(path, TIMES)
    assert len(opened(path).attrs["provenance"]["scenes"]) == 3
    write(fakes.dataset(TIMES), tmp_path / "once.zarr")
    assert fakes.tree(path) == fakes.tree(tmp_path / "once.zarr")


def test_a_dataset_of_only_the_later_date_is_appended(path, tmp_path):
    write(fakes.dataset(TIMES[:2]), path)
    write(fakes.dataset(TIMES[2:]), path)
    write(fakes.dataset(TIMES), tmp_path / "once.zarr")
    assert fakes.tree(path) == fakes.tree(tmp_path / "once.zarr")


def test_the_same_date_with_another_offset_or_items_is_refused(path):
    write(fakes.dataset(), path)
    before = fakes.tree(path)
    with pytest.raises(StoreError, match=r"offset \[-1000\], not from .* with offset \[0\]"):
        write(fakes.dataset(offset=0), path)
    # The other orbit's granule of the same day, ten minutes later.
    with pytest.raises(StoreError, match="holds 2017-05-27T10:20:31Z from S2B_33UUB"):
        write(fakes.dataset(("2017-05-27T10:30:31Z",)), path)
    assert fakes.tree(path) == before


# What is refused


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"predictor": "dsen2"}, "predictor.name: 'bicubic' in the store, 'dsen2' now"),
        ({"chunk": 120}, r"chunk: \[60, 60\] in the store, \[120, 120\] now"),
        ({"bands": ("B02", "B05")}, "bands.SCL: 'uint8' in the store, None now"),
        (
            {"geobox": fakes.GEOBOX[:60, :]},
            r"grid.shape: \[120, 120\] in the store, \[60, 120\] now",
        ),
    ],
)
def test_another_configuration_is_refused_and_named(path, changed, text):
    write(fakes.dataset(), path)
    before = fakes.tree(path)
    with pytest.raises(StoreError, match=text) as caught:
        write(fakes.dataset(**changed), path)
    assert "use --overwrite (overwrite=True) to replace it, or another path" in str(caught.value)
    assert fakes.tree(path) == before


def test_overwrite_replaces_one_tile_and_leaves_the_others(path, tmp_path):
    other = fakes.dataset()
    other.attrs["tile"] = "32VNH"
    write(other, path)
    kept = fakes.tree(path / "32VNH")
    write(fakes.dataset(TIMES, chunk=120), path)
    write(fakes.dataset(predictor="dsen2"), path, overwrite=True)
    assert fakes.tree(path / "32VNH") == kept
    assert list(xr.open_datatree(path, engine="zarr").children) == ["32VNH", "33UUB"]
    write(fakes.dataset(predictor="dsen2"), tmp_path / "fresh.zarr")
    assert fakes.tree(path / "33UUB") == fakes.tree(tmp_path / "fresh.zarr" / "33UUB")


def test_without_resume_an_existing_tile_is_refused(path):
    write(fakes.dataset(), path)
    with pytest.raises(StoreError, match="33UUB exists already; resume=True goes on"):
        write(fakes.dataset(), path, resume=False)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder", "zarr", "zarr 2", "tile"])
def test_what_is_not_ours_is_never_touched(path, kind, overwrite):
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("precious")
    elif kind == "tile":
        write(fakes.dataset(bands=("B02",)), path)
        zarr.create_array(path / "44XYZ" / "precious", data=np.arange(3))
    else:
        zarr.create_group(path, zarr_format=2 if kind == "zarr 2" else 3, attributes={"mine": 1})
    before = path.read_text() if kind == "file" else fakes.tree(path)
    source = fakes.dataset()
    source.attrs["tile"] = "44XYZ"
    with pytest.raises(StoreError, match="give another path"):
        write(source, path, overwrite=overwrite)
    assert (path.read_text() if kind == "file" else fakes.tree(path)) == before


def test_a_path_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written \(Not a directory\); mend that"):
        write(fakes.dataset(), tmp_path / "file" / "out.zarr")


def drop(name):
    return lambda source: source.attrs.pop(name)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (drop("tile"), "no attribute 'tile'"),
        (lambda source: source.attrs.update(tile="../up"), "cannot name a group"),
        (lambda source: source.attrs["provenance"].update(x=object()), "provenance is not JSON"),
        (lambda source: source.attrs["provenance"]["scenes"].pop(), "1 dates and 0 scenes"),
    ],
)
def test_wrong_attributes_are_refused_before_anything_is_written(path, spoil, text):
    source = fakes.dataset()
    spoil(source)
    with pytest.raises(UsageError, match=text):
        write(source, path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda ds: ds.isel(time=0), "B02 has dimensions"),
        (lambda ds: ds.isel(time=[1, 0]), "in the order of time"),
        (lambda ds: ds.chunk(time=2), r"call dataset.chunk\(time=1"),
        (lambda ds: ds.chunk(y=(24, 60, 36)), r"call dataset.chunk\(time=1"),
        (lambda ds: ds.assign(B02=ds.B02.chunk(y=30)), r"call dataset.chunk\(time=1"),
        (lambda ds: ds[[]], "no bands"),
        (lambda ds: ds.drop_vars(["x", "y", "spatial_ref"]), "no grid"),
        (lambda ds: ds.astype("int16"), "B02 has dtype int16"),
    ],
)
def test_a_dataset_of_another_form_is_refused(path, spoil, text):
    source = fakes.dataset(TIMES[:2])
    with pytest.raises(UsageError, match=text):
        write(spoil(source).assign_attrs(source.attrs), path)
    assert not path.exists()


# Elsewhere than on the local disk


def test_a_file_url_is_a_local_path(path):
    write(fakes.dataset(), f"file://{path}")
    assert_holds(path, TIMES[:1])


def test_a_memory_url_works_like_a_disk():
    url = f"memory://{uuid.uuid4().hex}/out.zarr"
    assert progress(url, fakes.TILE) == (0, 0)
    write(fakes.dataset(predictor="dsen2"), url)
    result = write(fakes.dataset(), url, overwrite=True)
    assert (result.path, result.blocks_written) == (f"{url}/33UUB", 4)
    assert write(fakes.dataset(TIMES[:2]), url).blocks_written == 4
    assert progress(url, fakes.TILE) == (8, 8)
    assert_holds(url, TIMES[:2])
    write(fakes.dataset(TIMES[2:]), url)
    with pytest.raises(StoreError, match="another configuration"):
        write(fakes.dataset(chunk=120), url)


@pytest.mark.parametrize(
    ("url", "text"),
    [("nowhere://bucket/out.zarr", "nowhere"), ("hdfs://host/out.zarr", "pyarrow")],
)
def test_an_unsupported_url_names_what_is_missing(url, text):
    with pytest.raises(StoreError, match=rf"{url}/33UUB cannot be opened: .*{text}"):
        write(fakes.dataset(), url)


def test_a_message_shows_no_credentials():
    with pytest.raises(StoreError) as caught:
        write(fakes.dataset(), "nowhere://user:secret@host/out.zarr?sig=secret")
    assert "secret" not in str(caught.value)
    assert "nowhere://host/out.zarr/33UUB" in str(caught.value)


def test_s3_resumes_appends_and_overwrites(s3):
    url = "s3://bucket/series/out.zarr"
    write(fakes.dataset(predictor="dsen2"), url, storage_options=s3)
    write(fakes.dataset(), url, overwrite=True, storage_options=s3)
    result = write(fakes.dataset(TIMES[:2]), url, storage_options=s3)
    assert (result.blocks_written, result.blocks_skipped) == (4, 4)
    assert progress(url, fakes.TILE, storage_options=s3) == (8, 8)
    stored = opened(url, storage_options=s3, mask_and_scale=False)
    np.testing.assert_array_equal(stored.B02[1], fakes.numbers(TIMES[1], "B02"))


def test_s3_takes_a_late_date(s3, tmp_path):
    import s3fs

    url = "s3://bucket/late.zarr"
    write(fakes.dataset(TIMES[1:]), url, storage_options=s3)
    write(fakes.dataset(TIMES[:1]), url, storage_options=s3)
    s3fs.S3FileSystem(**s3, skip_instance_cache=True).get(
        "bucket/late.zarr", str(tmp_path / "got"), recursive=True
    )
    write(fakes.dataset(TIMES), tmp_path / "local.zarr")
    assert fakes.tree(tmp_path / "got") == fakes.tree(tmp_path / "local.zarr")


def test_s3_refuses_a_second_run(s3):
    url = "s3://bucket/two.zarr"
    with (
        open_tile(url, fakes.TILE, storage_options=s3),
        pytest.raises(StoreError, match="being written by another run"),
    ):
        write(fakes.dataset(), url, storage_options=s3)
    assert write(fakes.dataset(), url, storage_options=s3).blocks_written == 4


def test_s3_equals_the_local_store_and_holds_no_key(s3, tmp_path):
    import s3fs

    write(fakes.dataset(), "s3://bucket/same.zarr", storage_options=s3)
    s3fs.S3FileSystem(**s3, skip_instance_cache=True).get(
        "bucket/same.zarr", str(tmp_path / "got"), recursive=True
    )
    write(fakes.dataset(), tmp_path / "local.zarr")
    assert fakes.tree(tmp_path / "got") == fakes.tree(tmp_path / "local.zarr")
    text = b"".join(p.read_bytes() for p in (tmp_path / "got").rglob("zarr.json"))
    assert b"hidden-key" not in text


def test_s3_says_in_one_sentence_that_the_bucket_is_missing(s3):
    with pytest.raises(StoreError, match=r"s3://missing/out\.zarr/33UUB cannot be written"):
        write(fakes.dataset(), "s3://missing/out.zarr", storage_options=s3)


def test_a_southern_grid_keeps_its_origin(path):
    box = GeoBox.from_bbox((300000, 6098840, 301200, 6100040), "EPSG:32755", resolution=10)
    write(fakes.dataset(geobox=box), path)
    assert opened(path).odc.geobox == box


def test_relative_paths_are_the_callers(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert write(fakes.dataset(), "out.zarr").path == f"{Path.cwd()}/out.zarr/33UUB"
    assert_holds(path, TIMES[:1])
