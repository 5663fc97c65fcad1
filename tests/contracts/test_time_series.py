"""A year of a real place, from the command of a user to its curves, in a few lines of xarray."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

from decametric.runs.series import run_series

PLACE = "oscd-brasilia"
TILE = "22LHH"
DATES = [date(2018, month, 5 + month % 3) for month in range(1, 13)]


@pytest.fixture(scope="module")
def items(shared_data):
    """Twelve dates of one place: its two real ones in turn, with new dates."""
    made = []
    for number, day in enumerate(DATES):
        name = f"{PLACE}-{number % 2 + 1}"
        path = shared_data / "stac" / "sentinel-2-l1c" / name / f"{name}.json"
        document = json.loads(path.read_text())
        document["id"] = f"{name}-{day:%Y%m%d}"
        document["properties"]["datetime"] = f"{day}T13:22:19Z"
        document["links"] = []
        made.append(pystac.Item.from_dict(document, href=str(path)))
    return made


@pytest.fixture(scope="module")
def store(items, tmp_path_factory):
    """The series in a store, written in two runs: every third date came late."""
    path = tmp_path_factory.mktemp("series") / "brasilia.zarr"
    options = {"predictor": "bicubic", "bands": ["B04", "B05", "B08"]}
    first = [item for n, item in enumerate(items) if n % 3]
    assert len(run_series(first, path, **options).of("done")) == 8
    report = run_series(items, path, **options)
    assert (len(report.of("done")), len(report.of("skipped"))) == (4, 8)
    return path


README = Path(__file__).parents[2] / "cluster" / "README.md"
(CODE,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def curves(store):
    """Results of the lines that the documentation shows."""
    names = {}
    with contextlib.chdir(store.parent):
        exec(compile(CODE, README.name, "exec"), names)  # noqa: S102  (our own document)
    names["series"].close()
    return names["place"], names["seasons"]


def reflectance(item, key):
    """Reflectance of a band of 10 m as it lies in the file; NaN = no data."""
    with rasterio.open(item.assets[key].get_absolute_href()) as file:
        dn = file.read(1).astype(float)
    return np.where(dn == 0, np.nan, dn / 10_000)


def test_the_code_is_short():
    assert len(CODE.splitlines()) < 10


def test_the_dates_are_in_order_wherever_they_came_from(store):
    with xr.open_zarr(store, group=TILE) as series:
        found = series.time.values.astype("datetime64[D]").tolist()
    assert found == DATES


def test_the_curves_are_those_of_the_files(curves, items):
    place, seasons = curves
    ndvi = []
    for item in items:
        red, near = reflectance(item, "red"), reflectance(item, "nir")
        ndvi.append((near - red) / (near + red))
    assert place.sizes == {"time": 12}
    np.testing.assert_allclose(place.ndvi, [np.nanmean(each) for each in ndvi], atol=1e-4)
    # The two real dates are a dry and a rainy one.
    assert abs(float(place.ndvi[0] - place.ndvi[1])) > 0.01
    assert seasons.sizes == {"time": 4, "y": 432, "x": 456}
    first = np.stack(ndvi[:3])
    whole = np.isfinite(first).all(axis=0)
    np.testing.assert_allclose(
        seasons.ndvi[0].values[whole], first[:, whole].mean(axis=0), atol=1e-5
    )


def test_the_red_edge_follows_the_native_pixels(curves, items):
    """At 20 m the mean of the sharpened band is the measured one, up to the cells without data."""
    place, _ = curves
    near = [reflectance(item, "nir") for item in items[:2]]
    edge = [reflectance(item, "rededge1") for item in items[:2]]
    for number in range(2):
        fine = np.kron(edge[number], np.ones((2, 2)))
        expected = np.nanmean((near[number] - fine) / (near[number] + fine))
        assert float(place.ndre[number]) == pytest.approx(expected, abs=0.01)
