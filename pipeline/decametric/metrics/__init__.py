"""Image-similarity metrics as xarray reductions: ``metric(reference, test, dim=("y", "x"))``."""

from __future__ import annotations

from decametric.metrics.pixel import rmse

__all__ = ["rmse"]
