"""Rasters of any kind compared by the right numbers, and refused where pixels do not match."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from click.testing import CliRunner
from PIL import Image
from rasterio.enums import ColorInterp

from decametric.cli import cli
from decametric.errors import SceneError, UsageError
from decametric.evaluation.compare import compare, pairs
from decametric.evaluation.rasters import open_raster

HERE = Affine(10, 0, 300000, 0, -10, 6200040)


@pytest.fixture
def images():
    """Reference and test (band, y, x), uint16, with a difference that would wrap unsigned."""
    rng = np.random.default_rng(3)
    reference = rng.integers(1, 3000, (3, 20, 24))
    test = np.clip(reference + rng.integers(-400, 400, reference.shape), 1, None)
    return reference.astype("u2"), test.astype("u2")


def tif(path, array, *, transform=HERE, crs="EPSG:32633", **profile):
    bands, rows, cols = array.shape
    options = {"count": bands, "height": rows, "width": cols, "dtype": array.dtype.name}
    place = {"crs": crs, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **options, **place, **profile) as target:
        target.write(array)
    return path


def rmse(reference, test):
    return np.sqrt(((test.astype("f8") - reference) ** 2).mean(axis=(1, 2)))


def test_each_band_and_their_mean_are_those_of_plain_numpy(images, tmp_path):
    paths = [tif(tmp_path / f"{n}.tif", array) for n, array in enumerate(images)]
    found = compare(*paths, ["rmse", "bias", "psnr"], data_range=10000)
    reference, test = (image.astype("f8") for image in images)
    np.testing.assert_allclose(found["rmse"][:3], rmse(*images), rtol=1e-12)
    np.testing.assert_allclose(found["bias"][:3], (test - reference).mean(axis=(1, 2)), rtol=1e-12)
    expected = 20 * np.log10(10000 / rmse(*images))
    np.testing.assert_allclose(found["psnr"], [*expected, expected.mean()], rtol=1e-12)
    assert list(found["band"].values) == ["1", "2", "3", "mean"]


@pytest.mark.parametrize(
    ("pair", "sam", "sre"), [("lafayette", 0.6198, 20.88), ("singapore", 0.5444, 18.01)]
)
def test_example_pairs_have_their_true_numbers(shared_data, pair, sam, sre):
    folder = shared_data / "metrics" / "example"
    paths = (folder / f"{pair}_org.tif", folder / f"{pair}_pred.tif")
    found = compare(*paths, ["sam", "sre", "uiq"]).sel(band="mean")
    assert round(float(found["sam"]), 4) == sam
    assert round(float(found["sre"]), 2) == sre
    assert float(found["uiq"]) == pytest.approx(
        {"lafayette": 0.4396, "singapore": 0.4607}[pair], abs=1e-4
    )


def test_pixels_without_data_do_not_count(images, tmp_path):
    reference, test = images
    reference[0, :5], test[1, 5:9] = 0, 0
    paths = [tif(tmp_path / f"{n}.tif", array, nodata=0) for n, array in enumerate(images)]
    found = compare(*paths, ["rmse"])["rmse"]
    parts = [np.s_[0, 5:], np.s_[1, [*range(5), *range(9, 20)]], np.s_[2]]
    for band, part in enumerate(parts):
        expected = np.sqrt(((test[part].astype("f8") - reference[part]) ** 2).mean())
        assert float(found[band]) == pytest.approx(expected, rel=1e-9)


def test_zeros_are_data_where_nobody_says_otherwise(images, tmp_path):
    images[0][0, :5] = 0
    paths = [tif(tmp_path / f"{n}.tif", array) for n, array in enumerate(images)]
    np.testing.assert_allclose(compare(*paths, ["rmse"])["rmse"][:3], rmse(*images), rtol=1e-12)


def test_alpha_is_a_mask_and_no_band(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 16, 16, 4)).astype("u1")
    first[..., 3] = second[..., 3] = 255
    first[:4, :, 3] = 0
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for path, array in zip(paths, (first, second), strict=True):
        Image.fromarray(array).save(path)
    found = compare(*paths, ["rmse", "psnr"])
    expected = rmse(*(array[4:, :, :3].transpose(2, 0, 1) for array in (first, second)))
    np.testing.assert_allclose(found["rmse"][:3], expected, rtol=1e-9)
    np.testing.assert_allclose(found["psnr"][:3], 20 * np.log10(255 / expected), rtol=1e-9)
    assert found.sizes["band"] == 4


@pytest.mark.parametrize(("count", "dtype"), [(4, "uint16"), (1, "float32"), (2, "uint8")])
def test_alpha_is_a_mask_beside_any_bands(tmp_path, count, dtype):
    rng = np.random.default_rng(0)
    first = rng.integers(1, 200, (count, 16, 16)).astype(dtype)
    second = first + np.array(10, dtype)
    paths = []
    for name, array in (("first.tif", first), ("second.tif", second)):
        alpha = np.full((1, 16, 16), 255, dtype)
        alpha[:, :4] = 0
        stack = np.concatenate([np.where(alpha > 0, array, 0), alpha])
        paths.append(tif(tmp_path / name, stack))
        with rasterio.open(paths[-1], "r+") as file:
            undefined = [ColorInterp.undefined] * (count - 1)
            file.colorinterp = [ColorInterp.gray, *undefined, ColorInterp.alpha]
    found = compare(*paths, ["bias", "rmse"])
    assert found.sizes["band"] == count + 1
    np.testing.assert_allclose(found["bias"], 10, rtol=1e-6)
    assert int(open_raster(paths[0]).isnull().sum()) == count * 4 * 16


def described(path, array, names, scales=None, offsets=None):
    """A file whose bands have names, and a packing."""
    tif(path, array)
    with rasterio.open(path, "r+") as file:
        file.descriptions = names
        if scales is not None:
            file.scales, file.offsets = [scales] * len(array), [offsets] * len(array)
    return path


def test_bands_of_the_same_names_are_paired_by_name(images, tmp_path):
    names = ("B08", "B8A", "B11")
    stack = described(tmp_path / "stack.tif", images[0], names)
    turned = described(tmp_path / "turned.tif", images[0][[2, 0, 1]], ("B11", "B08", "B8A"))
    group = tmp_path / "bands.zarr"
    data = {name: (("y", "x"), band) for name, band in zip(names, images[0], strict=True)}
    xr.Dataset(data).to_zarr(group, consolidated=False)
    for first, second in ((stack, turned), (turned, stack), (stack, group), (group, stack)):
        found = compare(first, second, ["rmse"])["rmse"]
        assert (found == 0).all()
        assert set(found["band"].values) == {*names, "mean"}
    with pytest.raises(UsageError, match=r"name the bands of the file alike"):
        compare(group, tif(tmp_path / "bare.tif", images[0]), ["rmse"])


def test_names_that_repeat_or_mean_something_else_are_no_names(images, tmp_path):
    for names in (("S2", "S2", "S2"), ("mean", "B02", "B03")):
        path = described(tmp_path / "stack.tif", images[0], names)
        result = run(path, path, "--metric", "rmse")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.splitlines()[0].split("\t")[3:] == ["mean", "1", "2", "3"]


def test_scale_and_offset_are_applied_wherever_they_stand(images, tmp_path):
    plain = described(tmp_path / "a.tif", images[0], ("B02", "B03", "B04"), 1e-4, 0)
    shifted = described(tmp_path / "b.tif", images[0] + 1000, ("B02", "B03", "B04"), 1e-4, -0.1)
    group = tmp_path / "bands.zarr"
    packing = {"dtype": "u2", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    values = images[0] / 10000
    names = ("B02", "B03", "B04")
    data = {name: (("y", "x"), band) for name, band in zip(names, values, strict=True)}
    encoding = dict.fromkeys(names, packing)
    xr.Dataset(data).to_zarr(group, consolidated=False, encoding=encoding)
    for first, second in ((plain, shifted), (plain, group), (group, shifted)):
        np.testing.assert_allclose(compare(first, second, ["rmse"])["rmse"], 0, atol=1e-8)
    raw = tif(tmp_path / "raw.tif", images[0])
    assert float(compare(raw, raw, ["rmse"])["rmse"][0]) == 0
    assert open_raster(raw).dtype == "uint16"


def test_the_range_of_packed_or_mixed_variables_is_not_that_of_their_bytes(tmp_path):
    values = np.random.default_rng(0).random((12, 12))
    packed = {"A": {"dtype": "u1", "scale_factor": 1 / 255, "_FillValue": 0}}
    xr.Dataset({"A": (("y", "x"), values)}).to_zarr(
        tmp_path / "packed.zarr", consolidated=False, encoding=packed
    )
    mixed = {"A": (("y", "x"), (values * 255).astype("u1")), "B": (("y", "x"), values)}
    xr.Dataset(mixed).to_zarr(tmp_path / "mixed.zarr", consolidated=False)
    for path in (tmp_path / "packed.zarr", tmp_path / "mixed.zarr"):
        with pytest.raises(UsageError, match="data_range"):
            compare(path, path, ["psnr"])


def test_palettes_and_files_of_several_images_are_refused(tmp_path):
    grey = Image.fromarray(np.arange(256, dtype="u1").reshape(16, 16))
    grey.convert("P").save(tmp_path / "palette.png")
    grey.save(tmp_path / "pages.tif", save_all=True, append_images=[grey.resize((8, 8))])
    for name, words in (("palette.png", "numbers of a palette"), ("pages.tif", "several images")):
        with pytest.raises(SceneError, match=words):
            compare(tmp_path / name, tmp_path / name, ["rmse"])


def test_turned_rasters_are_compared(images, tmp_path):
    place = {"transform": Affine(0, 10, 300000, 10, 0, 6200040)}
    paths = [tif(tmp_path / f"{n}.tif", array, **place) for n, array in enumerate(images)]
    np.testing.assert_allclose(compare(*paths, ["rmse"])["rmse"][:3], rmse(*images))


def test_one_date_stands_beside_none_and_other_dates_are_refused(tmp_path):
    values = np.random.default_rng(0).random((2, 12, 12))

    def group(name, dates, days=None):
        coords = {} if days is None else {"time": np.array(days, "M8[ns]")}
        data = {
            "B11": (("time", "y", "x"), values[:dates]),
            "B12": (("time", "y", "x"), values[:dates]),
        }
        xr.Dataset(data, coords).to_zarr(tmp_path / name, consolidated=False)
        return tmp_path / name

    one = group("one.zarr", 1, ["2024-06-01"])
    flat = tmp_path / "flat.zarr"
    xr.Dataset(dict.fromkeys(("B11", "B12"), (("y", "x"), values[0]))).to_zarr(
        flat, consolidated=False
    )
    for first, second in ((one, flat), (flat, one)):
        assert (compare(first, second, ["rmse"])["rmse"] == 0).all()
    assert (compare(one, one, ["rmse"], mask=mask_of(tmp_path))["rmse"] == 0).all()
    days = ["2024-06-01T10:20:31", "2024-07-01T10:20:31"]
    two = group("two.zarr", 2, days)
    same = group("same.zarr", 2, ["2024-06-01", "2024-07-01"])
    other = group("other.zarr", 2, ["2024-06-01", "2023-08-01"])
    assert (compare(two, same, ["rmse"])["rmse"] == 0).all()
    with pytest.raises(UsageError, match="the date 2023-08-01 where the reference has 2024-07-01"):
        compare(two, other, ["rmse"])


def mask_of(folder):
    """A mask that is a group of a store."""
    whole = np.ones((12, 12), "u1")
    xr.Dataset({"valid": (("y", "x"), whole)}).to_zarr(folder / "mask.zarr", consolidated=False)
    return folder / "mask.zarr"


def test_the_document_tells_of_every_metric_of_every_pair(images, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tif(tmp_path / folder / "1.tif", images[0][:1])
        tif(tmp_path / folder / "2.tif", images[0])
    result = run(tmp_path / "a", tmp_path / "b", "--data-range", 10000, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert {row["metric"] for row in found["scores"]} == set(found["protocol"]["metrics"])
    assert "sam" in found["protocol"]["metrics"]


def test_pictures_of_one_band_are_compared_with_the_range_of_their_type(tmp_path):
    grey = np.random.default_rng(0).integers(0, 200, (32, 32)).astype("u1")
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(grey + 51).save(tmp_path / "b.png")
    assert float(
        compare(tmp_path / "a.png", tmp_path / "b.png", ["psnr"])["psnr"][0]
    ) == pytest.approx(20 * np.log10(5))
    found = compare(tmp_path / "a.png", tmp_path / "a.jpg")
    assert 0 < float(found["rmse"].sel(band="mean")) < 5
    assert "sam" not in found  # one band has no spectrum


def test_groups_of_zarr_stores_are_compared(tmp_path):
    rng = np.random.default_rng(0)
    numbers = {n: rng.random((2, 12, 12)).astype("f4") for n in ("B11", "B12")}
    for group, shift in (("one", 0), ("two", 0.25)):
        data = {name: (("time", "y", "x"), values + shift) for name, values in numbers.items()}
        data["SCL"] = (("time", "y", "x"), np.ones((2, 12, 12), "u1"))
        xr.Dataset(data).to_zarr(tmp_path / "s.zarr", group=group, consolidated=False)
    xr.Dataset({"B11": data["B11"]}).to_zarr(tmp_path / "s.zarr", group="three", consolidated=False)
    found = compare(tmp_path / "s.zarr" / "one", tmp_path / "s.zarr" / "two", ["bias"])
    assert list(found["band"].values) == ["B11", "B12", "mean"]
    np.testing.assert_allclose(found["bias"], 0.25, rtol=1e-6)
    with pytest.raises(UsageError, match=r"only one of .*three and the reference has: B12"):
        compare(tmp_path / "s.zarr" / "one", tmp_path / "s.zarr" / "three", ["bias"])
    with pytest.raises(SceneError, match=r"a group of it: one, three, two"):
        compare(tmp_path / "s.zarr", tmp_path / "s.zarr", ["bias"])


def test_a_mask_limits_what_counts(images, tmp_path):
    mask = np.zeros((1, 20, 24), "u1")
    mask[:, :, 12:] = 7
    paths = [tif(tmp_path / f"{n}.tif", array) for n, array in enumerate((*images, mask))]
    found = compare(*paths[:2], ["rmse"], mask=paths[2])["rmse"]
    expected = rmse(*(image[:, :, 12:] for image in images))
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12)
    short = tif(tmp_path / "short.tif", mask[:, :10])
    with pytest.raises(UsageError, match=r"short\.tif has 10 rows"):
        compare(*paths[:2], ["rmse"], mask=short)


SHIFTED = Affine(10, 0, 300005, 0, -10, 6200040)


@pytest.mark.parametrize(
    ("cut", "place", "named"),
    [
        (np.s_[:2], {}, "2 bands and the reference 3"),
        (np.s_[:, :10], {}, "10 rows and the reference 20"),
        (np.s_[:, :, 1:], {}, "23 columns"),
        (np.s_[:], {"crs": "EPSG:32634"}, "EPSG:32634 and the reference in EPSG:32633"),
        (np.s_[:], {"transform": SHIFTED}, "0.5 pixels beside"),
    ],
    ids=["bands", "rows", "columns", "crs", "transform"],
)
def test_rasters_that_do_not_match_are_refused(images, tmp_path, cut, place, named):
    first = tif(tmp_path / "first.tif", images[0])
    second = tif(tmp_path / "second.tif", images[1][cut], **place)
    with pytest.raises(UsageError, match=named) as caught:
        compare(first, second, ["rmse"])
    assert "second.tif" in str(caught.value)


def test_a_transform_that_another_program_rounded_is_taken(images, tmp_path):
    first = tif(tmp_path / "first.tif", images[0])
    rounded = Affine(10, 0, 300000.000001, 0, -10, 6200040)
    second = tif(tmp_path / "second.tif", images[1], transform=rounded)
    np.testing.assert_allclose(compare(first, second, ["rmse"])["rmse"][:3], rmse(*images))


def test_the_data_range_is_asked_for_only_where_it_matters(images, tmp_path):
    paths = [tif(tmp_path / f"{n}.tif", array) for n, array in enumerate(images)]
    assert np.isfinite(compare(*paths, ["rmse", "sre"])["sre"]).all()
    with pytest.raises(UsageError, match=r"psnr, ssim cannot do without .* uint16 .*--data-range"):
        compare(*paths, ["rmse", "psnr", "ssim"])
    with pytest.raises(UsageError, match="'8bit'"):
        compare(*paths, ["psnr"], data_range="8bit")
    with pytest.raises(UsageError, match="rmsd"):
        compare(*paths, ["rmsd"])


def test_files_are_read_in_strips(tmp_path):
    tall = np.arange(1300 * 8, dtype="u2").reshape(1, 1300, 8).repeat(2, axis=0)
    opened = open_raster(tif(tmp_path / "tall.tif", tall))
    assert opened.chunks == ((1, 1), (512, 512, 276), (8,))
    np.testing.assert_array_equal(opened, tall)


def folders(tmp_path, images, first, second):
    for folder, names, image in zip(("a", "b"), (first, second), images, strict=True):
        (tmp_path / folder).mkdir()
        for name in names:
            tif(tmp_path / folder / name, image)
        (tmp_path / folder / "notes.txt").write_text(folder)
    return tmp_path / "a", tmp_path / "b"


def test_folders_are_matched_by_name(images, tmp_path):
    both = folders(tmp_path, images, ["x.tif", "y.TIF"], ["x.tif", "y.TIF"])
    result = run(*both, "--metric", "rmse", "--json")
    found = {}
    for row in json.loads(result.stdout)["scores"]:
        found.setdefault(row.pop("image"), []).append(row)
    assert list(found) == ["x.tif", "y.TIF"]
    assert found["x.tif"] == found["y.TIF"]
    assert found["x.tif"][0]["value"] > 0


def test_files_without_partner_are_named(images, tmp_path):
    both = folders(tmp_path, images, ["x.tif", "y.tif"], ["x.tif", "z.tif"])
    with pytest.raises(UsageError, match=r"y\.tif, z\.tif"):
        pairs(*both)
    with pytest.raises(UsageError, match="two of a kind"):
        pairs(both[0], both[1] / "x.tif")


def test_a_folder_without_rasters_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no raster"):
        pairs(tmp_path, tmp_path)


def run(*words):
    return CliRunner().invoke(cli, ["compare", *map(str, words)])


def test_the_command_gives_one_valid_json_document(images, tmp_path):
    first = tif(tmp_path / "first.tif", images[0])
    metrics = [word for name in ("rmse", "psnr", "ergas") for word in ("--metric", name)]
    result = run(first, first, *metrics, "--ratio", 2, "--data-range", 10000, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found["images"] == ["first.tif"]
    assert found["protocol"]["metrics"]["psnr"]["data_range"] == 10000
    rows = {(row["metric"], row["band"]): row for row in found["scores"]}
    places = {(m, b) for m in ("rmse", "psnr") for b in ("1", "2", "3", "mean")}
    assert set(rows) == places | {("ergas", "mean")}
    names = {"image": "first.tif", "band": "mean", "metric": "rmse"}
    assert rows["rmse", "mean"] == {**names, "value": 0.0, "unit": "data"}
    assert rows["psnr", "1"]["value"] is None  # equal images: infinite


def test_the_table_shows_every_band(images, tmp_path):
    paths = [tif(tmp_path / f"{n}.tif", array) for n, array in enumerate(images)]
    result = run(*paths, "--metric", "rmse")
    header, line = result.stdout.splitlines()
    assert header.split("\t") == ["image", "metric", "unit", "mean", "1", "2", "3"]
    assert line.split("\t")[4] == f"{rmse(*images)[0]:.4g}"


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["no.tif", "no.tif"], 1, "no.tif"),
        (["TEXT", "TEXT"], 1, "cannot be read"),
        (["IMAGE", "IMAGE", "--metric", "psnr"], 2, "--data-range"),
        (["IMAGE", "IMAGE", "--metric", "psnr", "--data-range", "wide"], 2, "'wide'"),
        (["IMAGE", "IMAGE", "--metric", "ergas"], 2, "ratio"),
        (["IMAGE", "FOLDER"], 2, "two of a kind"),
    ],
)
def test_bad_input_ends_with_one_sentence(images, tmp_path, words, code, named):
    (tmp_path / "text.tif").write_text("no raster")
    places = {
        "IMAGE": tif(tmp_path / "a.tif", images[0]),
        "TEXT": tmp_path / "text.tif",
        "FOLDER": tmp_path,
    }
    result = run(*(places.get(word, word) for word in words))
    assert result.exit_code == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert named in line
    assert result.stdout == ""
