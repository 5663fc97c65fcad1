"""The state of a training on disk: all of it, or, where it was stopped while writing, the last."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.training.history import Epoch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = list[NDArray[Any]]


@dataclass
class State:
    """Everything that changes during a training."""

    weights: Arrays
    """Of the network as it is."""
    kept: Arrays
    """Of the network that becomes the bundle."""
    optimizer: Arrays
    """Variables of the optimiser, its counter of steps among them."""
    history: list[Epoch]
    """The epochs so far."""

    def save(self, file: Path) -> None:
        """Write it; a reader finds the old state or the new one, never a part."""
        arrays = {
            f"{name}{index}": value
            for name in ("weights", "kept", "optimizer")
            for index, value in enumerate(getattr(self, name))
        }
        history = np.array(json.dumps([asdict(each) for each in self.history]))
        part = file.with_suffix(".part.npz")
        np.savez(part, history=history, **arrays)
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> State:
        """Read it."""
        with np.load(file) as stored:
            lists = {
                name: [stored[f"{name}{n}"] for n in range(_count(stored.files, name))]
                for name in ("weights", "kept", "optimizer")
            }
            history = [Epoch(**each) for each in json.loads(str(stored["history"]))]
        return cls(history=history, **lists)


def _count(names: list[str], prefix: str) -> int:
    return sum(name.startswith(prefix) for name in names)
