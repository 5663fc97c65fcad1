"""What a training writes down of each epoch, and what follows from it: schedule and early stop.

Both are functions of the log alone, so that a resumed run decides as an undisturbed one.
"""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from decametric.training.config import TrainConfig


@dataclass(frozen=True)
class Epoch:
    """One line of the log; RMSE in digital numbers, on the validation set."""

    epoch: int
    """Number, from 1."""
    learning_rate: float
    """At its end."""
    loss: float
    """Mean over its steps."""
    rmse: float
    """Mean of the bands, after the consistency step."""
    bicubic: float
    """The same of bicubic interpolation."""
    bands: dict[str, float]
    """RMSE of each band."""
    bands_bicubic: dict[str, float]
    """The same of bicubic interpolation."""

    def __str__(self) -> str:
        """One line for the terminal."""
        bands = " ".join(f"{name} {rmse:.1f}" for name, rmse in self.bands.items())
        return (
            f"epoch {self.epoch}  loss {self.loss:.5f}  RMSE {self.rmse:.2f} DN "
            f"(bicubic {self.bicubic:.1f}; {bands})"
        )


def best_of(history: Sequence[Epoch]) -> Epoch:
    """The epoch that validates best, the first of several."""
    return min(history, key=lambda each: each.rmse)


def kept(config: TrainConfig, history: Sequence[Epoch]) -> Epoch:
    """The epoch whose weights become the bundle: the best one, the last one of a taught network.

    What a network takes along from its teachers hardly shows on land that it knows well.
    """
    return history[-1] if config.teachers else best_of(history)


def since_best(history: Sequence[Epoch]) -> int:
    """Epochs after the best one."""
    return len(history) - best_of(history).epoch if history else 0


def plateau(config: TrainConfig, history: Sequence[Epoch]) -> float:
    """Learning rate of the next epoch: halved after `config.plateau` epochs without progress."""
    rate, best, waited = config.learning_rate, math.inf, 0
    for each in history:
        waited = 0 if each.rmse < best else waited + 1
        best = min(best, each.rmse)
        if waited >= config.plateau:
            rate, waited = rate / 2, 0
    return max(rate, config.floor * config.learning_rate)


def write_log(history: Sequence[Epoch], file: Path) -> None:
    """The log as a table, written anew: it is short."""
    names = list(history[0].bands)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        head = ["epoch", "learning_rate", "loss", "rmse", "bicubic"]
        writer.writerow([*head, *names, *(f"{name}_bicubic" for name in names)])
        for each in history:
            plain = [each.epoch, each.learning_rate, each.loss, each.rmse, each.bicubic]
            writer.writerow([*plain, *each.bands.values(), *each.bands_bicubic.values()])


def to_tensorboard(epoch: Epoch, folder: Path) -> None:
    """Add an epoch to the logs for TensorBoard, where that is installed.

    Its own writer is used and not the one of Keras, which needs TensorFlow whatever the backend is.
    """
    if find_spec("tensorboard") is None:
        return
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    values = {"loss": epoch.loss, "learning_rate": epoch.learning_rate, "rmse": epoch.rmse}
    values |= {f"rmse/{band}": value for band, value in epoch.bands.items()}
    summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
    writer = EventFileWriter(str(folder))
    writer.add_event(Event(step=epoch.epoch, wall_time=time.time(), summary=summary))
    writer.close()
