"""Scores reach the reader whole: rows, one JSON document, tables, and a page that stands alone."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import made_scenes as made
from decametric.bands import BANDS_20M, BANDS_60M, SHARPENED
from decametric.evaluation.assess import named
from decametric.evaluation.bars import svg
from decametric.evaluation.page import write_report
from decametric.evaluation.pictures import EDGE, colours, detail, heat, liveliest
from decametric.evaluation.report import document, lines, rows, score, text
from decametric.superres.predictor import Bicubic

METRICS = ["rmse", "psnr", "ergas"]


def scene(*, dates=1, gaps=False, rows_=144, cols=144):
    bands = made.random_bands(rows_, cols, dates=dates)
    if gaps:
        bands = made.with_gaps(bands)
    tree = made.scene_of(bands, 144)
    facts = {"time": "2020-01-01T00:00:00Z", "offset": [0], "rule": ["none <stated>"]}
    tree.attrs["provenance"] = {"scenes": [{**facts, "items": [f"item-{n}"]} for n in range(dates)]}
    return tree


@pytest.fixture(scope="module")
def known():
    return named("bicubic")


@pytest.fixture(scope="module")
def items(known):
    return list(score(scene(dates=2), known, metrics=METRICS))


def test_each_date_is_an_item_of_its_own(items):
    assert [item.name for item in items] == ["item-0", "item-1"]
    both = scene(dates=2)
    for n, item in enumerate(items):
        assert dict(item.scene["r10m"].sizes)["time"] == 1
        alone = scene(dates=2).isel(time=[n])
        np.testing.assert_array_equal(item.scene["r20m"]["B11"], alone["r20m"]["B11"])
        assert item.scene.attrs["provenance"]["scenes"] == [both.attrs["provenance"]["scenes"][n]]
    assert not items[0].scores.equals(items[1].scores)


def test_rows_hold_every_score_once_in_its_unit(items):
    found = {(r["predictor"], r["ratio"], r["band"], r["metric"]): r for r in rows(items[0].scores)}
    expected = {
        (name, ratio, band, metric)
        for name in ("bilinear", "bicubic")
        for ratio, bands in ((2, BANDS_20M), (6, BANDS_60M))
        for metric in METRICS
        for band in (("mean",) if metric == "ergas" else (*bands, "mean"))
    }
    assert set(found) == expected
    assert len(rows(items[0].scores)) == len(expected)
    row, place = (
        found["bicubic", 2, "B11", "rmse"],
        {"predictor": "bicubic", "ratio": 2, "band": "B11"},
    )
    assert row["unit"] == "DN"
    assert row["value"] == pytest.approx(1e4 * float(items[0].scores["rmse"].sel(place)))
    assert found["bicubic", 2, "B11", "psnr"]["unit"] == "dB"
    assert found["bicubic", 2, "B11", "psnr"]["value"] == float(items[0].scores["psnr"].sel(place))


def table(values):
    """Scores of two predictors for B11 alone."""
    data = xr.DataArray(values, dims="predictor", attrs={"units": "dB"})
    data = data.expand_dims(ratio=[2, 6], band=["B11"]).where(
        xr.DataArray([True, False], dims="ratio")
    )
    return xr.Dataset({"psnr": data.assign_attrs(units="dB")}, {"predictor": ["a", "b"]})


def test_what_is_not_a_finite_number_is_none():
    first, second = rows(table([np.inf, np.nan]))
    assert (first["value"], second["value"]) == (None, None)
    assert rows(table([np.nan, np.nan])) == []


def test_the_document_is_valid_json_and_says_how_it_was_made(items, known):
    found = json.loads(json.dumps(document(items, known), allow_nan=False))
    assert list(found) == ["items", "protocol", "scores"]
    assert found["items"] == ["item-0", "item-1"]
    keys = ["item", "predictor", "ratio", "band", "metric", "value", "unit"]
    assert all(list(row) == keys for row in found["scores"])
    protocol = found["protocol"]
    assert protocol["ratios"] == [2, 6]
    assert protocol["data_range"] == 1.0
    assert [each["name"] for each in protocol["predictors"]] == ["bilinear", "bicubic"]
    assert protocol["metrics"]["rmse"]["units"] == "DN"


def test_the_table_shows_the_means(items):
    header, found, _ = lines(items[1])
    assert header == ("item", "ratio", "metric", "unit", "bilinear", "bicubic")
    assert [line[1:4] for line in found[:3]] == [
        ("2x", "rmse", "DN"),
        ("2x", "psnr", "dB"),
        ("2x", "ergas", "1"),
    ]
    mean = float(items[1].scores["rmse"].sel(band="mean", ratio=2, predictor="bicubic")) * 1e4
    assert float(found[0][5]) == pytest.approx(mean, rel=1e-3)
    assert {line[0] for line in found} == {"item-1"}


class Reader(HTMLParser):
    """Collects tags, and checks that they close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.found, self.addresses, self.marked = [], [], [], []

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        self.found.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "data", "xlink:href")]
        if tag not in ("meta", "img"):
            self.open.append((tag, facts.get("class") or ""))

    def handle_startendtag(self, tag, _attrs):
        self.found.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and "best" in self.open[-1][1].split():
            self.marked.append(data)


