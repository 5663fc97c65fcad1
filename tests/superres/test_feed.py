"""Exposure: by hand, nothing where the network knows the light, blind to vapour, and undone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from decametric.bands import NETWORK_BANDS
from decametric.superres import feed, networks
from decametric.superres.feed import exposures, network_inputs, network_output
from decametric.superres.predictor import of_resolution
from decametric.superres.presets import BANDS_OF_RATIO, load_predictor, save_bundle
from decametric.training.batches import arrays

RATIOS = pytest.mark.parametrize("ratio", [2, 6])
B8A, B09 = feed.B8A, feed.B09


def images(ratio, size=36, count=2, seed=0):
    """Random patches by resolution, darker than the ceiling."""
    rng = np.random.default_rng(seed)
    sizes = {res: size * 10 // res for res in (10, 20, 60) if res <= 10 * ratio}
    return {
        res: rng.uniform(0.05, 0.4, (count, len(NETWORK_BANDS[res]), n, n)).astype("f4")
        for res, n in sizes.items()
    }


def surroundings(image, step, context):
    """Mean about each coarse pixel, summed pixel by pixel."""
    band, rows, cols = image.shape
    coarse = image.reshape(band, rows // step, step, cols // step, step).mean((2, 4))
    around = np.pad(coarse, [(0, 0), (context, context), (context, context)], mode="symmetric")
    size = 2 * context + 1
    windows = np.lib.stride_tricks.sliding_window_view(around, (size, size), (1, 2))
    return windows.mean((3, 4))


def test_factors_by_hand():
    bands, context = images(6, size=48), 2
    bands[20][:, :4] *= 4  # brighter than the ceiling for the most part
    found = exposures(bands, context)
    for res, image in bands.items():
        mean = surroundings(image[1], 60 // res, context)
        expected = np.minimum(1, feed.CEILING / mean)
        others = [n for n in range(len(mean)) if (res, n) != (60, B09)]
        np.testing.assert_allclose(found[res][1, others], expected[others], rtol=1e-5)
    b8a, b09 = (surroundings(bands[r][1], 60 // r, context)[n] for r, n in ((20, B8A), (60, B09)))
    expected = (np.minimum(b8a, feed.CEILING) + feed.FLOOR) / (b09 + feed.FLOOR)
    np.testing.assert_allclose(found[60][1, B09], expected, rtol=1e-5)
    assert found[20].min() < 0.9


def test_what_a_network_knows_it_sees_as_it_is():
    bands = images(2)
    for plain, exposed in zip(network_inputs(bands)[0], network_inputs(bands, 3)[0], strict=True):
        np.testing.assert_array_equal(exposed, plain)
    assert network_inputs(bands)[1] == 1


def test_snow_is_seen_no_brighter_than_the_ceiling_about_each_pixel():
    bands = {res: image * 4 for res, image in images(2, size=96).items()}
    inputs, gain = network_inputs(bands, 3)
    for given in inputs:
        inner = given[:, 20:-20, 20:-20].mean((1, 2)) * feed.SCALING
        np.testing.assert_allclose(inner, feed.CEILING, rtol=0.05)
    assert gain.shape == (2, 6, 96, 96)


def test_black_and_negative_bands_have_finite_factors():
    bands = {res: np.full_like(image, -0.01) for res, image in images(6).items()}
    found = exposures(bands, 3)
    np.testing.assert_array_equal(found[10], 1)
    np.testing.assert_array_equal(found[60], 1)


@RATIOS
@pytest.mark.parametrize("context", [0, 2])
def test_weighted_errors_of_a_training_are_those_of_the_reflectance(ratio, context):
    bands = {res: image * 3 for res, image in images(ratio).items()}
    rng = np.random.default_rng(1)
    bands_out = len(NETWORK_BANDS[10 * ratio])
    target = rng.uniform(0.1, 1.2, (2, bands_out, 36, 36)).astype("f4")
    target[:, :, 3] = np.nan
    named = {f"b{res}": image for res, image in bands.items()}
    inputs, compared = arrays({**named, "target": target}, context)
    given, gain = network_inputs(bands, context)
    for one, other in zip(given, inputs, strict=True):
        np.testing.assert_array_equal(one, other)
    values, weights = np.split(compared, 2, axis=-1)
    output = values + rng.normal(0, 1, values.shape).astype("f4")
    error = network_output(output, gain) - target
    found = np.moveaxis((output - values) * weights * feed.SCALING, -1, 1)
    unknown = np.isnan(target)
    np.testing.assert_array_equal(found[unknown], 0)
    np.testing.assert_allclose(found[~unknown], error[~unknown], atol=2e-6)
    assert (np.abs(gain - 1).max() > 0.1) == bool(context)


def preset(folder, context):
    """Both ratios, with random weights and a tail that does something."""
    for ratio, bands in BANDS_OF_RATIO.items():
        keras.utils.set_random_seed(ratio)
        model = networks.fast(*bands, blocks=1, features=8)
        kernel, bias = model.get_layer("tail").get_weights()
        rng = np.random.default_rng(ratio)
        model.get_layer("tail").set_weights([rng.normal(0, 0.01, kernel.shape), bias])
        save_bundle(
            model, folder / f"{ratio}x", name="p", ratio=ratio, level="L1C", context=context
        )
    return load_predictor(folder, consistency=False)


@pytest.mark.parametrize("context", [0, 3])
def test_any_amount_of_vapour_gives_the_same_detail(context, tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "FLOOR", 1e-7)
    member = preset(tmp_path, context).parts[1]
    bands = {res: image[0] for res, image in images(6, size=72).items()}
    factor = np.float32([1, 0.3])[:, None, None]  # of B01 and B09
    own = member(*bands.values())
    other = member(*{**bands, 60: bands[60] * factor}.values()) / factor
    deviation = np.abs(other - own).max()
    assert deviation < 2e-5 if context else deviation > 1e-3


@RATIOS
def test_nothing_beyond_the_halo_reaches_the_output(ratio, tmp_path):
    member = preset(tmp_path / "exposed", 3).parts[ratio == 6]
    halo, edge = member.halo, 2 * member.halo + 24
    assert halo > preset(tmp_path / "plain", 0).parts[ratio == 6].halo
    bands = {res: image[0] * 2 for res, image in images(6, size=edge).items()}
    first = member(*bands.values())
    for res, image in bands.items():
        step = res // 10
        changed, inner = image * 2, slice(6 // step, -6 // step)
        changed[:, inner, inner] = image[:, inner, inner]
        other = member(*{**bands, res: changed}.values())
        core = slice(halo + 6, -halo - 6)
        np.testing.assert_array_equal(other[:, core, core], first[:, core, core])
        if of_resolution(member.bands_in, res):
            assert np.abs(other - first).max() > 1e-3
