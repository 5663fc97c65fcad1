"""Predictors that tests and the processes that they start share."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import decametric
from decametric.superres.predictor import Bicubic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(map(str, (Path(decametric.__file__).parents[1], HERE))),
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s",
}
"""Of processes that import the package and this module."""

_lock = threading.Lock()


@dataclass(frozen=True)
class Watched:
    """Bicubic interpolation of B11 that writes a line wherever it runs."""

    log: str
    """File of the lines; each is the name of a worker, or ``here``."""
    pause: float = 0.0
    """Seconds that a window takes."""
    failures: int = 0
    """So many of the first calls fail."""

    name = "watched"
    bands_in = ("B11",)
    bands_out = ("B11",)
    halo = 12

    @property
    def provenance(self) -> dict[str, object]:
        """The same for all of them: they compute the same."""
        return {"name": self.name}

    def __call__(self, b10: Array, b20: Array, b60: Array) -> Array:
        time.sleep(self.pause)
        with _lock:
            number = len(lines(self.log))
            with Path(self.log).open("a") as file:
                file.write(f"{worker()}\n")
        if number < self.failures:
            message = f"call {number} fails"
            raise RuntimeError(message)
        return Bicubic(("B11",))(b10, b20, b60)


def lines(log: str | Path) -> list[str]:
    """Where the windows so far were computed."""
    return Path(log).read_text().splitlines() if Path(log).exists() else []


def worker() -> str:
    """Name of the worker that this runs on."""
    from distributed import get_worker

    try:
        return str(get_worker().name)
    except ValueError:
        return "here"


def tree(folder: Path) -> dict[str, str]:
    """Every path below a folder with the digest of its content: equal trees are byte-identical."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }
