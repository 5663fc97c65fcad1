"""What a bug report needs: versions of the package, of Python and of the libraries in use."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from decametric import __version__

LIBRARIES = (
    "dask",
    "distributed",
    "xarray",
    "rioxarray",
    "zarr",
    "numpy",
    "tensorflow",
    "keras",
    "stackstac",
    "odc-stac",
    "odc-geo",
    "rasterio",
    "pystac",
    "pystac-client",
)


def show_versions() -> dict[str, str]:
    """Versions of Python, the platform and the libraries, by name.

    Nothing is imported for it except rasterio, which alone knows its GDAL.

    Returns
    -------
    dict of str
        ``"not installed"`` stands for a missing library.

    Examples
    --------
    >>> show_versions()["decametric"]
    '0.1.0'
    """
    found = {
        "decametric": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
    }
    found |= {name: _version(name) for name in LIBRARIES}
    return found | {"gdal": _gdal()}


def _version(name: str) -> str:
    """Version of one installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _gdal() -> str:
    """Version of the GDAL that rasterio brings along."""
    try:
        from rasterio import __gdal_version__
    except ImportError:
        return "not installed"
    return str(__gdal_version__)
