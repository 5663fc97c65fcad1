"""Where an MGRS tile lies, told from its name (DMA Technical Manual 8358.1, 1990)."""

from __future__ import annotations

from typing import NamedTuple

from pyproj import Transformer

from decametric.errors import UsageError

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Latitude bands of eight degrees from 80 degrees south."""

_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
"""Letters of the columns of 100 km, for zones that leave 0, 1 and 2 when divided by three."""

_ROWS = "ABCDEFGHJKLMNPQRSTUV"
"""Letters of the rows of 100 km; in even zones they begin at F."""

_SQUARE = 100_000


class Place(NamedTuple):
    """Degrees east and north."""

    lon: float
    lat: float


def tile_centre(tile: str) -> Place:
    """Centre of the 100 km square of a tile, ``"33UUB"``.

    Raises
    ------
    UsageError
        If the name means no tile.
    """
    zone, band = int(tile[:2]), tile[2]
    try:
        column = _COLUMNS[zone % 3].index(tile[3])
        row = _ROWS.index(tile[4])
        south = -80 + 8 * _BANDS.index(band)
    except ValueError:
        message = f"{tile!r} is not a tile of the grid; one is called 33UUB, for instance."
        raise UsageError(message) from None
    easting = (column + 1.5) * _SQUARE
    northing = ((row - 5 * (zone % 2 == 0)) % len(_ROWS) + 0.5) * _SQUARE
    hemisphere = 32600 if band >= "N" else 32700
    degrees = Transformer.from_crs(hemisphere + zone, 4326, always_xy=True)
    # The letters of rows repeat every 2000 km: take the first row that reaches into the band.
    place = Place(*degrees.transform(easting, northing))
    while place.lat < south - 0.5:
        northing += len(_ROWS) * _SQUARE
        place = Place(*degrees.transform(easting, northing))
    return place