@pytest.fixture(scope="module")
def page(items, known, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = write_report(folder, items[:1], known)
    assert path == folder / "index.html"
    assert json.loads((folder / "scores.json").read_text())["items"] == ["item-0"]
    reader = Reader()
    reader.feed(path.read_text())
    assert reader.open == []
    return path.read_text(), reader


def test_the_page_needs_nothing_but_itself(page):
    html, reader = page
    assert reader.addresses
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    assert not {"script", "link", "iframe", "object"} & set(reader.found)
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_names_what_it_is_made_of(page):
    html, reader = page
    assert "none &lt;stated&gt;" in html
    assert "<stated>" not in html
    assert reader.found.count("svg") == 2
    assert all(f">{band}</" in html for band in SHARPENED)


def test_the_best_value_of_a_line_is_marked(page, items):
    _, reader = page
    scores = items[0].scores.sel(band="mean", ratio=2)
    best = {
        "rmse": scores["rmse"].min() * 1e4,
        "psnr": scores["psnr"].max(),
        "ergas": scores["ergas"].min(),
    }
    for shown, value in zip(reader.marked, best.values(), strict=False):
        assert float(shown.split()[0]) == pytest.approx(float(value), rel=1e-3)
        assert shown.endswith("\u2605")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.nan, "-"), (np.inf, "inf"), (0.99876, "0.9988"), (-1e-7, "0"), (12345.678, "12345.7"),
        (146.357, "146.4"), (0.00046, "0.0005"),
    ],
)  # fmt: skip
def test_numbers_are_shown_without_noise(value, shown):
    assert text(value) == shown


def test_an_item_without_valid_pixels_says_so(known, tmp_path):
    empty = scene()
    for child in empty.children.values():
        for band in child.data_vars:
            child[band] = child[band] * np.float32(np.nan)
    (item,) = score(empty, known, metrics=["rmse"])
    assert rows(item.scores) == []
    assert "no pixel is valid" in write_report(tmp_path, [item], known).read_text()


def pixels(uri):
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


@pytest.mark.parametrize("gaps", [False, True])
def test_pictures_show_input_results_reference_and_errors(known, gaps):
    found = detail(scene(gaps=gaps), known, 2)
    assert [each.title for each in found.images] == [
        "input, 40 m",
        "bilinear, 20 m",
        "bicubic, 20 m",
        "reference, 20 m",
    ]
    assert [each.title for each in found.errors] == ["bilinear", "bicubic"]
    shapes = {pixels(each.uri).shape for each in (*found.images, *found.errors)}
    assert shapes == {(72, 72, 3)}
    given = pixels(found.images[0].uri)
    np.testing.assert_array_equal(given[::2, ::2], given[1::2, 1::2])
    assert found.brightest > 0


def test_a_band_without_data_is_not_drawn(known):
    tree = scene()
    tree["r20m"]["B12"] = tree["r20m"]["B12"] * np.float32(np.nan)
    found, whole = detail(tree, known, 2), detail(scene(), known, 2)
    assert found.bands == tuple(band for band in whole.bands if band != "B12")
    assert found.brightest > 0
    assert len(found.images) == len(whole.images)


def test_the_scale_of_errors_is_that_of_all_pictures(known):
    tree = scene()
    perfect = {"truth": Bicubic(), **known}
    found = detail(tree, perfect, 6)
    assert found.bands == ("B01", "B09")
    np.testing.assert_array_equal(pixels(found.errors[0].uri), pixels(found.errors[2].uri))
    assert pixels(found.scale).shape == (1, 256, 3)
    assert pixels(found.scale)[0, 0].sum() < pixels(found.scale)[0, -1].sum()


def test_the_detail_is_where_the_contrast_is():
    band = np.full((70, 90), 0.2)
    band[33:35, 64:66] = [[0, 1], [1, 0]]
    band[:30] = np.nan
    assert liveliest(band, 30) == (slice(30, 60), slice(60, 90))
    assert liveliest(band, EDGE) == (slice(0, 70), slice(0, 90))


def test_colours_follow_the_limits_and_no_data_is_grey():
    limits = np.array([0.1, 0.3]).reshape(2, 1, 1, 1)
    grey = colours(np.array([[[0.0, 0.2, 0.9, np.nan]]]), limits)[0]
    np.testing.assert_allclose(grey[:, 0], [0, 0.5, 1, 0.85])
    two = colours(np.array([[[0.1]], [[0.3]]]), limits)[0, 0]
    np.testing.assert_allclose(two, [1, 0.5, 0])
    np.testing.assert_allclose(heat(np.array([[np.nan]]))[0, 0], 0.85)


def test_bars_are_as_long_as_their_values():
    drawing = svg(
        "rmse", ["B11", "B12"], ["bicubic", "a<b"], np.array([[10.0, 5.0], [np.nan, -10.0]])
    )
    assert "a&lt;b" in drawing
    lengths = [float(w) for w in re.findall(r'width="([\d.]+)" height="12" fill', drawing)][2:]
    assert lengths == [lengths[0], pytest.approx(lengths[0] / 2, abs=0.1), 0, lengths[0]]
