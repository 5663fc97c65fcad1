"""Interpolation against SciPy and against what its kernels must reproduce; joining predictors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom

from decametric.bands import BANDS_20M, BANDS_60M, SHARPENED
from decametric.superres.predictor import (
    Bicubic,
    Bilinear,
    Interpolation,
    Joint,
    Predictor,
    of_resolution,
    parts,
    provenance,
    upsample,
)

RATIOS = pytest.mark.parametrize("ratio", [2, 6])
KERNELS = pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype="float32")


@RATIOS
@given(rows=st.integers(3, 12), cols=st.integers(3, 12), seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_bilinear_is_scipy_zoom_on_pixel_areas(ratio, rows, cols, seed):
    coarse = image(2, rows, cols, seed=seed)
    expected = [zoom(b, ratio, order=1, mode="reflect", grid_mode=True) for b in coarse]
    np.testing.assert_allclose(upsample(coarse, ratio, "bilinear"), expected, rtol=0, atol=2e-7)


@RATIOS
@KERNELS
def test_constants_are_reproduced_everywhere(ratio, kernel):
    coarse = np.full((1, 3, 4), 0.3, "f4")
    np.testing.assert_allclose(upsample(coarse, ratio, kernel), 0.3, rtol=1e-6)


@RATIOS
@KERNELS
def test_ramps_are_reproduced_inside(ratio, kernel):
    rows, cols = np.indices((12, 10), dtype="float32")
    fine = upsample((3 * rows + cols)[None], ratio, kernel)[0]
    centres = [(np.arange(n * ratio) + 0.5) / ratio - 0.5 for n in (12, 10)]
    expected = 3 * centres[0][:, None] + centres[1]
    inside = np.s_[2 * ratio : -2 * ratio, 2 * ratio : -2 * ratio]
    np.testing.assert_allclose(fine[inside], expected[inside], atol=1e-5)


@RATIOS
def test_bicubic_reproduces_a_parabola_inside(ratio):
    line = np.arange(12, dtype="f4") ** 2
    fine = upsample(np.tile(line, (1, 12, 1)), ratio, "bicubic")[0, 3 * ratio]
    centres = (np.arange(12 * ratio) + 0.5) / ratio - 0.5
    inside = slice(2 * ratio, -2 * ratio)
    np.testing.assert_allclose(fine[inside], centres[inside] ** 2, rtol=1e-5)


def test_bicubic_has_the_weights_of_keys():
    point = np.zeros((1, 9, 9), "f4")
    point[0, 4, 4] = 1
    line = upsample(point, 2, "bicubic")[0, :, 8]
    # Keys 1981 with a = -0.5 at distances 0.25, 0.75, 1.25, 1.75.
    near = [1.5 * d**3 - 2.5 * d**2 + 1 for d in (0.25, 0.75)]
    far = [-0.5 * (d**3 - 5 * d**2 + 8 * d - 4) for d in (1.25, 1.75)]
    assert [*near, *far] == pytest.approx([0.8671875, 0.2265625, -0.0703125, -0.0234375])
    half = np.array([*far[::-1], *near[::-1]])
    np.testing.assert_allclose(line[5:13], near[0] * np.concatenate([half, half[::-1]]), atol=1e-7)
    assert not line[:5].any()
    assert not line[13:].any()


@KERNELS
def test_edges_are_mirrored_about_the_raster_edge(kernel):
    coarse = image(1, 5, 6)
    mirrored = np.pad(coarse, [(0, 0), (3, 3), (3, 3)], mode="symmetric")
    whole = upsample(mirrored, 2, kernel)[:, 6:-6, 6:-6]
    np.testing.assert_array_equal(upsample(coarse, 2, kernel), whole)


@pytest.mark.parametrize("make", [Bilinear, Bicubic])
def test_interpolation_is_a_predictor_that_reads_only_what_it_returns(make):
    predictor = make()
    assert isinstance(predictor, Predictor)
    assert predictor.bands_in == predictor.bands_out == SHARPENED
    assert predictor.halo == 12
    assert pickle.loads(pickle.dumps(predictor)) == predictor  # noqa: S301  (our own bytes)
    assert provenance(predictor) == {"name": predictor.name}
    assert parts(predictor) == (predictor,)


def test_bands_come_in_the_order_asked_for():
    b20, b60 = image(2, 6, 6), image(1, 2, 2)
    result = Bicubic(("B11", "B09", "B05"))(np.empty((0, 12, 12), "f4"), b20, b60)
    fine = upsample(b20, 2, "bicubic")
    np.testing.assert_array_equal(result, [fine[0], upsample(b60, 6, "bicubic")[0], fine[1]])


@pytest.mark.parametrize("make", [Bilinear, Bicubic])
def test_nothing_beyond_the_halo_matters(make):
    predictor = make()
    step = predictor.halo
    b20, b60 = image(6, 24, 24), image(2, 8, 8)
    core = np.s_[:, step:-step, step:-step]
    whole = predictor(image(4, 48, 48), b20, b60)[core]
    # The window ends at the halo in the one, and goes on with other values in the other.
    wide = [np.pad(b, [(0, 0), (n, n), (n, n)], constant_values=9) for b, n in ((b20, 6), (b60, 2))]
    other = predictor(image(4, 72, 72), *wide)[:, 12:-12, 12:-12][core]
    np.testing.assert_array_equal(whole, other)


class Echo:
    """Returns its first 10 m band as every band it owes, and remembers what it was given."""

    def __init__(self, bands_in, bands_out, halo, name):
        self.bands_in, self.bands_out, self.halo, self.name = bands_in, bands_out, halo, name

    def __call__(self, *arrays):
        self.given = arrays
        return np.stack([arrays[0][0]] * len(self.bands_out))


def test_joint_gives_each_member_its_bands_in_its_order():
    first = Echo(("B08", "B04", "B11"), ("B11",), 6, "one")
    second = Echo(("B02", "B11", "B05", "B09"), BANDS_60M, 18, "two")
    joint = Joint("both", (first, second), "L2A")
    assert joint.bands_in == ("B08", "B04", "B11", "B02", "B05", "B09")
    assert joint.bands_out == ("B11", "B01", "B09")
    assert joint.halo == 18
    assert parts(joint) == (first, second)
    assert provenance(joint) == {"name": "both", "parts": [{"name": "one"}, {"name": "two"}]}
    b10, b20, b60 = image(3, 12, 12), image(2, 6, 6), image(1, 2, 2)
    result = joint(b10, b20, b60)
    np.testing.assert_array_equal(result, b10[[0, 2, 2]])
    expected = ((b10[:2], b20[:1], b60[:0]), (b10[2:], b20, b60))
    for member, arrays in zip((first, second), expected, strict=True):
        for given_array, array in zip(member.given, arrays, strict=True):
            np.testing.assert_array_equal(given_array, array)


def test_helpers_tell_resolution_and_name():
    assert of_resolution(("B01", "B11", "B04", "B05"), 20) == ("B11", "B05")
    assert of_resolution(BANDS_20M, 10) == ()
    nameless = type("Mine", (), {})()
    assert provenance(nameless) == {"name": "Mine"}
    assert Interpolation("bilinear", ("B11",)) == Bilinear(("B11",))
