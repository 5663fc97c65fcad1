"""The demonstration keeps what it promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr
from click.testing import CliRunner
from PIL import Image

from decametric.bands import SHARPENED
from decametric.cli import cli
from decametric.demo import scores
from decametric.testing import synthetic_truth


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(cli, ["demo", "-o", str(folder), "--size", "360", "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_store_holds_every_band_of_both_dates(shown):
    stored = xr.open_zarr(shown["zarr"], group="33UUB")
    assert stored.sizes["time"] == 2
    assert set(SHARPENED) <= set(stored.data_vars)
    assert stored["B11"].isel(time=1).isnull().any()


def test_the_network_halves_the_error_of_bicubic_interpolation_on_every_band(shown):
    for scores_of in (shown["rmse_dn"], shown["wald_rmse_dn"]):
        ours = scores_of[shown["predictor"]]
        assert list(ours) == list(SHARPENED)
        assert all(ours[band] < scores_of["bicubic"][band] / 2 for band in SHARPENED)


def test_scores_of_the_truth_are_zero(shown):
    truth = synthetic_truth(shown["scene"])
    assert set(scores(truth, truth).values()) == {0.0}
    shifted = truth + 0.01
    assert scores(shifted, truth)["B05"] == pytest.approx(100, abs=0.1)


def test_picture_and_table_are_there(shown):
    with Image.open(shown["picture"]) as picture:
        assert picture.size == (1080, 756)
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 1000
    table = Path(shown["table"]).read_text()
    assert all(f"| {band} |" in table for band in SHARPENED)


def test_a_second_demo_replaces_the_first(shown):
    folder = shown["zarr"].removesuffix("/out.zarr")
    result = CliRunner().invoke(cli, ["demo", "-o", folder, "--size", "180"])
    assert result.exit_code == 0, result.stderr
    assert xr.open_zarr(shown["zarr"], group="33UUB").sizes["x"] == 180
    assert "picture.png" in result.stdout
