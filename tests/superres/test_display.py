"""How predictors show themselves on a terminal and in a notebook."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import decametric as dm
from decametric.superres.predictor import Joint
from decametric.superres.presets import SHIPPED, read_card


@pytest.fixture
def network():
    return dm.load_predictor("fast-l2a")


class Cells(HTMLParser):
    """Texts of the cells of a table, row by row, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.tags = [], set()
        self.feed(html)

    def handle_starttag(self, tag, _attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        self.rows[-1].append(data)


def test_a_preset_tells_its_networks_side_by_side(network):
    cards = [read_card(SHIPPED / "fast-l2a" / ratio) for ratio in ("2x", "6x")]
    rows = {label: values for label, *values in Cells(network._repr_html_()).rows}
    assert rows["predictor"] == ["fast-l2a"]
    assert rows["ratio"] == ["2x", "6x"]
    assert rows["level"] == ["L2A"]
    assert rows["bands"] == [", ".join(card.bands_out) for card in cards]
    assert rows["SHA-256"] == [card.sha256[:12] for card in cards]
    parts = [part.predictor for part in network.parts]
    assert rows["parameters"] == [f"{part.parameters:,}" for part in parts]
    assert rows["halo"][0] == f"{network.halo} pixels of 10 m"


def test_terminal_and_notebook_tell_the_same(network):
    for predictor in (dm.Bicubic(("B11",)), network, network.parts[0], network.parts[0].predictor):
        rows = Cells(predictor._repr_html_()).rows
        lines = repr(predictor).splitlines()
        assert [" ".join(" ".join(row).split()) for row in rows] == [
            " ".join(line.split()) for line in lines
        ]
        assert not any(line.endswith(" ") for line in lines)


def test_a_table_brings_no_script_and_no_colours(network):
    html = network._repr_html_()
    assert Cells(html).tags == {"table", "tr", "th", "td"}
    assert "color" not in html
    assert "background" not in html


def test_names_are_text_and_never_markup():
    assert "<script>" not in Joint("<script>", (dm.Bicubic(),))._repr_html_()


def test_a_network_whose_file_is_gone_still_shows_itself(network, tmp_path):
    moved = replace(network.parts[0].predictor, path=tmp_path)
    assert "parameters" not in repr(moved)
    assert moved.card.sha256[:12] in repr(moved)


class Doubled:
    """A predictor of somebody else, with no more than the protocol asks for."""

    bands_in = bands_out = ("B11",)
    halo = 0

    def __call__(self, _b10, b20, _b60):
        return np.kron(b20, np.ones((1, 2, 2), np.float32))


def test_a_preset_of_foreign_members_shows_what_they_tell():
    rows = Cells(Joint("mine", (Doubled(), dm.Bilinear(("B01",))))._repr_html_()).rows
    told = {label: values for label, *values in rows}
    assert told["bands"] == ["B11", "B01"]
