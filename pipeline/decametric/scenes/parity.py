"""odc-stac's file driver behind the same guard as stackstac's reader.

The pixels are read by odc-loader's own code, so that it stays an independent witness; before that
the file is opened once under the rules of `access`, which odc-loader does not have.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from odc.loader import RioDriver, RioReader
from rasterio.errors import RasterioError

from decametric.scenes.access import environment, epsg, open_band, placement, unreadable
from decametric.scenes.keys import sign

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from odc.loader._rio import LocalContext
    from odc.loader.types import RasterLoadParams, RasterSource, ReaderSubsetSelection

# odc-loader logs the whole URL of a file that fails, token and all; our error names the file.
logging.getLogger("odc.loader._rio").addFilter(lambda record: record.levelno < logging.WARNING)


class GuardedReader(RioReader):
    """Reader of one file that refuses what `access` refuses."""

    def read(
        self,
        cfg: RasterLoadParams,
        dst_geobox: GeoBox,
        *,
        dst: NDArray[Any] | None = None,
        selection: ReaderSubsetSelection | None = None,
    ) -> tuple[tuple[slice, slice], NDArray[Any]]:
        """Pixels of the file on `dst_geobox` and their place in it.

        Raises
        ------
        SceneError
            If the file cannot be read, or does not fit the grid.
        """
        address = self._src.uri
        try:
            with ExitStack() as stack:
                stack.enter_context(environment(address))
                dataset = stack.enter_context(open_band(address))
                placement(dataset, dst_geobox.transform, epsg(dst_geobox), address)
                plain = replace(self._src, uri=sign(address.rpartition("#")[0]))
                return RioReader(plain, self._ctx).read(
                    cfg, dst_geobox, dst=dst, selection=selection
                )
        except RasterioError as error:
            failure = unreadable(address, error)
        raise failure


class GuardedDriver(RioDriver):
    """odc-loader's driver with `GuardedReader`."""

    def open(self, src: RasterSource, ctx: LocalContext) -> GuardedReader:
        """Reader of one file; nothing is opened yet."""
        return GuardedReader(src, ctx)
