"""The table of bands, the orders of the networks, and the names people write."""

from __future__ import annotations

import pytest

from decametric import bands
from decametric.bands import BANDS, band_name
from decametric.errors import UsageError


def test_the_table_holds_the_thirteen_bands_in_spectral_order():
    assert list(BANDS) == [
        "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
    ]  # fmt: skip
    waves = [band.wavelength for band in BANDS.values()]
    assert waves == sorted(waves)
    assert all(name == band.name for name, band in BANDS.items())


def test_network_orders_are_those_of_dsen2():
    assert bands.BANDS_10M == ("B04", "B03", "B02", "B08")
    assert bands.BANDS_20M == ("B05", "B06", "B07", "B8A", "B11", "B12")
    assert bands.BANDS_60M == ("B01", "B09")
    assert bands.SHARPENED == bands.BANDS_20M + bands.BANDS_60M


@pytest.mark.parametrize(("resolution", "count"), [(10, 4), (20, 6), (60, 2)])
def test_network_bands_are_recorded_at_their_resolution(resolution, count):
    names = bands.NETWORK_BANDS[resolution]
    assert len(set(names)) == count
    assert {BANDS[name].resolution for name in names} == {resolution}
    assert bands.group(resolution) == f"r{resolution}m"


def test_only_cirrus_goes_through_no_network():
    used = {name for names in bands.NETWORK_BANDS.values() for name in names}
    assert set(BANDS) - used == {"B10"}


@pytest.mark.parametrize("band", BANDS.values(), ids=list(BANDS))
def test_every_way_to_write_a_band_means_it(band):
    short = band.name.replace("B0", "B")
    ways = {
        band.name,
        band.name.lower(),
        band.key,
        band.key.upper(),
        short,
        short.lower(),
        short[1:],
    }
    assert {band_name(way) for way in ways} == {band.name}


@pytest.mark.parametrize("text", ["", "B", "B00", "B13", "8B", "B8AA", "swir", " B04"])
def test_what_is_no_band_is_refused_with_the_choice(text):
    with pytest.raises(
        UsageError, match=r"is not a Sentinel-2 band; choose from B01, .*B12\."
    ) as info:
        band_name(text)
    assert repr(text) in str(info.value)
