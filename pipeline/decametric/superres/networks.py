"""The networks as Keras 3 functional models, and the facts their layers tell: radius and cost.

`dsen2` and `vdsen2` follow Lanaras et al. 2018 (doi:10.1016/j.isprsjprs.2018.09.018), `aesr`
follows Mueller et al. 2020 (ISPRS Annals V-1-2020, 33-40); all three run at 10 m throughout. `fast`
is our own and thinks on the 20 m grid. The coarse bands come in upsampled, so that no layer depends
on the shape of the window. Channels come last.

This module imports Keras when it is imported; nothing light may import it at its top.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the native libraries off standard error while they start.

    TensorFlow 2.21 tells of oneDNN and missing GPUs before it reads its own log level.
    """
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


# In notebooks TensorFlow would tell on standard output how often it traced a function.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)

with _quiet():
    import keras
    import numpy as np
    from keras import layers

    keras.ops.zeros(1)  # starts the devices, which is when the rest is told

from decametric.bands import BANDS, RESOLUTIONS  # noqa: E402  (Keras first, while it is kept quiet)
from decametric.superres.predictor import of_resolution  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RESIDUAL_SCALE = 0.1
FAST_RESIDUAL_SCALE = 0.2


def _inputs(bands_in: Sequence[str]) -> list[keras.KerasTensor]:
    """One input per resolution that is read, every one on the 10 m grid: (y, x, band)."""
    return [
        keras.Input((None, None, len(bands)), name=f"b{resolution}")
        for resolution in RESOLUTIONS
        if (bands := of_resolution(bands_in, resolution))
    ]


def dsen2(
    bands_in: Sequence[str], bands_out: Sequence[str], *, blocks: int = 6, features: int = 128
) -> keras.Model:
    """DSen2: residual blocks at 10 m that predict a correction to the upsampled bands.

    Parameters
    ----------
    bands_in : sequence of str
        Bands that are read, in the order of the network.
    bands_out : sequence of str
        Bands that are returned: all bands of the coarsest resolution among `bands_in`.
    blocks, features : int
        Residual blocks, and channels of every hidden convolution.

    Returns
    -------
    keras.Model
        Inputs ``b10``, ``b20`` (and ``b60``) of shape (n, y, x, band); output (n, y, x, band).
    """
    inputs = _inputs(bands_in)
    # === Layers ===
    x = layers.Concatenate(name="stack")(inputs)
    x = layers.Conv2D(
        features, 3, padding="same", activation="relu", kernel_initializer="he_uniform", name="head"
    )(x)
    for block in range(blocks):
        x = _residual(x, features, f"block{block + 1}")
    x = layers.Conv2D(
        len(bands_out), 3, padding="same", kernel_initializer="he_uniform", name="tail"
    )(x)
    # === Functional model ===
    output = layers.Add(name="global_skip")([x, inputs[-1]])
    return keras.Model(inputs, output, name="dsen2")


def _residual(
    x: keras.KerasTensor, features: int, name: str, *, scale: float = RESIDUAL_SCALE
) -> keras.KerasTensor:
    """Convolution, ReLU, convolution, scaled, added to its input; no activation after the sum."""
    options: dict[str, Any] = {"padding": "same", "kernel_initializer": "he_uniform"}
    y = layers.Conv2D(features, 3, activation="relu", name=f"{name}_conv1", **options)(x)
    y = layers.Conv2D(features, 3, name=f"{name}_conv2", **options)(y)
    y = layers.Rescaling(scale, name=f"{name}_scale")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def vdsen2(
    bands_in: Sequence[str], bands_out: Sequence[str], *, blocks: int = 32, features: int = 256
) -> keras.Model:
    """VDSen2: `dsen2`, deeper and wider."""
    return dsen2(bands_in, bands_out, blocks=blocks, features=features)


def aesr(bands_in: Sequence[str], bands_out: Sequence[str], *, features: int = 64) -> keras.Model:
    """AESR: a shallow auto-encoder with two skips; it returns the bands, not a correction."""
    inputs = _inputs(bands_in)
    # === Layers ===
    options: dict[str, Any] = {"padding": "same", "activation": "relu"}
    x = layers.Concatenate(name="stack")(inputs)
    first = layers.Conv2D(features, 3, name="encoder1", **options)(x)
    second = layers.Conv2D(features, 3, name="encoder2", **options)(first)
    x = layers.Conv2DTranspose(features, 3, name="decoder1", **options)(second)
    x = layers.Add(name="skip2")([x, second])
    x = layers.Conv2DTranspose(features, 3, name="decoder2", **options)(x)
    x = layers.Add(name="skip1")([x, first])
    # === Functional model ===
    output = layers.Conv2D(len(bands_out), 5, padding="same", name="tail")(x)
    return keras.Model(inputs, output, name="aesr")


