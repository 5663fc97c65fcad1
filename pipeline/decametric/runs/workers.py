"""What every worker gets before its first task, late and restarted ones too."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import WorkerPlugin

from decametric.errors import BundleError
from decametric.superres.consistency import Consistent
from decametric.superres.predictor import parts
from decametric.superres.presets import KerasPredictor, open_network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distributed.worker import Worker

    from decametric.superres.predictor import Predictor

PLUGIN = "decametric"
"""Name under which the plugin is registered; another run replaces it."""


def environment(threads: int) -> dict[str, str]:
    """Variables of a process of `threads` cores that reads with GDAL and computes with TensorFlow.

    TensorFlow has thread pools of its own, which no OMP variable bounds, and takes the whole memory
    of a GPU unless told to grow. GDAL's cache is by default a share of the whole machine's memory,
    for each process.
    """
    return {
        "GDAL_CACHEMAX": "256",
        "VSI_CACHE": "TRUE",
        "VSI_CACHE_SIZE": "16000000",
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


class WorkerSetup(WorkerPlugin):
    """Sets the environment of a worker and opens the networks; what is set already is left.

    Parameters
    ----------
    predictor : Predictor
        Its networks are opened.
    resources : mapping of str to float
        Only workers that declare all of these open them: the others run no network.
    """

    name = PLUGIN

    def __init__(self, predictor: Predictor, resources: Mapping[str, float]) -> None:
        self.predictor = predictor
        self.resources = dict(resources)

    async def setup(self, worker: Worker) -> None:
        """Called by the worker when it starts, or when the plugin is registered."""
        for name, value in environment(worker.state.nthreads).items():
            os.environ.setdefault(name, value)
        if offers(worker.state.total_resources, self.resources):
            await asyncio.to_thread(warm, self.predictor)


def offers(resources: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    """Whether a worker with `resources` may run what wants so much."""
    return all(resources.get(name, 0) >= amount for name, amount in wanted.items())


def warm(predictor: Predictor) -> None:
    """Open the networks of a predictor in this process."""
    for part in parts(predictor):
        inner: Any = part.predictor if isinstance(part, Consistent) else part
        if isinstance(inner, KerasPredictor):
            # What is wrong is said by the tasks, scene by scene.
            with suppress(BundleError):
                open_network(inner.path, inner.card.sha256, inner.precision)
