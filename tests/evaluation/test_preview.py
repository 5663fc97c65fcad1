"""What `preview` draws: the right pixels, beside each other, with one stretch."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import decametric as dm
import made_scenes as made
from decametric.cli import cli
from decametric.errors import SceneError, UsageError
from decametric.evaluation.pictures import NO_DATA

SIZE = 48


@pytest.fixture(scope="module")
def scene():
    scene = made.scene_of(made.random_bands(120, 180, dates=2), 60)
    scene.attrs["provenance"] = {"scenes": [{"items": ["a"]}, {"items": ["b"]}]}
    return scene


@pytest.fixture(scope="module")
def store(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "out.zarr"
    dm.write(dm.sharpen(scene, "bilinear"), path)
    return path


def drawn(figure):
    """Title, picture (y, x, 3) and extent in km of every panel."""
    return [
        (axes.get_title(), np.asarray(axes.images[0].get_array()), axes.images[0].get_extent())
        for axes in figure.axes
    ]


def stretched(layers, *others):
    """What the docstring says: 2nd to 98th percentile of a band, of all details together."""
    pooled = np.concatenate([np.stack(part).reshape(3, -1) for part in (layers, *others)], axis=1)
    low, high = np.nanpercentile(pooled, (2, 98), axis=1)[..., None, None]
    return np.moveaxis(np.clip((np.stack(layers) - low) / (high - low), 0, 1), 0, -1)


def test_the_detail_shows_the_pixels_of_the_place_that_was_asked_for(scene):
    ten = dm.sharpen(scene, "bilinear")
    lon, lat = ten.odc.geobox[60:61, 90:91].geographic_extent.centroid.coords[0]
    _, (title, picture, extent) = drawn(dm.preview(ten, time=1, at=(lon, lat), size=SIZE))
    rows, cols = slice(36, 84), slice(66, 114)  # 24 pixels before the place, a multiple of 6
    layers = [ten[band].values[1, rows, cols] for band in ("B12", "B8A", "B05")]
    np.testing.assert_allclose(picture, stretched(layers), atol=1e-6)
    west, north = made.ORIGIN[0] / 1000 + 0.66, made.ORIGIN[1] / 1000 - 0.36
    np.testing.assert_allclose(extent, (west, west + 0.48, north - 0.48, north))
    assert title == "bilinear, 20 m to 10 m"


def test_what_is_compared_lies_on_the_same_ground_and_has_the_same_stretch(scene):
    ten = dm.sharpen(scene, "bilinear")
    _, before, after = drawn(dm.preview(ten, compare=scene, size=SIZE))
    assert [before[0], after[0]] == ["bicubic, 20 m to 10 m", "bilinear, 20 m to 10 m"]
    assert before[2] == after[2]
    rows, cols = slice(30, 78), slice(60, 108)
    cubic, linear = (
        [dm.sharpen(scene, name)[band].values[0, rows, cols] for band in ("B12", "B8A", "B05")]
        for name in ("bicubic", "bilinear")
    )
    np.testing.assert_allclose(before[1], stretched(cubic, linear), atol=1e-6)
    np.testing.assert_allclose(after[1], stretched(linear, cubic), atol=1e-6)


def test_a_dataset_of_coarser_pixels_is_drawn_with_its_own_pixels(scene):
    ten, twenty = dm.sharpen(scene, "bilinear"), scene["r20m"].to_dataset()
    _, (title, coarse, _), _ = drawn(dm.preview(ten, compare=twenty, size=SIZE))
    assert title == "as measured, 20 m"
    blocks = coarse.reshape(24, 2, 24, 2, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_only_the_blocks_of_the_detail_are_computed(scene):
    asked = []

    def block(block_info=None):
        asked.append(block_info[None]["chunk-location"])
        return np.full((1, 60, 60), 0.1, np.float32)

    chunks = ((1, 1), (60, 60), (60, 60, 60))
    data = {
        band: (("time", "y", "x"), da.map_blocks(block, chunks=chunks, dtype="float32"))
        for band in ("B12", "B8A", "B05")
    }
    ten = xr.Dataset(data, coords=scene["r10m"].to_dataset().coords)
    corner = ten.odc.geobox[30:31, 30:31].geographic_extent.centroid.coords[0]
    dm.preview(ten, compare=scene, time=1, at=corner, size=SIZE)
    assert set(asked) == {(1, 0, 0)}


def test_no_data_is_grey_and_the_detail_keeps_away_from_it():
    bands = made.random_bands(120, 180)
    for values in bands.values():
        values[..., : values.shape[-1] // 2 + 1] = np.nan
    half = made.scene_of(bands, 60)
    overview, detail = drawn(dm.preview(half, size=SIZE))
    assert (overview[1][:, :80] == NO_DATA).all()
    assert not (overview[1][:, 100:] == NO_DATA).all(axis=-1).any()
    assert not (detail[1] == NO_DATA).all()
    west = half["r10m"].to_dataset().odc.geobox[60:61, 30:31].geographic_extent.centroid
    with pytest.raises(SceneError, match="another place"):
        dm.preview(half, at=west.coords[0], size=SIZE)
    nowhere = made.scene_of({band: values * np.nan for band, values in bands.items()}, 60)
    with pytest.raises(SceneError, match="2020-01-01 has data"):
        dm.preview(nowhere)


def test_south_up_rasters_are_drawn_north_up(scene):
    ten = dm.sharpen(scene, "bilinear").compute()
    _, (_, expected, extent) = drawn(dm.preview(ten, size=SIZE))
    _, (_, picture, same) = drawn(dm.preview(ten.isel(y=slice(None, None, -1)), size=SIZE))
    assert same == pytest.approx(extent)
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(
    ("bands", "legend"),
    [
        ("B11", "B11"),
        (("B09", "B01"), "red: B01, green: both, blue: B09"),
        (("red", "green", "blue"), "red: B04, green: B03, blue: B02"),
    ],
)
def test_one_two_or_three_bands_are_drawn(scene, bands, legend):
    figure = dm.preview(scene, bands, size=SIZE)
    assert figure.get_supxlabel() == legend
    picture = drawn(figure)[1][1]
    grey = (picture == picture[..., :1]).all()
    assert grey == (bands == "B11")


def test_dates_are_positions_or_days(scene):
    for time in (1, -1, "2020-01-06"):
        assert drawn(dm.preview(scene, time=time, size=SIZE))[0][0] == "2020-01-06"
    alone = dm.sharpen(scene, "bilinear").isel(time=1)
    assert drawn(dm.preview(alone, compare=scene, size=SIZE))[0][0] == "2020-01-06"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bands": "B13"}, "'B13' is not"),
        ({"bands": ["B02", "B03", "B04", "B08"]}, "one to three bands, not 4"),
        ({"bands": ["B10"]}, "B10"),
        ({"time": 2}, "no date 2; the dates are 2020-01-01, 2020-01-06"),
        ({"time": "2020-01-02"}, "no date 2020-01-02"),
        ({"at": (0, 0)}, "outside; the data cover"),
        ({"size": 5}, "6 to 600"),
    ],
)
def test_wrong_arguments_are_named(scene, wrong, said):
    with pytest.raises(UsageError, match=said):
        dm.preview(scene, **wrong)


def test_grids_that_do_not_go_together_are_refused(scene):
    ten = dm.sharpen(scene, "bilinear")
    with pytest.raises(UsageError, match="in EPSG:32633, the other in EPSG:32632"):
        dm.preview(ten, compare=ten.odc.assign_crs("EPSG:32632"))
    with pytest.raises(UsageError, match="metres"):
        dm.preview(xr.Dataset({"B12": (("y", "x"), np.ones((6, 6)))}), "B12")
    with pytest.raises(UsageError, match=r"no B12, .*; its bands are B11"):
        dm.preview(ten[["B11"]])


def test_a_notebook_shows_it(scene):
    formatters = pytest.importorskip("IPython.core.formatters")
    figure = dm.preview(scene, size=SIZE)
    shown, _ = formatters.DisplayFormatter().format(figure)
    assert shown["image/png"].startswith(b"\x89PNG")


def run(*words):
    return CliRunner().invoke(cli, ["preview", *map(str, words)])


def test_the_verb_draws_a_store(store, tmp_path):
    result = run(store, "-o", tmp_path / "new" / "picture.png", "--time", "2020-01-06", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["drawn"] == ["2020-01-06", "bilinear, 20 m to 10 m"]
    assert (tmp_path / "new" / "picture.png").read_bytes().startswith(b"\x89PNG")
    group = run(store / "33UUB", "-o", tmp_path / "same.pdf", "--bands", "B01,B09")
    assert (group.exit_code, group.stdout) == (0, f"picture: {tmp_path / 'same.pdf'}\n")


def test_the_verb_names_tiles_formats_and_places(store, tmp_path):
    (tmp_path / "file").write_text("")
    for words, code, said in [
        ((store, "-o", tmp_path / "p.png", "--tile", "33XXX"), 2, "choose from 33UUB"),
        ((store, "-o", tmp_path / "p.doc"), 2, ".png"),
        ((store, "-o", tmp_path / "file" / "p.png"), 1, "another path"),
        ((tmp_path, "-o", tmp_path / "p.png"), 1, "not a Zarr store"),
    ]:
        result = run(*words)
        assert (result.exit_code, result.stdout) == (code, "")
        assert said in result.stderr
