"""Patch sets to batches: streamed from disk in a random order that a seed and an epoch decide."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from decametric.bands import RESOLUTIONS
from decametric.errors import DecametricError
from decametric.store.packing import PACKING
from decametric.superres.feed import SCALING, network_inputs
from decametric.superres.orientations import ORIENTATIONS, turned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

    from decametric.training.config import TrainConfig

    Array = NDArray[np.float32]
    Patches = dict[str, NDArray[Any]]
    """Arrays (patch, band, y, x): ``b10``, ``b20`` (``b60``), ``target``."""

FOREIGN_GAIN = 0.5
"""Standard deviation of the logarithm of the factors of `TrainConfig.foreign`."""

POOL = 16
"""Chunks that are mixed at a time: memory grows with it, not with the patch set."""


@dataclass(frozen=True)
class PatchSet:
    """A patch set on disk."""

    path: Path
    """Its folder."""

    @cached_property
    def groups(self) -> list[zarr.Group]:
        """One group for each item that has patches, in the order of the identifiers."""
        import zarr

        marks = sorted(self.path.glob("*/done.json"))
        groups = [zarr.open_group(mark.parent, mode="r") for mark in marks]
        groups = [group for group in groups if "target" in group]
        if not groups:
            message = f"{self.path} holds no patches; build them with build_patches."
            raise DecametricError(message)
        return groups

    def __len__(self) -> int:
        """Number of patches."""
        return sum(_target(group).shape[0] for group in self.groups)

    @property
    def items(self) -> list[str]:
        """Identifiers of the items."""
        return [str(group.attrs["item"]) for group in self.groups]

    @property
    def settings(self) -> dict[str, Any]:
        """How it was cut: the ratio and a `Sampling`, the same for all items."""
        done = json.loads(min(self.path.glob("*/done.json")).read_text())
        return cast("dict[str, Any]", done["settings"])

    def chunks(self) -> list[tuple[zarr.Group, slice]]:
        """Every chunk of every item."""
        return [
            (group, slice(start, start + _target(group).chunks[0]))
            for group in self.groups
            for start in range(0, _target(group).shape[0], _target(group).chunks[0])
        ]

    def read(self, group: zarr.Group, part: slice) -> Patches:
        """Patches of a part of an item, as integers."""
        names = [f"b{res}" for res in RESOLUTIONS if f"b{res}" in group]
        return {name: group[name][part] for name in (*names, "target")}  # type: ignore[index, misc]  # a group could hold a group

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Patches]:
        """Every patch once, in batches of `size` and random order; a last short batch is left out.

        `POOL` chunks are read at a time and mixed; what is left of them joins the next.
        """
        chunks = self.chunks()
        order = rng.permutation(len(chunks))
        rest: Patches = {}
        for start in range(0, len(order), POOL):
            read = [self.read(*chunks[n]) for n in order[start : start + POOL]]
            read += [rest] if rest else []
            pool = {name: np.concatenate([part[name] for part in read]) for name in read[0]}
            mixed = rng.permutation(len(pool["target"]))
            whole = len(mixed) // size * size
            for first in range(0, whole, size):
                picked = mixed[first : first + size]
                yield {name: array[picked] for name, array in pool.items()}
            rest = {name: array[mixed[whole:]] for name, array in pool.items()}


def _target(group: zarr.Group) -> zarr.Array[Any]:
    """The array that tells how many patches an item has."""
    return cast("zarr.Array[Any]", group["target"])  # a group could hold a group


def reflectance(patches: Patches) -> Patches:
    """Integers as float32 reflectance, NaN = no data."""
    return {
        name: np.where(
            array == PACKING["_FillValue"],
            np.float32(np.nan),
            array * np.float32(PACKING["scale_factor"]) + np.float32(PACKING["add_offset"]),
        )
        for name, array in patches.items()
    }


def augmented(patches: Patches, config: TrainConfig, rng: np.random.Generator) -> Patches:
    """Reflectance, turned and flipped, and with the radiometry of another day.

    A band keeps its factor and its offset in input and target.
    """
    result = reflectance(patches)
    count = len(result["target"])
    if config.orientations:
        kinds = rng.integers(ORIENTATIONS, size=count)
        result = {
            name: np.stack([turned(each, kind) for each, kind in zip(array, kinds, strict=True)])
            for name, array in result.items()
        }
    changes = (config.gain, config.brightness, config.offset, config.foreign)
    return _recoloured(result, config, rng) if any(changes) else result


def _recoloured(patches: Patches, config: TrainConfig, rng: np.random.Generator) -> Patches:
    """Every band of every patch with a factor and an offset, the target with those of its input."""
    result = dict(patches)
    coarsest = [name for name in patches if name != "target"][-1]
    count = len(patches["target"])
    shared = rng.normal(0, config.brightness, (count, 1, 1, 1))
    foreign = rng.random((count, 1, 1, 1)) < config.foreign
    for name in [name for name in patches if name != "target"]:
        bands = patches[name]
        shape = (count, bands.shape[1], 1, 1)
        spread = np.where(foreign, FOREIGN_GAIN, config.gain)
        gain = np.exp(shared + spread * rng.normal(0, 1, shape))
        offset = rng.uniform(-config.offset, config.offset, shape)
        negative = foreign & (rng.random(shape) < 0.5)  # noqa: PLR2004  (every second one)
        middle = np.median(bands, axis=(2, 3), keepdims=True)
        offset = (offset + gain * np.where(negative, 2 * middle, 0)).astype(np.float32)
        gain = np.where(negative, -gain, gain).astype(np.float32)
        result[name] = bands * gain + offset
        if name == coarsest:
            result["target"] = patches["target"] * gain + offset
    return result


def arrays(patches: Patches, context: int = 0) -> tuple[tuple[Array, ...], Array]:
    """What a network takes and is compared with, channels last.

    Parameters
    ----------
    patches : dict of arrays (patch, band, y, x)
        Reflectance; NaN in the target where it is not known.
    context : int
        Coarse pixels on each side that decide the exposure; 0: none.

    Returns
    -------
    inputs : tuple of arrays (patch, y, x, band)
        Every resolution on the 10 m grid, as `KerasPredictor` makes them.
    target : array (patch, y, x, 2 * band)
        The values, then their weights, 0 where they are not known. An error times its weight is
        one of reflectance, over `SCALING`.
    """
    images = {res: patches[name] for res in RESOLUTIONS if (name := f"b{res}") in patches}
    inputs, gain = network_inputs(images, context)
    known = np.isfinite(patches["target"])
    values = np.where(known, patches["target"] * gain / np.float32(SCALING), np.float32(0))
    both = np.concatenate([values, known / gain], axis=1)
    return tuple(inputs), np.ascontiguousarray(np.moveaxis(both, 1, -1), dtype=np.float32)
