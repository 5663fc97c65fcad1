"""ISSM: the numbers of the package it comes from, edges, gaps, and what it does not tell."""

from __future__ import annotations

import hashlib

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from decametric.errors import UsageError
from decametric.metrics import margin
from decametric.metrics.edges import find_edges, issm
from metrics import oracle

SIXTEENTHS = 4080
"""Data range at which 16 digital numbers are one level of 255, as in image-similarity-measures."""


@pytest.fixture(scope="module")
def scene():
    """Two bands of a reference and a test image, with strong edges."""
    reference = oracle.synth(20240601, 2, 150, 170)
    test = oracle.degrade_synth(reference, 20240602, 1.02, 15.0, 30.0, 1)
    return [xr.DataArray(values, dims=("band", "y", "x")) for values in (reference, test)]


def score(x, y, **options):
    return issm(x, y, **{"data_range": SIXTEENTHS, **options})


def wrapped(image):
    """What an image becomes if it is cast to uint8 after the division by 16."""
    return (image // 16 % 256 * 16).astype("uint16")


@pytest.mark.parametrize("pair", oracle.PAIRS)
def test_numbers_of_the_previous_package(shared_data, pair):
    known = oracle.pair(shared_data, pair)
    keys = ("pairs", pair, "legacy_image_similarity_measures", "uint16", "issm")
    found = score(wrapped(known.reference), wrapped(known.test), dim=..., entropy="counts")
    assert float(found) == pytest.approx(oracle.expected(shared_data, *keys), rel=1e-6)


@pytest.mark.parametrize(
    ("bands", "thresholds", "count", "digest"),
    [
        ([0], (100, 200), 2619, "5a55ea294e1babc4"),
        ([0], (30, 300), 4853, "444ee740d90f9378"),
        ([2], (100, 200), 2406, "aa55895b7a191419"),
        ([0, 1, 2], (100, 200), 2619, "e1e61457aa08ca17"),
        ([0, 1, 2], (30, 300), 4552, "72668437c1ad1468"),
    ],
)
def test_edges_are_those_of_opencv(bands, thresholds, count, digest):
    levels = oracle.synth(20240601, 4, 176, 224)[bands] // 16
    inside = np.pad(np.ones((176, 224), bool), 2)
    around = np.pad(levels.astype("int32"), [(0, 0), (2, 2), (2, 2)], mode="symmetric")
    edges = find_edges(around, inside, *thresholds)[2:-2, 2:-2]
    assert edges.sum() == count
    assert hashlib.sha256(np.packbits(edges).tobytes()).hexdigest().startswith(digest)


def test_it_is_the_formula(scene):
    x, y = (image[0] for image in scene)
    levels = [np.pad(image.values // 16, 2, mode="symmetric").astype("int32") for image in (x, y)]
    inside = np.pad(np.ones(x.shape, bool), 2)
    g, h = (find_edges(each[None], inside, 100, 200)[2:-2, 2:-2].ravel() for each in levels)
    r = np.corrcoef(g, h)[0, 1]
    counts = np.histogram2d(x.values.ravel(), y.values.ravel(), 10, [[0, SIXTEENTHS]] * 2)[0]
    shares = counts[counts > 0] / counts.sum()
    e = -(shares * np.log2(shares)).sum()
    s = float(uniform_ssim(x, y))
    expected = (0.8 * r * e + np.e) / (0.3 * r * e + 0.5 * e + 0.7 * s + np.e)
    assert float(score(x, y)) == pytest.approx(expected, rel=1e-12)


def uniform_ssim(x, y):
    from skimage.metrics import structural_similarity

    return structural_similarity(x.values, y.values, data_range=SIXTEENTHS)


def test_identical_images_do_not_score_one(scene):
    found = score(scene[0], scene[0])
    assert ((found > 0.7) & (found < 0.9)).all()


@pytest.mark.parametrize(
    "chunks", [{"y": 60, "x": 75}, {"band": 2, "y": (7, 143)}, {"band": 1, "y": 1, "x": -1}]
)
@pytest.mark.parametrize("dim", [("y", "x"), ("band", "y", "x")])
def test_chunks_change_nothing(scene, chunks, dim):
    x, y = scene
    lazy = score(x.chunk(chunks), y, dim=dim)
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_allclose(lazy, score(x, y, dim=dim), rtol=1e-12)


def test_seams_between_blocks_are_invisible(scene, monkeypatch):
    whole = score(*scene)
    monkeypatch.setattr(margin, "TILE", 100)
    np.testing.assert_allclose(score(*scene), whole, rtol=1e-12)


def test_what_is_masked_does_not_matter(scene):
    x, y = (image.astype(float) for image in scene)
    mask = xr.DataArray(oracle.disc_mask(5, 150, 170), dims=("y", "x"))
    found = score(x, y, mask=mask)
    for gap in (-1e6, np.nan, np.inf, 4000.0):
        np.testing.assert_array_equal(score(x.where(mask, gap), y, mask=mask), found)
    np.testing.assert_array_equal(score(x, y.where(mask)), found)
    np.testing.assert_allclose(score(x, y, weights=mask * 3.0), found, rtol=1e-12)
    assert (found != score(x, y)).all()


def test_where_there_are_no_edges_there_is_no_number(scene):
    x, y = scene
    assert np.isnan(score(x * 0 + 100, y)).all()
    assert np.isnan(score(x, y, mask=xr.zeros_like(x, dtype=bool))).all()
    gap = y.astype(float)
    gap[0, 3, 4] = np.nan
    np.testing.assert_array_equal(np.isnan(score(x, gap, skipna=False)), [True, False])


def test_levels_are_clipped_and_never_wrap(scene):
    x, y = (image.astype("int32") for image in scene)
    bright = [image.where(image < 1500, 5000) for image in (x, y)]
    clipped = [image.clip(max=SIXTEENTHS) for image in bright]
    found = score(*bright), score(*clipped)
    np.testing.assert_allclose(*found, rtol=1e-2)  # only SSIM sees the difference


@pytest.mark.parametrize(
    "options", [{"bins": 0}, {"thresholds": (200, 100)}, {"entropy": "bits"}, {"data_range": None}]
)
def test_what_cannot_be_is_refused(scene, options):
    with pytest.raises(UsageError):
        score(*scene, **options)


def test_nothing_is_read_when_called(scene):
    def never(block):
        raise AssertionError(block)

    x, y = scene
    untouched = x.copy(data=da.from_array(x.values, chunks=64).map_blocks(never, dtype=x.dtype))
    lazy = score(untouched, y)
    with pytest.raises(AssertionError):
        lazy.compute()
