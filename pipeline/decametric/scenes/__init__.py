"""Scenes in: search catalogs, read items of every dialect, and load them as lazy nested grids."""
