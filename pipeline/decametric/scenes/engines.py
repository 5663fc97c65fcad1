"""The two engines that read digital numbers lazily: stackstac, and odc-stac to check it.

Both get the same lean items (one asset per band, named after it, on the scene's own grid) and give
the same array. They are called with everything explicit: left alone, both snap southern tiles to
multiples of 60 m, warp, or mix zones without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from decametric.errors import UsageError
from decametric.scenes.access import BandFile, epsg, is_array
from decametric.scenes.items import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pystac
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import Geometry

ENGINES = ("stackstac", "odc-stac")


def check_engine(engine: str) -> str:
    """Return `engine` if it is one.

    Raises
    ------
    UsageError
        If it is not.
    """
    if engine not in ENGINES:
        message = f"engine={engine!r} is unknown; choose from {', '.join(ENGINES)}."
        raise UsageError(message)
    return engine


def digital_numbers(
    items: Sequence[pystac.Item],
    band: str,
    addresses: Sequence[str],
    grid: GeoBox,
    *,
    chunk: tuple[int, int],
    engine: str,
) -> da.Array:
    """Digital numbers of one band, one task per item and block.

    Parameters
    ----------
    items : sequence of pystac.Item
        Items in the order of the result.
    band : str
        Name of the band.
    addresses : sequence of str
        The band's `locator` for every item.
    grid : GeoBox
        Pixels to read.
    chunk : (int, int)
        Rows and columns of a block in pixels.
    engine : {"stackstac", "odc-stac"}
        Who reads.

    Returns
    -------
    dask.array.Array
        uint16 over (item, y, x); 0 = no data.
    """
    if engine == "odc-stac" and any(is_array(address) for address in addresses):
        message = "engine='odc-stac' reads no Zarr products; use engine='stackstac'."
        raise UsageError(message)
    extent = grid.geographic_extent
    lean = [
        _lean(n, item, {band: address}, grid, extent)
        for n, (item, address) in enumerate(zip(items, addresses, strict=True))
    ]
    read = _read_stackstac if engine == "stackstac" else _read_odc
    return read(lean, band, grid, chunk)


def _lean(
    order: int, item: pystac.Item, addresses: Mapping[str, str], grid: GeoBox, extent: Geometry
) -> dict[str, Any]:
    """Item with nothing but time, grid and addresses, in the dialect that both engines speak."""
    projection = {"proj:shape": list(grid.shape), "proj:transform": list(grid.transform)[:6]}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json"
        ],
        # The number keeps the order of equal times; odc-stac sorts by time and id.
        "id": f"{order:06d}",
        "geometry": extent.json,
        "bbox": list(extent.boundingbox),
        "properties": {"datetime": moment(item).isoformat(), "proj:epsg": epsg(grid)},
        "links": [],
        "assets": {
            name: {"href": href, "roles": ["data"], **projection}
            for name, href in addresses.items()
        },
    }  # fmt: skip


def _read_stackstac(
    items: list[dict[str, Any]], band: str, grid: GeoBox, chunk: tuple[int, int]
) -> da.Array:
    """The one exact call of stackstac."""
    import stackstac  # the other engine does without

    cube = stackstac.stack(
        items,
        assets=[band],
        epsg=epsg(grid),
        resolution=grid.resolution.x,
        bounds=tuple(grid.boundingbox),
        snap_bounds=False,
        xy_coords=False,
        dtype=np.dtype("uint16"),
        fill_value=np.uint16(0),
        rescale=False,
        sortby_date=False,
        properties=False,
        band_coords=False,
        chunksize=(1, 1, *chunk),
        # A missing file is an error, never no data (stackstac's default forgives HTTP 404).
        errors_as_nodata=(),
        reader=BandFile,
    )
    # Blockwise and not a slice takes the band axis away, so that the read fuses with what follows.
    data: da.Array = da.blockwise(
        _only, "tyx", cube.data, "tbyx", dtype=cube.dtype, meta=np.empty((0, 0, 0), cube.dtype)
    )
    return data


def _only(blocks: list[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    """The block of the one band, without its axis."""
    return blocks[0][:, 0]


def _read_odc(
    items: list[dict[str, Any]], band: str, grid: GeoBox, chunk: tuple[int, int]
) -> da.Array:
    """The same by odc-stac."""
    import odc.stac  # seconds to import, and only for checks
    import pystac

    from decametric.scenes.parity import GuardedDriver

    cube = odc.stac.load(
        [pystac.Item.from_dict(item) for item in items],
        bands=[band],
        geobox=grid,
        chunks={"y": chunk[0], "x": chunk[1]},
        groupby="id",
        dtype="uint16",
        stac_cfg={"*": {"assets": {"*": {"data_type": "uint16", "nodata": 0}}}},
        driver=GuardedDriver(),
    )
    data: da.Array = cube[band].data
    return data
