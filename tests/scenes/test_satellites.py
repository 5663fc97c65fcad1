"""Sentinel-2A, B, C and D are read alike, in the words of every catalog."""

from __future__ import annotations

import pystac
import pytest

import eopf_product as made
from decametric.scenes.items import describe
from decametric.scenes.reader import load
from decametric.scenes.sources import read_items
from decametric.training.recipe import _PRODUCT

SATELLITES = ["S2A", "S2B", "S2C", "S2D"]

# Product and item of one observation; {} stands for the satellite.
PRODUCT = "{}_MSIL2A_20250701T102041_N0511_R065_T33UUB_20250701T162411"
DIALECTS = {
    "Earth Search": ("{}_33UUB_20250701_0_L2A", {}),
    "Earth Search c1": ("{}_T33UUB_20250701T102041_L2A", {}),
    "Planetary Computer": ("{}_MSIL2A_20250701T102041_R065_T33UUB_20250701T162411", {}),
    "CDSE": (PRODUCT, {"processing:version": "05.11", "product:type": "S2MSI2A"}),
}


def item_of(satellite, name, properties):
    """An item with one band, as catalogs of that dialect name it."""
    take = f"G{satellite}_20250701T102041_{7:06d}_N05.11"
    item = pystac.Item(
        name.format(satellite),
        geometry=None,
        bbox=None,
        datetime=pystac.utils.str_to_datetime("2025-07-01T10:20:41Z"),
        properties={
            "platform": f"sentinel-{satellite[1:].lower()}",
            "s2:datatake_id": take,
            "s2:product_uri": f"{PRODUCT.format(satellite)}.SAFE",
            **properties,
        },
    )
    item.add_asset("red", pystac.Asset("B04.tif"))
    return item


@pytest.mark.parametrize("satellite", SATELLITES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_items_of_every_satellite_are_understood(satellite, dialect):
    info = describe(item_of(satellite, *DIALECTS[dialect]))
    assert (info.level, info.tile, info.baseline) == ("L2A", "33UUB", "05.11")
    assert (info.rule.offset, info.rule.reason) == (-1000, "processing baseline 05.11")


@pytest.mark.parametrize("satellite", SATELLITES)
def test_what_was_processed_twice_is_recognised(position_item, satellite):
    """By the name of the product alone, as in catalogs that tell no datatake."""
    options = {"bands": ["B02"], "when": "2025-07-01T10:20:41Z", "offset": -0.1}
    names = [PRODUCT.format(satellite).replace("N0511", number) for number in ("N0510", "N0511")]
    items = [position_item.write(name, **options) for name in names]
    (step,) = load(items, bands=["B02"]).attrs["provenance"]["scenes"]
    assert step["items"] == names[1:]


@pytest.mark.parametrize("satellite", SATELLITES)
def test_eopf_products_of_every_satellite(position_item, tmp_path, satellite):
    name = PRODUCT.format(satellite)
    position_item.write(name, bands=["B02"], shape=(2, 2))
    path = made.write_product(
        tmp_path / f"{name}.zarr",
        position_item.written[name],
        platform=f"sentinel-{satellite[1:].lower()}",
        **{"eopf:datatake_id": f"G{satellite}_20250701T102041_000007_N05.11"},
    )
    info = describe(read_items(path)[0])
    assert (info.id, info.tile, info.baseline) == (name, "33UUB", "05.11")


@pytest.mark.parametrize("satellite", SATELLITES)
def test_recipes_take_products_of_every_satellite(satellite):
    match = _PRODUCT.fullmatch(PRODUCT.format(satellite))
    assert match is not None
    assert match["satellite"] == satellite
