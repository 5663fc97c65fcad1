"""What a dataset becomes in the store: its configuration, its arrays, its attributes.

Everything here follows from the dataset alone and touches no store. Raw Zarr instead of xarray's
`to_zarr`: the template must be complete after a kill in its middle, grow along time, and carry the
same bytes each time; one array, one explicit `Layout` is the shortest way to all three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (the accessor that gives a dataset its grid)
from odc.geo.xr import xr_coords

from decametric.errors import UsageError
from decametric.store.manifest import Manifest, plain
from decametric.store.packing import PACKED, PACKING, stored_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

DIMS = ("time", "y", "x")
MAPPING = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
TIME = {
    "standard_name": "time",
    "axis": "T",
    "units": "seconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
}
_TIMES_PER_CHUNK = 1024

# Registered names of the two GeoZarr conventions, both at version 0.1.
_CONVENTIONS = [
    {
        "uuid": uuid,
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
        "name": name,
        "description": description,
    }
    for uuid, name, description in (
        ("f17cb550-5864-4468-aeb7-f3180cfb622f", "proj", "Coordinate reference system"),
        ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "spatial", "Array indices to coordinates"),
    )
]


@dataclass(frozen=True)
class Layout:
    """One array of the store."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any]
    values: np.ndarray[Any, Any] | None = None
    """Content of a coordinate; None where blocks bring it."""


