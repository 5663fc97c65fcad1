"""The same training and the same bundle under another backend of Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import made_scenes as made
from decametric.superres import networks
from decametric.superres.presets import BANDS_OF_RATIO, load_predictor, save_bundle

SCRIPT = """
import json, sys
import keras, numpy as np
from decametric.superres.presets import load_predictor
from decametric.training.config import TrainConfig
from decametric.training.fit import train
training, validation, output, preset, arrays = sys.argv[1:]
config = TrainConfig(
    ratio=2, level="L1C", network="fast", blocks=1, features=16, batch=8, steps=12, epochs=6,
    learning_rate=3e-3, project=True,
)
epochs = []
train(training, config, validation=validation, output=output, tell=epochs.append)
with np.load(arrays) as given:
    made = load_predictor(preset)(*(given[name] for name in ("b10", "b20", "b60")))
np.save(arrays + ".made.npy", made)
print(json.dumps({
    "backend": keras.backend.backend(), "first": epochs[0].loss, "last": epochs[-1].loss,
    "rmse": epochs[-1].rmse, "bicubic": epochs[-1].bicubic,
}))
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_jax_trains_as_well_and_predicts_the_same(patch_sets, tmp_path):
    for ratio, bands in BANDS_OF_RATIO.items():
        model = networks.fast(*bands, blocks=1, features=8)
        kernel, bias = model.get_layer("tail").get_weights()
        drawn = np.random.default_rng(0).normal(0, 0.02, kernel.shape)
        model.get_layer("tail").set_weights([drawn, bias])
        save_bundle(model, tmp_path / f"p/{ratio}x", name="p", ratio=ratio, level="L1C")
    rng = np.random.default_rng(1)
    shapes = {"b10": (4, 60, 72), "b20": (6, 30, 36), "b60": (2, 10, 12)}
    given = {name: rng.uniform(0, 0.5, shape).astype("f4") for name, shape in shapes.items()}
    np.savez(tmp_path / "given.npz", **given)
    source = str(Path(made.__file__).parents[1] / "pipeline")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, patch_sets), tmp_path / "out", tmp_path / "p",
         str(tmp_path / "given.npz")],
        check=True, capture_output=True, text=True, timeout=300,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": source},
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["backend"] == "jax"
    assert told["last"] < told["first"]
    assert told["rmse"] < told["bicubic"]
    here = load_predictor(tmp_path / "p")(*given.values())
    np.testing.assert_allclose(np.load(tmp_path / "given.npz.made.npy"), here, atol=1e-4)
