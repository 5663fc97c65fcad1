"""The forward model against SciPy, its adjoint, masks, and the lazy form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.xr import ODCExtensionDs
from scipy.ndimage import gaussian_filter

import made_scenes as made
from decametric.bands import NETWORK_BANDS
from decametric.degradation import MIN_WEIGHT, Degradation, degrade, degrade_image
from decametric.errors import UsageError

RATIOS = pytest.mark.parametrize("ratio", [2, 6])


def block_mean(values, ratio):
    *lead, rows, cols = values.shape
    return values.reshape(*lead, rows // ratio, ratio, cols // ratio, ratio).mean((-3, -1))


def oracle(values, ratio):
    """Wald's protocol in the words of SciPy, in double precision."""
    values = values.astype("float64")
    sigma = [0] * (values.ndim - 2) + [1 / ratio] * 2
    return block_mean(gaussian_filter(values, sigma, mode="reflect"), ratio)


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype="float32")


@RATIOS
@pytest.mark.parametrize("shape", [(36, 48), (3, 12, 60), (6, 6), (2, 2, 18, 6)])
def test_forward_is_blur_and_block_mean(ratio, shape):
    values = image(*shape)
    result = Degradation(ratio).forward(values)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, oracle(values, ratio), rtol=0, atol=1e-6)