def fast(
    bands_in: Sequence[str], bands_out: Sequence[str], *, blocks: int = 6, features: int = 128
) -> keras.Model:
    """Residual blocks on the 20 m grid, where a feature costs a quarter of what it costs at 10 m.

    The bands are unshuffled onto the 20 m grid by a strided convolution, and the features shuffled
    back by a transposed one (Shi et al. 2016, doi:10.1109/CVPR.2016.207). In between, blocks as in
    EDSR (Lim et al. 2017, doi:10.1109/CVPRW.2017.151) with a skip around all of them. It predicts a
    correction to the upsampled bands, as `dsen2` does.

    Parameters
    ----------
    bands_in, bands_out : sequence of str
        As for `dsen2`.
    blocks, features : int
        Residual blocks, and channels of every hidden convolution.

    Returns
    -------
    keras.Model
        As `dsen2`; rows and columns of a window must be even.
    """
    inputs = _inputs(bands_in)
    options: dict[str, Any] = {"padding": "same", "kernel_initializer": "he_uniform"}
    # === Layers ===
    x = layers.Concatenate(name="stack")(inputs)
    kernel = _unshuffling(bands_in)
    x = layers.Conv2D(kernel.shape[-1], 4, strides=2, padding="same", name="stem")(x)
    first = x = layers.Conv2D(features, 3, name="head", **options)(x)
    for block in range(blocks):
        x = _residual(x, features, f"block{block + 1}", scale=FAST_RESIDUAL_SCALE)
    x = layers.Conv2D(features, 3, name="body", **options)(x)
    x = layers.Add(name="long_skip")([x, first])
    # Starts at nothing, so that an untrained network is the interpolation.
    x = layers.Conv2DTranspose(
        len(bands_out), 6, strides=2, padding="same", kernel_initializer="zeros", name="tail"
    )(x)
    # === Functional model ===
    output = layers.Add(name="global_skip")([x, inputs[-1]])
    model = keras.Model(inputs, output, name="fast")
    model.get_layer("stem").set_weights([kernel, np.zeros(kernel.shape[-1])])
    return model


def _unshuffling(bands: Sequence[str]) -> NDArray[np.float64]:
    """Kernel (4, 4, band, channel) from which the stem of `fast` starts, for stride 2.

    Of a 10 m band: the mean of the four pixels in a 20 m pixel and, four times as large for they
    are small, their differences along x, y and both. Of a 20 m band: its own pixel, which the
    four taps find exactly in its bilinear interpolation. Of a 60 m band: the mean. So the
    network need not find this first.
    """
    pair, apart = np.array([0, 0.5, 0.5, 0]), np.array([0, -1.0, 1.0, 0])
    native = np.array([-0.25, 0.75, 0.75, -0.25])
    columns = []
    for index, band in enumerate(bands):
        kinds = {10: [(pair, pair), (pair, 2 * apart), (2 * apart, pair), (apart, apart)]}
        kinds |= {20: [(native, native)], 60: [(pair, pair)]}
        for rows, cols in kinds[BANDS[band].resolution]:
            kernel = np.zeros((4, 4, len(bands)))
            kernel[:, :, index] = np.outer(rows, cols)
            columns.append(kernel)
    return np.stack(columns, axis=-1)


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "aesr": aesr,
    "dsen2": dsen2,
    "fast": fast,
    "vdsen2": vdsen2,
}


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """`model` with the same weights and another arithmetic.

    In ``"bfloat16"`` the hidden layers compute with 8 bits of mantissa; the layers that read the
    bands, the layer that makes the output and what is added to it stay in float32, or a reflectance
    of 0.3 would come in steps of 0.002.
    """
    if precision == "float32":
        return model
    names = [layer.name for layer in model.layers]
    weighted = next(index for index, layer in enumerate(model.layers) if layer.weights)
    reading = names.index("head") if "head" in names else weighted
    exact = {*names[: reading + 1], names[-1]}
    if isinstance(model.layers[-1], layers.Add):
        exact |= {layer.name for layer in model.layers if layer.output in model.layers[-1].input}

    def rebuild(layer: layers.Layer) -> layers.Layer:
        policy = "float32" if layer.name in exact else f"mixed_{precision}"
        return type(layer).from_config({**layer.get_config(), "dtype": policy})

    clone = keras.models.clone_model(model, clone_function=rebuild)
    clone.set_weights(model.get_weights())
    return clone


def load(file: Path) -> keras.Model:
    """Open a ``.keras`` file in safe mode: no Lambda, no pickle, nothing but layers and arrays."""
    return keras.models.load_model(file, compile=False, safe_mode=True)


def save(model: keras.Model, file: Path) -> None:
    """Write a ``.keras`` file, packed, without the dates of Keras: equal weights, equal bytes.

    How the weights were once drawn is left out: older releases of Keras do not know all the
    fields with which newer ones tell it, and would refuse the file.
    """
    model.save(file)
    with zipfile.ZipFile(file) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    network = json.loads(entries["config.json"])
    for layer in network["config"]["layers"]:
        if "kernel_initializer" in layer["config"]:
            layer["config"]["kernel_initializer"] = layer["config"]["bias_initializer"]
    entries["config.json"] = json.dumps(network).encode()
    told = json.loads(entries["metadata.json"])
    entries["metadata.json"] = json.dumps({"keras_version": told["keras_version"]}).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)  # of 1980
            target.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)


def run(model: keras.Model, inputs: list[Any]) -> Any:  # noqa: ANN401  (array of the backend's)
    """One compiled forward pass; Keras traces it once for each window shape."""
    return model.predict_on_batch(inputs)
