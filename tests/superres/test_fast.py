"""A network that thinks on the 20 m grid leaves no seams: chunks change no bit, windows nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import made_scenes as made
from decametric.superres import networks
from decametric.superres.inference import sharpen
from decametric.superres.presets import BANDS_OF_RATIO, load_predictor, save_bundle

SIZE = (192, 252)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Two small networks with random weights and a tail that does something."""
    folder = tmp_path_factory.mktemp("presets") / "quick"
    for ratio, bands in BANDS_OF_RATIO.items():
        keras.utils.set_random_seed(ratio)
        model = networks.fast(*bands, blocks=1, features=8)
        kernel, bias = model.get_layer("tail").get_weights()
        rng = np.random.default_rng(ratio)
        model.get_layer("tail").set_weights([rng.normal(0, 0.01, kernel.shape), bias])
        save_bundle(model, folder / f"{ratio}x", name="quick", ratio=ratio, level="L1C")
    return folder


def sharpened(bands, preset, chunk, window):
    result = sharpen(made.scene_of(bands, chunk), load_predictor(preset), window=window)
    return np.stack([result[band].values for band in load_predictor(preset).bands_out])


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
def test_chunks_change_no_bit(preset, gaps):
    bands = made.random_bands(*SIZE)
    bands = made.with_gaps(bands) if gaps else bands
    first, *others = (sharpened(bands, preset, chunk, 66) for chunk in (66, 78, 252))
    for other in others:
        np.testing.assert_array_equal(first, other)
    assert np.isnan(first).any() == gaps


def test_windows_change_nothing_but_rounding(preset):
    """So the halo is wide enough, and every window lies alike on the 20 m grid."""
    bands = made.random_bands(*SIZE)
    whole, parts = (sharpened(bands, preset, 252, window) for window in (252, 66))
    np.testing.assert_allclose(parts, whole, atol=2e-6)
    plain = np.stack([
        sharpen(made.scene_of(bands, 252), "bilinear")[b].values
        for b in load_predictor(preset).bands_out
    ])  # fmt: skip
    assert np.abs(whole - plain).mean() > 1e-3
