"""Scenes in: search catalogs, read items of every dialect, and load them as lazy nested grids."""

from __future__ import annotations

import decametric.fusion  # noqa: F401  (bands of a scene may not get each other's pixels)
