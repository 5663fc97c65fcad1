"""The presets in the package are what their cards and MODELS.md say."""

from __future__ import annotations

import numpy as np
import pytest

import decametric as dm
from benchmarks.models import dsen2_cost
from decametric.bands import SHARPENED
from decametric.scenes.sources import read_items
from decametric.superres.presets import DEFAULT_PRESETS, SHIPPED, KerasPredictor, read_card

BUNDLES = sorted(SHIPPED.glob("*/[26]x"))


def test_there_is_a_default_for_each_level_and_all_of_them_are_small():
    assert set(DEFAULT_PRESETS.values()) <= {folder.parent.name for folder in BUNDLES}
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*.*")) < 40e6


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_card_tells_where_a_network_comes_from(bundle):
    card = read_card(bundle)
    assert card.name == f"{bundle.parent.name}-{card.ratio}x"
    assert bundle.name == f"{card.ratio}x"
    assert bundle.parent.name.endswith(card.level.lower())
    trained, chosen = set(card.training["items"]), card.scores
    assert trained
    assert not trained & set(chosen["validation"])
    assert all(chosen["rmse_dn"][band] < chosen["bicubic_dn"][band] / 2 for band in card.bands_out)
    assert "Copernicus" in card.licence


@pytest.mark.parametrize("bundle", [b for b in BUNDLES if b.parent.name.startswith("fast")])
def test_fast_costs_less_than_a_third_of_dsen2(bundle):
    card = read_card(bundle)
    assert KerasPredictor(bundle, card).flops < 0.3 * dsen2_cost(card.ratio)


def test_a_real_scene_beats_the_published_network_and_halves_bicubic(shared_data):
    catalog = read_items(shared_data / "stac" / "catalog.json")
    (item,) = [item for item in catalog if item.id == "oscd-brasilia-2"]
    found = dm.assess(dm.load(item), metrics=["rmse"])["rmse"].compute() * 10_000
    for ratio, published in ((2, 66.5), (6, 22.1)):  # AESR (Mueller et al. 2020) by this protocol
        here = found.sel(ratio=ratio)
        assert float(here.sel(predictor="fast-l1c", band="mean")) < published
    ours, bicubic = (found.max("ratio").sel(predictor=name) for name in ("fast-l1c", "bicubic"))
    assert np.all(ours.sel(band=list(SHARPENED)) < bicubic.sel(band=list(SHARPENED)) / 2)
