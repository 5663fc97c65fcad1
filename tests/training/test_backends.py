"""The same training and the same bundle under another backend of Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import made_scenes as made
from decametric.superres.presets import DEFAULT_PRESETS, load_predictor

PRESETS = sorted(DEFAULT_PRESETS.values())
SCRIPT = """
import json, sys
import keras, numpy as np
from decametric.superres.presets import load_predictor
from decametric.training.config import TrainConfig
from decametric.training.fit import train
training, validation, output, arrays, *presets = sys.argv[1:]
config = TrainConfig(
    ratio=2, level="L1C", network="fast", blocks=1, features=16, batch=8, steps=12, epochs=6,
    learning_rate=3e-3, project=True,
)
epochs = []
train(training, config, validation=validation, output=output, tell=epochs.append)
with np.load(arrays) as given:
    inputs = [given[name] for name in ("b10", "b20", "b60")]
np.savez(arrays, **{preset: load_predictor(preset)(*inputs) for preset in presets})
print(json.dumps({
    "backend": keras.backend.backend(), "first": epochs[0].loss, "last": epochs[-1].loss,
    "rmse": epochs[-1].rmse, "bicubic": epochs[-1].bicubic,
}))
"""


def test_jax_trains_as_well_and_predicts_the_same(patch_sets, tmp_path):
    rng = np.random.default_rng(1)
    shapes = {"b10": (4, 60, 72), "b20": (6, 30, 36), "b60": (2, 10, 12)}
    given = {name: rng.uniform(0, 0.5, shape).astype("f4") for name, shape in shapes.items()}
    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, **given)
    source = str(Path(made.__file__).parents[1] / "pipeline")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, patch_sets), tmp_path / "out", arrays, *PRESETS],
        check=True, capture_output=True, text=True, timeout=300,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": source},
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["backend"] == "jax"
    assert told["last"] < told["first"]
    assert told["rmse"] < told["bicubic"]
    with np.load(arrays) as there:
        for preset in PRESETS:
            here = load_predictor(preset)(*given.values())
            np.testing.assert_allclose(there[preset], here, rtol=0, atol=1e-4)
