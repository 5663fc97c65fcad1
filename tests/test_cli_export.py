"""From scenes and stores to files and pyramids by the command line."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from rio_cogeo import cog_validate

from decametric.cli import cli
from decametric.errors import StoreError
from decametric.store import pyramid
from decametric.testing import synthetic_scene


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """Two dates of one tile."""
    return str(synthetic_scene(tmp_path_factory.mktemp("scene"), size=120))


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def sharpen(items, store, *more):
    return run("sharpen", items, "-o", store, "--predictor", "bilinear", *more)


def test_one_command_from_a_safe_zip_to_files(shared_data, tmp_path):
    (product,) = (shared_data / "products" / "stactools-safe-l2a-n0400").glob("*.SAFE")
    archive = tmp_path / "product.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in product.rglob("*"):
            packed.write(path, path.relative_to(product.parent))
    where = ("--bbox", "-9.0", "53.0", "-8.95", "53.03", "--bands", "B01,SCL")
    result = sharpen(archive, tmp_path / "o.zarr", *where, "--export", tmp_path / "cogs")
    assert result.exit_code == 0, result.stderr
    files = [tmp_path / "cogs" / f"29UNU_20221005_{band}.tif" for band in ("B01", "SCL")]
    assert result.stdout.splitlines()[-2:] == [str(path) for path in files]
    stored = xr.open_zarr(tmp_path / "o.zarr", group="29UNU", mask_and_scale=False)
    for path, band in zip(files, ("B01", "SCL"), strict=True):
        assert cog_validate(path, strict=True) == (True, [], [])
        with rasterio.open(path) as file:
            assert file.crs == "EPSG:32629"
            np.testing.assert_array_equal(file.read(1), stored[band][0])
            assert file.read(1).any()


def test_export_of_a_store(catalog, tmp_path):
    store = tmp_path / "o.zarr"
    assert sharpen(catalog, store, "--bands", "B02,B11").exit_code == 0
    result = run("export", store, tmp_path / "cogs", "--bands", "b11", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    found = sorted(str(path) for path in (tmp_path / "cogs").iterdir())
    assert told == {"store": str(store), "format": "cog", "files": found}
    assert [path[-7:] for path in found] == ["B11.tif"] * 2
    stacked = run("export", store, tmp_path / "stacks", "--stacked", "--tile", "33UUB")
    assert len(stacked.stdout.splitlines()) == len(list((tmp_path / "stacks").iterdir())) == 2


def test_sharpen_exports_and_adds_levels_and_goes_on(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(pyramid, "SMALLEST", 60)
    store, cogs = tmp_path / "o.zarr", tmp_path / "cogs"
    how = (catalog, store, "--bands", "B02,B11", "--multiscale", "--export", cogs, "--json")
    first, again = sharpen(*how), sharpen(*how)
    assert (first.exit_code, again.exit_code) == (0, 0), first.stderr
    told = json.loads(first.stdout)
    assert sorted(told["files"]) == sorted(str(path) for path in cogs.iterdir())
    assert len(told["files"]) == 4
    assert json.loads(again.stdout)["files"] == told["files"]
    tree = xr.open_datatree(store, engine="zarr")
    assert {name: child.sizes["x"] for name, child in tree["33UUB"].children.items()} == {
        "r10m": 120,
        "r20m": 60,
    }
    assert int(tree["33UUB/r20m"].B11.notnull().sum()) > 0


def test_a_folder_that_cannot_be_one_is_refused_before_the_work(catalog, tmp_path):
    for place in ("s3://bucket/cogs", catalog):
        result = sharpen(catalog, tmp_path / "o.zarr", "--export", place)
        assert result.exit_code == 2
        assert f"{place} is" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_was_sharpened_is_told_even_if_its_export_fails(catalog, tmp_path, monkeypatch):
    def full(*_args, **_options):
        message = "The disk is full."
        raise StoreError(message)

    monkeypatch.setattr("decametric.store.export.export", full)
    how = (catalog, tmp_path / "o.zarr", "--bands", "B11", "--export", tmp_path / "cogs")
    table, document = sharpen(*how), sharpen(*how, "--json")
    assert (table.exit_code, document.exit_code) == (1, 1)
    assert "2 done, 0 skipped, 0 failed" in table.stdout
    assert json.loads(document.stdout)["tiles"][0]["blocks_skipped"] == 2
    assert "The disk is full." in table.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("absent.zarr", "cogs"), 1, "absent.zarr is not a store of decametric"),
        (("absent.zarr", "cogs", "--bands", "B99"), 2, "'B99' is not a Sentinel-2 band"),
        (("absent.zarr", "s3://a/cogs"), 2, "s3://a/cogs is not a local folder"),
    ],
)
def test_wrong_words(tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    result = run("export", *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []
