"""The thirteen bands of the MultiSpectral Instrument as one table, and the orders networks use.

Wavelengths and widths are those of Sentinel-2A in the Sentinel-2 User Handbook (ESA, 2015).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from decametric.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Band:
    """One spectral band of Sentinel-2."""

    name: str
    """Official name with two digits: ``"B02"``, ``"B8A"``."""
    resolution: int
    """Native ground sampling distance in metres: 10, 20 or 60."""
    key: str
    """Asset key of the Earth Search catalog, also the key of the items that we write."""
    wavelength: float
    """Central wavelength in nanometres."""
    width: float
    """Full width at half maximum in nanometres."""
    title: str
    """What the band is for, in words."""


BANDS: dict[str, Band] = {
    band.name: band
    for band in (
        Band("B01", 60, "coastal", 442.7, 21, "coastal aerosol"),
        Band("B02", 10, "blue", 492.4, 66, "blue"),
        Band("B03", 10, "green", 559.8, 36, "green"),
        Band("B04", 10, "red", 664.6, 31, "red"),
        Band("B05", 20, "rededge1", 704.1, 15, "red edge 1"),
        Band("B06", 20, "rededge2", 740.5, 15, "red edge 2"),
        Band("B07", 20, "rededge3", 782.8, 20, "red edge 3"),
        Band("B08", 10, "nir", 832.8, 106, "near infrared"),
        Band("B8A", 20, "nir08", 864.7, 21, "narrow near infrared"),
        Band("B09", 60, "nir09", 945.1, 20, "water vapour"),
        Band("B10", 60, "cirrus", 1373.5, 31, "cirrus"),
        Band("B11", 20, "swir16", 1613.7, 91, "short-wave infrared 1"),
        Band("B12", 20, "swir22", 2202.4, 175, "short-wave infrared 2"),
    )
}

RESOLUTIONS = (10, 20, 60)

# The order of the DSen2 family (Lanaras et al. 2018): blue comes third, not first.
BANDS_10M = ("B04", "B03", "B02", "B08")
BANDS_20M = ("B05", "B06", "B07", "B8A", "B11", "B12")
BANDS_60M = ("B01", "B09")

SHARPENED = BANDS_20M + BANDS_60M
"""Bands that can be raised to 10 m; B10 holds no surface signal and is never sharpened."""

NETWORK_BANDS: dict[int, tuple[str, ...]] = {10: BANDS_10M, 20: BANDS_20M, 60: BANDS_60M}
"""Bands of each native resolution, in the order in which the networks take them."""


def group(resolution: int) -> str:
    """Name of the DataTree child that holds the bands of one resolution: 10 -> ``"r10m"``."""
    return f"r{resolution}m"


def listed(bands: str | Iterable[str]) -> list[str]:
    """Names as a list; a single one may stand for itself."""
    return [bands] if isinstance(bands, str) else list(bands)


def band_name(text: str) -> str:
    """Official name of a band however it is written: ``"b4"``, ``"B4"``, ``"red"`` -> ``"B04"``.

    Raises
    ------
    UsageError
        If no band is meant.
    """
    for band in BANDS.values():
        if text.lower() == band.key:
            return band.name
    match = re.fullmatch(r"[Bb]?0?(\d{1,2})|[Bb]?0?8[Aa]", text)
    name = "B8A" if match and match[1] is None else f"B{int(match[1]):02d}" if match else text
    if name not in BANDS:
        message = f"{text!r} is not a Sentinel-2 band; choose from {', '.join(BANDS)}."
        raise UsageError(message)
    return name
