"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine

from decametric.bands import BANDS

RESOLUTION = {name: band.resolution for name, band in BANDS.items()} | {"SCL": 20}
TWELVE = [name for name in BANDS if name != "B10"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real Sentinel-2 data, which lies beside the repository and not in it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("DECAMETRIC_SHARED_DATA", beside))
    if not (path / "stac" / "catalog.json").is_file():
        pytest.skip("real data absent; set DECAMETRIC_SHARED_DATA to their folder")
    return path


@dataclass
class Positions:
    """Writes items whose pixels tell their own place: a shift by one pixel cannot hide."""

    folder: Path
    written: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Per item and band: the digital numbers written."""

    def numbers(self, band: str, shape: tuple[int, int]) -> np.ndarray:
        """Digital numbers of a band, all different in a row of 65535 pixels, none of them 0."""
        first = 7919 * list(RESOLUTION).index(band)
        return (1 + (first + np.arange(np.prod(shape)).reshape(shape)) % 65535).astype("uint16")

    def write(
        self,
        name: str = "S2A_33UUB_20240701_0_L2A",
        *,
        epsg: int = 32633,
        corner: tuple[int, int] = (300000, 6200040),
        shape: tuple[int, int] = (9, 11),
        bands: list[str] | None = None,
        version: int = 1,
        when: str = "2024-07-01T10:20:31Z",
        offset: float | None = -0.1,
        holes: dict[str, np.ndarray] | None = None,
        **properties: object,
    ) -> pystac.Item:
        """Write the files of an item, and the item beside them; the saved item is returned.

        Parameters
        ----------
        shape
            Rows and columns of 60 m.
        bands
            Bands written; default: the twelve and SCL.
        version
            Version of the projection and raster extensions: 1 or 2.
        holes
            Per band: where no data (0) is written.
        properties
            Further properties of the item, ``__`` for a colon.
        """
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        crs = {"proj:code": f"EPSG:{epsg}"} if version > 1 else {"proj:epsg": epsg}
        item = {
            "type": "Feature",
            "stac_version": "1.1.0" if version > 1 else "1.0.0",
            "stac_extensions": [
                f"https://stac-extensions.github.io/projection/v{version}.0.0/schema.json",
                f"https://stac-extensions.github.io/raster/v{version}.0.0/schema.json",
            ],
            "id": name,
            "geometry": None,
            "properties": {
                "datetime": when,
                **crs,
                **{key.replace("__", ":"): value for key, value in properties.items()},
            },
            "links": [],
            "assets": {},
        }
        self.written[name] = {}
        for band in bands if bands is not None else [*TWELVE, "SCL"]:
            res = RESOLUTION[band]
            dn = self.numbers(band, tuple(n * 60 // res for n in shape))
            dn = (dn % 11 + 1).astype("uint8") if band == "SCL" else dn
            dn[(holes or {}).get(band, np.zeros(dn.shape, bool))] = 0
            self.written[name][band] = dn
            transform = Affine(res, 0, corner[0], 0, -res, corner[1])
            write_cog(folder / f"{band}.tif", dn, transform, epsg)
            key = "scl" if band == "SCL" else BANDS[band].key
            item["assets"][key] = asset(band, dn, transform, version, offset)
        path = folder / f"{name}.json"
        pystac.Item.from_dict(item, href=str(path)).save_object(dest_href=str(path))
        return pystac.Item.from_file(str(path))


def asset(
    band: str, dn: np.ndarray, transform: Affine, version: int, offset: float | None
) -> dict[str, object]:
    """Asset of one file, with metadata of either version of the extensions."""
    base = {
        "href": f"./{band}.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "gsd": RESOLUTION[band],
        "proj:shape": list(dn.shape),
        "proj:transform": list(transform)[:6],
        "roles": ["data"],
    }
    if band == "SCL" or offset is None:
        return base
    if version > 1:
        return base | {"bands": [{"name": band, "raster:scale": 1e-4, "raster:offset": offset}]}
    return base | {"raster:bands": [{"nodata": 0, "scale": 1e-4, "offset": offset}]}


def write_cog(path: Path, dn: np.ndarray, transform: Affine, epsg: int) -> None:
    """Write a one-band COG of unsigned integers, 0 = no data."""
    height, width = dn.shape
    with rasterio.open(
        path,
        "w",
        driver="COG",
        height=height,
        width=width,
        count=1,
        dtype=dn.dtype,
        crs=f"EPSG:{epsg}",
        transform=transform,
        nodata=0,
        blocksize=128,
        compress="deflate",
        overviews="none",
    ) as file:
        file.write(dn, 1)


@pytest.fixture
def position_item(tmp_path: Path) -> Positions:
    """Factory of items whose pixels tell their place: ``position_item.write(...)``."""
    return Positions(tmp_path)
