"""What a saved network tells without Keras: which layers it has, its radius, its arithmetic.

A ``.keras`` file is a zip whose ``config.json`` lists the layers and how they are joined. Reading
it needs no framework, so a plan can be made, and a foreign file be refused, before any is loaded.
"""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

from decametric.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

CONVOLUTIONS = frozenset({"Conv2D", "Conv2DTranspose"})
POINTWISE = frozenset({"InputLayer", "Concatenate", "Add", "Rescaling", "Activation", "ReLU"})
"""Layers that look at one pixel only. Anything else, a Lambda above all, is refused."""

MAX_CONFIG_BYTES = 10_000_000


def read_config(path: Path) -> dict[str, Any]:
    """The layer graph of a ``.keras`` file.

    Raises
    ------
    BundleError
        If the file is no Keras 3 model, or has a layer that is not of this family.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > MAX_CONFIG_BYTES:
                message = f"{path.name} holds an implausibly large config.json; it is not opened."
                raise BundleError(message)
            config: dict[str, Any] = json.loads(archive.read("config.json"))
        check_layers(config)
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        message = f"{path} is not a Keras 3 model file ({type(error).__name__}: {error})."
        raise BundleError(message) from error
    return config


def check_layers(config: dict[str, Any]) -> None:
    """Refuse every layer that is not plain Keras of this family (no Lambda, no custom class)."""
    for layer in [config, *config["config"]["layers"]]:
        name, module = layer["class_name"], layer.get("module") or ""
        known = CONVOLUTIONS | POINTWISE | {"Functional"}
        if name not in known or module.split(".")[0] != "keras":
            message = (
                f"The network has a layer {module}.{name}, which could run foreign code or whose "
                f"reach is unknown; only {', '.join(sorted(known))} of Keras are opened."
            )
            raise BundleError(message)


def receptive_radius(config: dict[str, Any]) -> int:
    """Pixels of 10 m around a pixel of the output that it depends on.

    The longest path through the graph; a convolution of size k and dilation d adds d (k - 1) / 2.
    """
    radius: dict[str, int] = {}
    for layer in config["config"]["layers"]:
        before = [radius[name] for name in _parents(layer)]
        radius[layer["config"]["name"]] = max(before, default=0) + _reach(layer)
    return radius[_output(config)]


def flops_per_pixel(config: dict[str, Any]) -> int:
    """Floating-point operations (two per multiply-add) for one 10 m pixel."""
    return sum(
        2 * _area(layer) * _channels(layer) * int(layer["config"]["filters"])
        for layer in config["config"]["layers"]
        if layer["class_name"] in CONVOLUTIONS
    )


def widest_layer(config: dict[str, Any]) -> int:
    """Channels of the widest layer, which sets the memory of a window."""
    filters: list[int] = [
        layer["config"]["filters"]
        for layer in config["config"]["layers"]
        if layer["class_name"] in CONVOLUTIONS
    ]
    return max(filters)


def _reach(layer: dict[str, Any]) -> int:
    if layer["class_name"] not in CONVOLUTIONS:
        return 0
    facts = layer["config"]
    if set(facts["strides"]) != {1} or facts["padding"] != "same":
        message = f"Layer {facts['name']} changes the size of the image; the network must not."
        raise BundleError(message)
    reaches: list[int] = [
        dilation * (size - 1) // 2
        for size, dilation in zip(facts["kernel_size"], facts["dilation_rate"], strict=True)
    ]
    return max(reaches)


def _area(layer: dict[str, Any]) -> int:
    rows, cols = layer["config"]["kernel_size"]
    return int(rows * cols)


def _channels(layer: dict[str, Any]) -> int:
    return int(layer["build_config"]["input_shape"][-1])


def _parents(layer: dict[str, Any]) -> list[str]:
    """Names of the layers whose output this one takes."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                found.append(value["config"]["keras_history"][0])
            else:
                walk(list(value.values()))
        elif isinstance(value, list):
            for item in value:
                walk(item)

    for node in layer["inbound_nodes"]:
        walk(node["args"])
    return found


def _output(config: dict[str, Any]) -> str:
    """Name of the layer that makes the output: ``[name, node, tensor]``, maybe in a list."""
    history = config["config"]["output_layers"]
    return str(history[0] if isinstance(history[0], str) else history[0][0])
