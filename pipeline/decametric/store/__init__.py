"""Zarr out: resumable writing of sharpened series, one group per tile."""

from __future__ import annotations

from decametric.store.zarr import Written, progress, write

__all__ = ["Written", "progress", "write"]
