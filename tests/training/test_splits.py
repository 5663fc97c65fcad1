"""Splits by place: one place on both sides is refused, whatever the date."""

from __future__ import annotations

import pystac
import pytest

from decametric.errors import UsageError
from decametric.training.splits import check_levels, check_places


@pytest.fixture(scope="module")
def by_split(shared_data):
    catalog = pystac.Catalog.from_file(str(shared_data / "stac" / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    return {
        name: [item for item in items if item.properties["split"] == name]
        for name in ("train", "validation", "test")
    }


def test_the_splits_of_the_shared_catalog_do_not_leak(by_split):
    check_places(by_split["train"], by_split["validation"])
    check_places(by_split["train"], by_split["test"])


def test_two_dates_of_one_place_are_refused(by_split):
    one, other = (i for i in by_split["train"] if i.id.startswith("oscd-milano"))
    with pytest.raises(UsageError, match=r"oscd-milano-1 .* oscd-milano-2 .* tile 32TNR"):
        check_places([one], [other])


def test_neighbours_on_one_tile_are_refused(by_split):
    brasilia, aguasclaras = (
        next(i for i in by_split["validation"] if name in i.id)
        for name in ("brasilia", "aguasclaras")
    )
    with pytest.raises(UsageError, match="both are of tile 22LHH"):
        check_places([brasilia], [aguasclaras])


def test_areas_that_meet_are_refused_though_the_tiles_differ(by_split):
    item = by_split["train"][0]
    other = item.clone()
    other.id = "elsewhere"
    for name in ("grid:code", "s2:mgrs_tile", "mgrs:utm_zone"):
        other.properties.pop(name, None)
    other.properties["grid:code"] = "MGRS-01CAA"
    with pytest.raises(UsageError, match="their areas meet"):
        check_places([item], [other])


def test_a_level_that_is_not_asked_for_is_refused(by_split):
    with pytest.raises(UsageError, match="S2B_48QUE_20200223_L2A_majortom_west are not L1C"):
        check_levels(by_split["train"], "L1C", any_level=False)
    check_levels(by_split["train"], "L1C", any_level=True)
