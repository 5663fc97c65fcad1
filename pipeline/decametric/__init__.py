"""Every Sentinel-2 band at ten metres, lazily, with proof of its quality.

>>> import decametric as dm
>>> "sharpen" in dm.__all__
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decametric import metrics
    from decametric.degradation import degrade, degrade_image
    from decametric.evaluation.assess import assess
    from decametric.evaluation.preview import preview
    from decametric.runs.series import run_series
    from decametric.scenes.catalogs import search
    from decametric.scenes.own import from_bands
    from decametric.scenes.reader import load
    from decametric.store.export import export
    from decametric.store.valid import valid
    from decametric.store.zarr import write
    from decametric.superres.inference import sharpen
    from decametric.superres.plan import explain
    from decametric.superres.predictor import Bicubic, Bilinear, Predictor
    from decametric.superres.presets import list_predictors, load_predictor
    from decametric.training.config import TrainConfig
    from decametric.training.fit import train
    from decametric.versions import show_versions

__version__ = "0.1.0"

__all__ = [
    "Bicubic",
    "Bilinear",
    "Predictor",
    "TrainConfig",
    "assess",
    "degrade",
    "degrade_image",
    "explain",
    "export",
    "from_bands",
    "list_predictors",
    "load",
    "load_predictor",
    "metrics",
    "preview",
    "run_series",
    "search",
    "sharpen",
    "show_versions",
    "train",
    "valid",
    "write",
]

# Where each public name lives. It is imported at first use (PEP 562), so that `import decametric`
# costs no second and loads neither xarray nor TensorFlow.
_MODULES = {
    "Bicubic": "superres.predictor",
    "Bilinear": "superres.predictor",
    "Predictor": "superres.predictor",
    "TrainConfig": "training.config",
    "assess": "evaluation.assess",
    "degrade": "degradation",
    "degrade_image": "degradation",
    "explain": "superres.plan",
    "export": "store.export",
    "from_bands": "scenes.own",
    "list_predictors": "superres.presets",
    "load": "scenes.reader",
    "load_predictor": "superres.presets",
    "preview": "evaluation.preview",
    "run_series": "runs.series",
    "search": "scenes.catalogs",
    "sharpen": "superres.inference",
    "show_versions": "versions",
    "train": "training.fit",
    "valid": "store.valid",
    "write": "store.zarr",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name == "metrics":
        return import_module("decametric.metrics")
    if name not in _MODULES:
        message = f"module 'decametric' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"decametric.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, for completion."""
    return sorted([*__all__, "__version__"])
