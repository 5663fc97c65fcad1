"""Synthetic scenes are what they say: nested, consistent, the same wherever they are cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

import decametric as dm
from decametric.bands import BANDS, SHARPENED, group
from decametric.degradation import Degradation
from decametric.testing import lazy_scene, synthetic_scene, synthetic_truth
from decametric.testing.land import BAND_ORDER, SPECTRA, Land

SIZE = 240


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return synthetic_scene(tmp_path_factory.mktemp("scene"), size=SIZE)


@pytest.fixture(scope="module")
def scene(catalog):
    return dm.load(catalog)


@pytest.fixture(scope="module")
def truth(catalog):
    return synthetic_truth(catalog)


@settings(max_examples=20, deadline=None)
@given(row=st.integers(-50, 5000), col=st.integers(-50, 5000), cut=st.integers(1, 39))
def test_a_place_looks_the_same_from_every_block(row, col, cut):
    land = Land(seed=3, coast=2000)
    whole = land.reflectance((row, row + 40), (col, col + 40), bands=("B04", "B11"))
    left = land.reflectance((row, row + 40), (col, col + cut), bands=("B04", "B11"))
    below = land.reflectance((row + cut, row + 40), (col, col + 40), bands=("B11",))
    assert np.array_equal(whole[:, :, :cut], left)
    assert np.array_equal(whole[1:, cut:], below)


def test_land_is_mixed_from_its_materials():
    block = Land(seed=1, coast=300).reflectance((0, 400), (0, 400))
    assert block.shape == (len(BAND_ORDER), 400, 400)
    assert block.min() > 0
    assert block.max() < 1.5 * np.max(list(SPECTRA.values())) / 100
    assert len(np.unique(block[3].round(3))) > 100


def test_seasons_change_the_fields_and_not_the_sea():
    land = Land(seed=1, coast=200)
    spring, summer = (land.reflectance((0, 60), (0, 600), date=date) for date in (0, 1))
    assert np.abs(spring - summer)[:, :, :100].max() > 0.1
    assert np.array_equal(spring[:, :, 500:], summer[:, :, 500:])


def test_items_read_as_a_scene_of_the_contract(scene):
    assert scene.attrs["level"] == "L2A"
    assert scene.attrs["tile"] == "33UUB"
    for resolution in (10, 20, 60):
        child = scene[group(resolution)]
        assert dict(child.sizes) == {
            "time": 2,
            "y": SIZE * 10 // resolution,
            "x": SIZE * 10 // resolution,
        }
    assert set(scene["r20m"].data_vars) == {"B05", "B06", "B07", "B8A", "B11", "B12", "SCL"}
    assert [s["offset"] for s in scene.attrs["provenance"]["scenes"]] == [[-1000], [-1000]]


@pytest.mark.parametrize("band", SHARPENED)
def test_coarse_bands_are_the_degraded_truth_up_to_noise(band, scene, truth):
    resolution = BANDS[band].resolution
    measured = scene[group(resolution)][band].isel(time=0).values
    expected = Degradation(resolution // 10).forward(truth[band].values[0])
    error = (measured - expected) * 10000
    assert np.abs(error).max() < 40  # DN: noise of 5 and two roundings
    assert np.abs(error.mean()) < 2


def test_truth_has_the_same_times_and_pixels_as_the_scene(scene, truth):
    fine = scene["r10m"]
    assert np.array_equal(truth.time.values, fine.time.values)
    assert truth.odc.geobox == fine.to_dataset().odc.geobox


def test_the_last_date_lacks_a_wedge_in_every_band(scene):
    for resolution in (10, 20, 60):
        for name, data in scene[group(resolution)].data_vars.items():
            empty = (data == 0 if name == "SCL" else data.isnull()).values
            assert not empty[0].any()
            edge = empty[1].sum(axis=1)
            assert edge[0] > edge[-1] >= 0  # a diagonal, wider in the north
            assert 0.02 < empty[1].mean() < 0.3


def test_classes_agree_with_the_bands(scene):
    fine = Degradation(2)
    red, nir = (fine.forward(scene["r10m"][b].values[0]) for b in ("B04", "B08"))
    classes = scene["r20m"]["SCL"].values[0]
    assert set(np.unique(classes)) <= {4, 5, 6}
    vegetation, water = (nir - red) / (nir + red) > 0.45, nir < 0.03
    assert (classes[vegetation] == 4).all()
    assert (classes[water] == 6).all()


def test_level_offset_and_place_are_as_asked(tmp_path):
    catalog = synthetic_scene(
        tmp_path, size=60, dates=1, level="L1C", offset=0, epsg=32733, tile="33LUH",
        origin=(300000, 8799940),
    )  # fmt: skip
    (item,) = pystac.Catalog.from_file(str(catalog)).get_items()
    scene = dm.load(catalog)
    assert scene.attrs["level"] == "L1C"
    assert scene.attrs["provenance"]["scenes"][0]["offset"] == [0]
    assert "SCL" not in scene["r20m"]
    assert scene["r60m"].to_dataset().odc.geobox.transform.f % 60 == 40
    assert "scl" not in item.assets


def test_files_are_cogs_with_relative_links(catalog):
    (path,) = Path(catalog).parent.glob("*0514*/*.json")
    for asset in json.loads(path.read_text())["assets"].values():
        assert asset["href"].startswith("./")
        with rasterio.open(path.parent / asset["href"]) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.nodata == 0
            assert list(file.shape) == asset["proj:shape"]


def test_the_same_seed_writes_the_same_files(tmp_path):
    one, two, other = (
        synthetic_scene(tmp_path / str(n), size=60, dates=1, seed=seed)
        for n, seed in enumerate((0, 0, 1))
    )

    def content(catalog):
        return {
            p.relative_to(catalog.parent): p.read_bytes() for p in catalog.parent.rglob("*.tif")
        }

    assert content(one) == content(two)
    assert content(one) != content(other)


def test_a_lazy_scene_is_the_same_for_every_chunking():
    one, other = lazy_scene(132, chunk=132), lazy_scene(132, chunk=72)
    for resolution in (10, 20, 60):
        assert one[group(resolution)].to_dataset().identical(other[group(resolution)].to_dataset())


def test_a_whole_tile_is_lazy():
    scene = lazy_scene(10980)
    assert scene["r10m"]["B02"].shape == (1, 10980, 10980)
    corner = scene["r20m"]["B11"][0, -3:, -3:].values
    assert np.isfinite(corner).all()


def test_lazy_scenes_have_the_form_of_loaded_ones(scene):
    made = lazy_scene(SIZE, dates=2)
    for resolution in (10, 20, 60):
        ours, theirs = (s[group(resolution)].to_dataset() for s in (made, scene))
        assert set(ours.data_vars) == set(theirs.data_vars)
        assert ours.odc.geobox == theirs.odc.geobox
        assert {n: v.dtype for n, v in ours.items()} == {n: v.dtype for n, v in theirs.items()}
        assert np.array_equal(ours.time.values, theirs.time.values)
    assert set(made.attrs) == set(scene.attrs)
