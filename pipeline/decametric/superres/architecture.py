"""What a saved network tells without Keras: which layers it has, its radius, its arithmetic.

A ``.keras`` file is a zip whose ``config.json`` lists the layers and how they are joined. Reading
it needs no framework, so a plan can be made, and a foreign file be refused, before any is loaded.
"""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

from decametric.errors import BundleError
from decametric.grid import NEST

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
    """Pixels of 10 m around a pixel of the output that it depends on, at most.

    The longest path through the graph. A convolution of size k, dilation d and stride s adds
    (d (k - 1) + 1 - s) / 2 pixels of its input on each side of what its output pixel covers, its
    transpose the same in pixels of its output, in whole pixels of its input. A pixel of the output
    may lie at the edge of the coarsest pixel that it was made from, which adds that pixel less one.
    """
    scale = _scales(config)
    radius: dict[str, int] = {}
    for layer in config["config"]["layers"]:
        name, parents = layer["config"]["name"], _parents(layer)
        before = max((radius[parent] for parent in parents), default=0)
        radius[name] = before + (_reach(layer, scale[parents[0]]) if parents else 0)
    return radius[_output(config)] + max(scale.values()) - 1


def flops_per_pixel(config: dict[str, Any]) -> int:
    """Floating-point operations (two per multiply-add) for one 10 m pixel."""
    scale = _scales(config)
    total = 0.0
    for layer in config["config"]["layers"]:
        if layer["class_name"] in CONVOLUTIONS:
            # A kernel is laid out once for each pixel on the coarser side of its layer.
            coarse = max(scale[layer["config"]["name"]], scale[_parents(layer)[0]])
            weights = _area(layer) * _channels(layer) * int(layer["config"]["filters"])
            total += 2 * weights / coarse**2
    return round(total)


def count_parameters(config: dict[str, Any]) -> int:
    """Weights and biases of all layers."""
    return sum(
        int(layer["config"]["filters"])
        * (_area(layer) * _channels(layer) + int(layer["config"]["use_bias"]))
        for layer in config["config"]["layers"]
        if layer["class_name"] in CONVOLUTIONS
    )


def widest_layer(config: dict[str, Any]) -> int:
    """Channels of the widest layer for one 10 m pixel, which set the memory of a window."""
    scale = _scales(config)
    filters: list[int] = [
        -(-layer["config"]["filters"] // scale[layer["config"]["name"]] ** 2)
        for layer in config["config"]["layers"]
        if layer["class_name"] in CONVOLUTIONS
    ]
    return max(filters)


def _scales(config: dict[str, Any]) -> dict[str, int]:
    """Size of a pixel of each layer's output, in pixels of 10 m.

    Raises
    ------
    BundleError
        If a layer pads otherwise than "same", joins images of different sizes, goes below 10 m or
        above the 60 m grid to which windows are anchored, or if the output is not at 10 m.
    """
    scale: dict[str, int] = {}
    for layer in config["config"]["layers"]:
        facts = layer["config"]
        before = {scale[parent] for parent in _parents(layer)} or {1}
        size = before.pop()
        if layer["class_name"] in CONVOLUTIONS:
            step, odd = facts["strides"][0], len(set(facts["strides"])) > 1
            up = layer["class_name"] == "Conv2DTranspose"
            size, rest = divmod(size, step) if up else (size * step, 0)
            if odd or rest or before or facts["padding"] != "same" or NEST % max(size, 1):
                raise BundleError(_changes(facts["name"]))
        elif before:
            raise BundleError(_changes(facts["name"]))
        scale[facts["name"]] = size
    if scale[(last := _output(config))] != 1:
        raise BundleError(_changes(last))
    return scale


def _changes(name: str) -> str:
    return f"Layer {name} changes the size of the image; the network must not."


def _reach(layer: dict[str, Any], scale: int) -> int:
    """Pixels of 10 m that a layer, whose input has pixels of `scale`, adds to the radius."""
    if layer["class_name"] not in CONVOLUTIONS:
        return 0
    facts = layer["config"]
    reaches: list[int] = []
    for size, dilation, step in zip(
        facts["kernel_size"], facts["dilation_rate"], facts["strides"], strict=True
    ):
        beyond = max(0, dilation * (size - 1) + 1 - step)
        # In pixels of the finer side on one side, rounded up to whole pixels of the input.
        up = step if layer["class_name"] == "Conv2DTranspose" else 1
        reaches.append(-(-beyond // (2 * up)) * scale)
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
