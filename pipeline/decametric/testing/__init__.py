"""Synthetic Sentinel-2 scenes for tests, the demo and the documentation.

`synthetic_scene` writes files as a provider would: COGs on their native grids and STAC items.
`synthetic_truth` reads what the scene would have been, had every band been recorded at 10 m.
`lazy_scene` has no files: a scene of any size, made block by block when it is computed.
"""

from decametric.testing.files import synthetic_scene, synthetic_truth
from decametric.testing.lazy import lazy_scene

__all__ = ["lazy_scene", "synthetic_scene", "synthetic_truth"]