@RATIOS
def test_forward_keeps_constants_and_the_ramp(ratio):
    operator = Degradation(ratio)
    np.testing.assert_allclose(operator.forward(np.full((24, 24), 0.3, "f4")), 0.3, rtol=1e-6)
    ramp = np.tile(np.arange(48, dtype="f4"), (24, 1))
    centres = np.arange(48 // ratio) * ratio + (ratio - 1) / 2
    inside = slice(2, -2)
    np.testing.assert_allclose(operator.forward(ramp)[:, inside], [centres[inside]] * (24 // ratio))


@RATIOS
def test_kernel_is_normalised_symmetric_and_no_longer_than_its_radius(ratio):
    operator = Degradation(ratio)
    assert operator.kernel.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_array_equal(operator.kernel, operator.kernel[::-1])
    assert operator.radius == {2: 2, 6: 0}[ratio]
    point = np.zeros((60, 60), "f4")
    point[30, 30] = 1
    blurred = operator.forward(point)
    touched = np.argwhere(blurred)
    assert touched.min() * ratio >= 30 - operator.radius - ratio + 1
    assert touched.max() * ratio <= 30 + operator.radius


@RATIOS
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 6), cols=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_adjoint_identity_edges_included(ratio, seed, rows, cols):
    operator = Degradation(ratio)
    fine = image(rows * 6, cols * 6, seed=seed) - 0.5
    coarse = image(rows * 6 // ratio, cols * 6 // ratio, seed=seed + 1) - 0.5
    left = np.vdot(operator.forward(fine).astype("f8"), coarse.astype("f8"))
    right = np.vdot(fine.astype("f8"), operator.adjoint(coarse).astype("f8"))
    assert left == pytest.approx(right, abs=1e-6 * coarse.size)


@RATIOS
def test_solve_inverts_forward_times_adjoint(ratio):
    operator = Degradation(ratio)
    coarse = image(20, 30)
    again = operator.forward(operator.adjoint(operator.solve(coarse)))
    np.testing.assert_allclose(again, coarse, rtol=0, atol=3e-4)


@RATIOS
def test_projection_support_bounds_what_a_step_reads(ratio):
    operator = Degradation(ratio)
    core, reach = slice(48, 60), operator.projection_support
    assert reach == {2: 12, 6: 0}[ratio]

    def step(values):
        return operator.adjoint(operator.solve(operator.forward(values)))[core, core]

    def changed_beyond(margin):
        other, inside = image(108, 108, seed=2), slice(48 - margin, 60 + margin)
        other[inside, inside] = values[inside, inside]
        return other

    values = image(108, 108, seed=1)
    np.testing.assert_array_equal(step(changed_beyond(reach)), step(values))
    if reach:
        assert not np.array_equal(step(changed_beyond(reach - 2)), step(values))


@RATIOS
def test_masked_values_carry_no_weight(ratio):
    rng = np.random.default_rng(1)
    values, valid = image(2, 24, 36), rng.random((2, 24, 36)) > 0.3
    poisoned = np.where(valid, values, np.float32(np.nan))
    value, weight = Degradation(ratio).weighted(poisoned, valid)
    expected_weight = oracle(valid, ratio)
    expected = oracle(np.where(valid, values, 0), ratio) / expected_weight
    np.testing.assert_allclose(weight, expected_weight, atol=1e-6)
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    other = np.where(valid, values, np.float32(9999))
    np.testing.assert_array_equal(Degradation(ratio).weighted(other, valid)[0], value)


@RATIOS
def test_where_nothing_is_valid_value_and_weight_are_zero(ratio):
    values = np.full((12, 12), np.nan, "f4")
    value, weight = Degradation(ratio).weighted(values, np.zeros((12, 12), bool))
    assert not value.any()
    assert not weight.any()


@RATIOS
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("shape", [(72, 108), (60, 42)])
def test_lazy_equals_whole_for_every_chunking(ratio, gaps, shape):
    bands = made.random_bands(*shape, dates=2)
    bands = made.with_gaps(bands) if gaps else bands
    results = [degrade(made.scene_of(bands, chunk), ratio) for chunk in (12, 30, 36, 108)]
    for res, names in NETWORK_BANDS.items():
        whole = 6 * 10 // res * ratio
        for band in names[:2]:
            found = [result[f"r{res}m"][band].values for result in results]
            for other in found[1:]:
                np.testing.assert_array_equal(found[0], other)
            rows, cols = (size * 10 // res // whole * whole for size in shape)
            values = bands[band][:, :rows, :cols]
            valid = np.isfinite(values)
            value, weight = Degradation(ratio).weighted(values, valid)
            expected = np.where(weight >= MIN_WEIGHT, value, np.float32(np.nan))
            np.testing.assert_array_equal(found[0], expected)
            np.testing.assert_allclose(weight, oracle(valid, ratio), atol=1e-6)
        assert gaps == bool(np.isnan(bands[names[0]]).any())


@RATIOS
def test_degraded_scene_is_coarser_cropped_and_still_nested(ratio):
    bands = made.random_bands(78, 90, dates=2)
    scene = made.scene_of({**bands, "SCL": np.ones((2, 39, 45), "u1")}, 36)
    result = degrade(scene, ratio)
    assert isinstance(result["r10m"].to_dataset().odc, ODCExtensionDs)
    rows, cols = 78 // (6 * ratio) * 6, 90 // (6 * ratio) * 6
    corners = set()
    for res in (10, 20, 60):
        child = result[f"r{res}m"].to_dataset()
        step = res // 10
        assert dict(child.sizes) == {"time": 2, "y": rows // step, "x": cols // step}
        box = child.odc.geobox
        assert (box.resolution.x, box.resolution.y) == (res * ratio, -res * ratio)
        corners.add((box.transform.c, box.transform.f))
        assert set(child.data_vars) == set(NETWORK_BANDS[res])
        np.testing.assert_array_equal(child.time, scene[f"r{res}m"].time)
    assert corners == {made.ORIGIN}
    assert result.attrs == scene.attrs


@RATIOS
@pytest.mark.parametrize("operator", ["mtf", "mean"])
@pytest.mark.parametrize("gaps", [False, True])
def test_other_operators_are_lazy_and_equal_for_every_chunking(ratio, operator, gaps):
    bands = made.random_bands(72, 108, dates=2)
    bands = made.with_gaps(bands) if gaps else bands
    results = [degrade(made.scene_of(bands, chunk), ratio, operator) for chunk in (12, 36, 108)]
    for name, res in (("B04", 10), ("B11", 20), ("B09", 60)):
        first, *others = (result[f"r{res}m"][name] for result in results)
        assert first.dtype == np.float32
        for other in others:
            np.testing.assert_array_equal(first, other)
        whole = 60 // res * ratio
        rows, cols = (size * 10 // res // whole * whole for size in (72, 108))
        fine = made.scene_of(bands, 108)[f"r{res}m"][name][:, :rows, :cols]
        np.testing.assert_array_equal(first, degrade_image(fine, ratio, operator))
        assert first.shape == (2, rows // ratio, cols // ratio)


def test_the_modulation_transfer_may_be_given():
    scene = made.scene_of(made.random_bands(36, 36), 36)
    given, own = (degrade(scene, 2, "mtf", nyquist=value) for value in ({"B11": 0.3}, None))
    assert not np.array_equal(given["r20m"]["B11"], own["r20m"]["B11"])
    np.testing.assert_array_equal(given["r20m"]["B12"], own["r20m"]["B12"])
    with pytest.raises(UsageError, match="operator='box' is not known"):
        degrade(scene, 2, "box")


def test_degrading_computes_nothing():
    bands = {band: made.untouchable((1, 6, 6), 6) for band in ("B01", "B09")}
    result = degrade(made.scene_of(bands, 36), 2)
    with pytest.raises(AssertionError, match="must not be read"):
        result["r60m"]["B01"].compute()


def test_a_scene_in_memory_is_degraded_too():
    bands = made.random_bands(36, 36)
    lazy = made.scene_of(bands, 36)
    loaded = degrade(lazy.load(), 6)
    expected = degrade(made.scene_of(bands, 18), 6)
    np.testing.assert_array_equal(loaded["r10m"]["B04"], expected["r10m"]["B04"])


@pytest.mark.parametrize("ratio", [1, 3, 0, 12])
def test_other_ratios_are_refused(ratio):
    scene = made.scene_of(made.random_bands(36, 36), 36)
    with pytest.raises(UsageError, match=f"ratio={ratio} is not a ratio of Sentinel-2; use 2"):
        degrade(scene, ratio)


def test_a_scene_smaller_than_a_coarse_pixel_is_refused():
    with pytest.raises(UsageError, match=r"too small to be degraded by 6: .*'x': 30"):
        degrade(made.scene_of(made.random_bands(36, 30), 30), 6)
