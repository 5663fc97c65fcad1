"""Small EOPF products with the hierarchy, names and attributes of ESA's samples, v2 and v3.

Measured on the consolidated metadata of published products: S2A_MSIL2A_20250109T100401 (Zarr v2)
and S2B_MSIL2A_20260721T100559 (Zarr v3). Version 2 repeats the projection on every array and in
``_eopf_attrs`` its encoding; version 3 tells the CRS in the discovery metadata alone. Both have
level 2A with resampled copies of most bands at 20 and 60 m, ``b01`` at 20 m among them, and masks
under the names of bands.
"""

from __future__ import annotations

import warnings
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import numcodecs
import numpy as np
import zarr

from decametric.bands import BANDS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from zarr.abc.store import Store

RES = {name: band.resolution for name, band in BANDS.items()} | {"SCL": 20}
_REFLECTANCE = "measurements/reflectance"
ENCODING = {"scale_factor": 0.0001, "add_offset": -0.1}


class Grid(NamedTuple):
    """What the arrays of a product share."""

    epsg: int
    corner: tuple[int, int]
    encoding: dict[str, float]


def write_product(
    path: Path,
    bands: dict[str, NDArray[np.uint16]],
    *,
    zarr_format: int = 2,
    epsg: int = 32633,
    corner: tuple[int, int] = (300000, 6200040),
    when: str = "2024-07-01T10:20:31.000000Z",
    level: str = "L2A",
    encoding: dict[str, float] | None = None,
    **properties: object,
) -> Path:
    """Write digital numbers as a product; `encoding` replaces scale and offset of the arrays."""
    root = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    code = {"proj:epsg": epsg} if zarr_format == 2 else {"proj:code": f"EPSG:{epsg}"}
    found = {
        "datetime": when,
        "platform": "sentinel-2a",
        "processing:level": level,
        "processing:version": "1.0.0",
        "product:type": f"S02MSI{level}",
        "eopf:datatake_id": "GS2A_20240701T102031_026250_N05.10",
        **code,
        **properties,
    }
    key = "horizontal_CRS_code" if zarr_format == 2 else "horizontal_crs_code"
    root.attrs.update(
        stac_discovery={"type": "Feature", "id": "S02MSIL2A_20240701", "properties": found},
        other_metadata={key: f"EPSG:{epsg}", "eopf_category": "eoproduct"},
    )
    grid = Grid(epsg, corner, ENCODING if encoding is None else encoding)
    for name, dn in bands.items():
        folder = "conditions/mask/l2a_classification" if name == "SCL" else _REFLECTANCE
        _array(root, folder, name, dn, RES[name], grid)
        if name != "SCL":
            mask = np.full_like(dn, 7, dtype="uint8")
            _array(root, "conditions/mask/detector_footprint", name, mask, RES[name], grid)
    if level == "L2A":
        _resampled(root, bands, grid)
    consolidate(root.store)
    return path


def consolidate(store: Store) -> None:
    """All metadata in one document, as in every product."""
    with warnings.catch_warnings():
        # zarr-python says that version 3 has no standard for it yet.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(store)


def _resampled(root, bands, grid):
    """The copies at 20 and 60 m that nobody may take: their numbers are told at once."""
    sizes = {RES[name]: dn.shape for name, dn in bands.items()}
    for res in (20, 60):
        for name, dn in bands.items():
            if RES[name] != res and name != "SCL" and res in sizes:
                copy = np.full(sizes[res], 1, dn.dtype)
                _array(root, _REFLECTANCE, name, copy, res, grid)


def _array(root, folder, name, dn, res, grid):
    """One array with its attributes, and the coordinates of its group."""
    group = root.require_group(f"{folder}/r{res}m")
    old = root.metadata.zarr_format == 2
    left, top = grid.corner
    attributes = {"fill_value": 0, "long_name": name}
    if folder == _REFLECTANCE:
        attributes |= {**grid.encoding, "units": "digital_counts"}
    if old:
        attributes["_eopf_attrs"] = {**grid.encoding, "fill_value": 0}
        transform = [res, 0, left, 0, -res, top, 0, 0, 1]
        attributes |= {"proj:epsg": grid.epsg, "proj:shape": dn.shape, "proj:transform": transform}
    _write(group, name.lower(), dn, ["y", "x"], attributes)
    for axis, start, step, size in (("x", left, res, dn.shape[1]), ("y", top, -res, dn.shape[0])):
        if axis not in group:
            centres = start + step * (np.arange(size) + 0.5)
            _write(group, axis, centres.astype("int64" if old else "float32"), [axis], {})


def _write(group, name, values, dims, attributes):
    """An array as the samples store it: Blosc in version 2, shards in version 3."""
    if group.metadata.zarr_format == 2:
        attributes = {**attributes, "_ARRAY_DIMENSIONS": dims}
        packing = {"compressors": numcodecs.Blosc("zstd", 3, numcodecs.Blosc.BITSHUFFLE)}
    else:
        packing = {"dimension_names": dims}
        if values.ndim == 2:
            packing["shards"] = tuple(18 * -(-size // 18) for size in values.shape)
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=(18,) * values.ndim,
        dtype=values.dtype,
        fill_value=0,
        attributes=attributes,
        **packing,
    )
    array[:] = values


def zipped(product: Path, *, folder: str = "") -> Path:
    """The product in one zip, as it is or in a folder."""
    path = product.with_name(f"{product.name}.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(product.rglob("*")):
            if file.is_file():
                archive.write(file, f"{folder}{file.relative_to(product)}")
    return path