@dataclass(frozen=True)
class Plan:
    """A dataset, checked, as `write` needs it."""

    tile: str
    bands: dict[str, da.Array]
    """Arrays over (time, y, x) with equal chunks, one date a chunk."""
    edges: tuple[int, int]
    """Chunk edges along y and x in pixels."""
    geobox: GeoBox
    manifest: Manifest
    provenance: dict[str, Any]
    band_attributes: dict[str, dict[str, Any]]

    @property
    def blocks(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        _, rows, cols = next(iter(self.bands.values())).numblocks
        return rows, cols

    def attributes(self, manifest: Manifest, *, complete: bool) -> dict[str, Any]:
        """Attributes of the tile's group: what it is, where it lies, and whether it is whole."""
        return {
            "level": manifest.configuration["level"],
            "tile": self.tile,
            "complete": complete,
            "provenance": {**self.provenance, "scenes": manifest.scenes},
            **placed(self.geobox),
        }

    def arrays(self, manifest: Manifest) -> dict[str, Layout]:
        """All arrays of the tile's group for the dates of `manifest`, by path."""
        count = len(manifest.scenes)
        done = Layout(
            ("time", "row", "column"), (count, *self.blocks), (1, 1, 1), np.dtype("uint8"), {}
        )
        return {
            "manifest/done": done,
            **coordinates(self.geobox, manifest.times),
            **self._variables(count),
        }

    def shown(self, manifest: Manifest) -> list[str]:
        """The arrays that a reader of the tile sees: all but the manifest's."""
        return [path for path in self.arrays(manifest) if "/" not in path]

    def _variables(self, count: int) -> dict[str, Layout]:
        layouts = {}
        for name, array in self.bands.items():
            dtype = stored_dtype(array.dtype, name)
            packing = PACKING if dtype == PACKED else {}
            attributes = {**self.band_attributes[name], **packing, **MAPPING}
            shape = (count, *array.shape[1:])
            layouts[name] = Layout(DIMS, shape, (1, *self.edges), dtype, attributes)
        return layouts


def placed(geobox: GeoBox) -> dict[str, Any]:
    """Attributes of a group that say where its pixels lie."""
    return {
        "zarr_conventions": _CONVENTIONS,
        "proj:code": _crs(geobox),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": list(geobox.shape),
        "spatial:transform": list(geobox.transform)[:6],
        "spatial:bbox": list(geobox.boundingbox.bbox),
    }


def coordinates(geobox: GeoBox, times: NDArray[np.datetime64]) -> dict[str, Layout]:
    """The coordinates of a group of arrays over (time, y, x), by name."""
    seconds = times.astype("int64")
    layouts = {
        "time": Layout(("time",), seconds.shape, (_TIMES_PER_CHUNK,), seconds.dtype, TIME, seconds)
    }
    for name, coord in xr_coords(geobox).items():
        # Scalars have the shape () and take the chunk ().
        attributes, values = plain(coord.attrs), np.asarray(coord.values)
        if str(name) != "spatial_ref":
            attributes = {"axis": str(name).upper(), "units": attributes["units"]}
            attributes["standard_name"] = f"projection_{name}_coordinate"
        dims = tuple(str(dim) for dim in coord.dims)
        layouts[str(name)] = Layout(
            dims, values.shape, values.shape, values.dtype, attributes, values
        )
    return layouts


def plan(dataset: xr.Dataset) -> Plan:
    """Check a dataset and derive all that its store needs.

    Raises
    ------
    UsageError
        If it is not what `sharpen` returns: dimensions, chunks, grid or attributes are wrong.
    """
    provenance = _provenance(dataset)
    bands = _bands(dataset)
    chunks = next(iter(bands.values())).chunks
    edges = max(chunks[1]), max(chunks[2])
    geobox = dataset.odc.geobox
    if geobox is None or geobox.crs is None:
        message = "The dataset has no grid; it needs x, y and a spatial_ref with a CRS."
        raise UsageError(message)
    configuration = plain(
        {
            "level": dataset.attrs["level"],
            "tile": dataset.attrs["tile"],
            "grid": {
                "crs": _crs(geobox),
                "transform": list(geobox.transform)[:6],
                "shape": list(geobox.shape),
            },
            "chunk": list(edges),
            "bands": {name: str(stored_dtype(a.dtype, name)) for name, a in bands.items()},
            "predictor": provenance.get("predictor"),
            "parameters": provenance.get("parameters"),
        }
    )
    manifest = Manifest(configuration, _scenes(dataset, provenance))
    attributes = {
        name: {k: v for k, v in plain(dataset[name].attrs).items() if k not in {*PACKING, *MAPPING}}
        for name in bands
    }
    return Plan(dataset.attrs["tile"], bands, edges, geobox, manifest, provenance, attributes)


def _provenance(dataset: xr.Dataset) -> dict[str, Any]:
    """Provenance as plain JSON, after a look at the attributes that every store needs."""
    missing = [name for name in ("level", "tile", "provenance") if name not in dataset.attrs]
    if missing:
        message = f"The dataset has no attribute {missing[0]!r}; write what sharpen returned."
        raise UsageError(message)
    if not re.fullmatch(r"\w[\w.-]*", dataset.attrs["tile"]):
        message = f"The tile {dataset.attrs['tile']!r} cannot name a group of the store."
        raise UsageError(message)
    try:
        provenance: dict[str, Any] = plain(dataset.attrs["provenance"])
    except (AttributeError, TypeError, ValueError) as error:
        message = f"The dataset's provenance is not JSON ({error})."
        raise UsageError(message) from error
    return provenance


def _scenes(dataset: xr.Dataset, provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of the dates; their times are those of the coordinate, in whole seconds."""
    times = dataset["time"].to_numpy().astype("datetime64[s]")
    scenes = provenance.get("scenes", [])
    if len(scenes) != len(times) or (np.diff(times) <= np.timedelta64(0, "s")).any():
        message = (
            f"The dataset has {len(times)} dates and {len(scenes)} scenes in its provenance; "
            f"it needs one for each, in the order of time."
        )
        raise UsageError(message)
    return [{**s, "time": f"{t}Z"} for s, t in zip(scenes, times.astype(str), strict=True)]


def _bands(dataset: xr.Dataset) -> dict[str, da.Array]:
    """The variables as dask arrays over (time, y, x) with the same chunks."""
    bands = {}
    for name, variable in dataset.data_vars.items():
        if variable.dims != DIMS:
            message = f"{name} has dimensions {variable.dims}; write takes (time, y, x)."
            raise UsageError(message)
        bands[str(name)] = da.asarray(variable.data)
    if not bands:
        message = "The dataset has no bands."
        raise UsageError(message)
    first = next(iter(bands.values())).chunks
    even = all(set(sizes[:-1]) <= {max(sizes)} for sizes in first[1:])
    if set(first[0]) != {1} or not even or any(a.chunks != first for a in bands.values()):
        message = (
            "The chunks must be one date by equal squares, the same for every band; "
            "call dataset.chunk(time=1, y=1098, x=1098) before."
        )
        raise UsageError(message)
    return bands


def _crs(geobox: GeoBox) -> str:
    """Authority and code, or WKT where there is none."""
    assert geobox.crs is not None  # noqa: S101  (plan() has seen to it)
    epsg = geobox.crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(geobox.crs.to_wkt())
