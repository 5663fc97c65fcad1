"""Improvement, omission and hallucination: oracle values, plain cases, gaps, chunks."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from decametric.errors import UsageError
from decametric.metrics.correctness import hallucination, improvement, omission
from metrics import oracle
from metrics.two_scales import broken

THREE = (improvement, omission, hallucination)
EACH = pytest.mark.parametrize("metric", THREE)
CHUNKS = [
    {"band": 1, "y": 60, "x": 75},
    {"band": (5, 1), "y": (7, 50, 33), "x": (1, 99)},
    {"band": 6, "y": 1, "x": 100},
]


def images(shape=(3, 20, 30), seed=0):
    """Truth, what was made, and what there was before."""
    random = np.random.default_rng(seed)
    truth, made, before = 0.2 + random.random((3, *shape))
    return [xr.DataArray(each, dims=("band", "y", "x")) for each in (truth, made, before)]


def scores(truth, made, before, threshold=0.01, **options):
    options = {"upsampled": before, "threshold": threshold, **options}
    return [float(metric(truth, made, **options)) for metric in THREE]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize(("temperature", "kind"), [(0.25, "softmin"), (None, "share")])
def test_oracle(shared_data, temperature, kind, dtype):
    known = oracle.expected(shared_data, "no_reference", "triple_a")
    known = known["opensr_nd_pixel_threshold_0.01_lambda_0.05_T_0.25"]
    made = [oracle.triple(shared_data)[name].astype(dtype) for name in ("hr", "fused", "lr_up")]
    found = scores(*made, temperature=temperature)
    names = [f"{metric.__name__}_{kind}" for metric in THREE]
    assert found == pytest.approx([known[name] for name in names], rel=2e-9)
    assert sum(found) == pytest.approx(1, rel=1e-12)


@EACH
@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunks_do_not_show(metric, chunks):
    truth, made, before = images((6, 90, 100))
    mask = xr.DataArray(np.random.default_rng(0).random((90, 100)) > 0.2, dims=("y", "x"))
    options = {"threshold": 0.01, "mask": mask}
    whole = metric(truth, made, upsampled=before, **options)
    lazy = metric(truth.chunk(chunks), made, upsampled=before.chunk(y=50), **options)
    assert isinstance(lazy.data, da.Array)
    assert not isinstance(whole.data, da.Array)
    assert float(lazy) == pytest.approx(float(whole), rel=1e-12)


def test_each_pixel_by_hand():
    truth, made, before = images()
    x, y, u = (part.values for part in (truth, made, before))

    def distance(a, b):
        return (np.abs(a - b) / (a + b + 1e-8)).mean(0)

    needed = distance(u, x)
    a, b = distance(y, x) / needed, distance(y, u) / needed
    e = 1 - np.exp(-0.3 * (a + b - 1))
    penalties = np.stack([a + b * e, b + a * e, np.exp(-0.3 * a * b)])
    shares = np.exp(-penalties / 0.5)
    shares /= shares.sum(0)
    largest = np.max([needed, distance(y, x), distance(y, u)], axis=0)
    counts = largest > np.quantile(largest, 0.4)
    found = scores(
        truth, made, before, threshold=np.quantile(largest, 0.4), severity=0.3, temperature=0.5
    )
    assert found == pytest.approx(shares[:, counts].mean(1), rel=1e-12)
    alone = scores(
        truth, made, before, threshold=np.quantile(largest, 0.4), severity=0.3, temperature=None
    )
    winners = penalties.argmin(0)[counts]
    assert alone == pytest.approx([(winners == kind).mean() for kind in range(3)], rel=1e-12)


def test_plain_cases():
    truth, _, before = images()
    assert scores(truth, truth, before, temperature=None) == [1, 0, 0]
    assert scores(truth, before, before, temperature=None) == [0, 1, 0]
    assert scores(truth, 100 * truth, before, temperature=None, severity=10) == [0, 0, 1]
    assert scores(truth, 3 * truth, truth, distance="l1") == [0, 0, 1]
    assert np.isnan(scores(truth, truth, truth)).all()
    assert np.isnan(scores(truth, truth, before, threshold=9)).all()


@given(seed=st.integers(0, 2**32 - 1), temperature=st.sampled_from([None, 0.1, 1.0]))
@settings(max_examples=5, deadline=None)
def test_the_three_share_the_image_out(seed, temperature):
    truth, made, before = images(seed=seed)
    found = scores(truth, made, before, temperature=temperature)
    assert sum(found) == pytest.approx(1, rel=1e-12)
    assert min(found) >= 0
    backwards = [part.isel(band=slice(None, None, -1)) for part in (truth, made, before)]
    assert scores(*backwards, temperature=temperature) == pytest.approx(found, rel=1e-12)
    # Before and truth change places: what was left out is what was brought in.
    mirrored = scores(before, made, truth, temperature=0.25)
    found = scores(truth, made, before, temperature=0.25)
    assert mirrored == pytest.approx([found[1], found[0], found[2]], rel=1e-9)


@EACH
def test_a_mask_is_a_crop_and_a_gap_in_any_image_leaves_its_pixel_out(metric):
    parts = images()
    mask = xr.DataArray(np.arange(30) < 17, dims="x")
    truth, made, before = (part.isel(x=slice(17)) for part in parts)
    cropped = float(metric(truth, made, upsampled=before, threshold=0.01))
    truth, made, before = parts
    options = {"upsampled": before, "threshold": 0.01}
    assert float(metric(truth, made, mask=mask, **options)) == pytest.approx(cropped, rel=1e-12)
    weights = mask * 0.5
    assert float(metric(truth, made, weights=weights, **options)) == pytest.approx(cropped)
    for gap in range(3):
        given = [part.where(mask) if n == gap else part for n, part in enumerate(parts)]
        found = metric(*given[:2], upsampled=given[2], threshold=0.01)
        assert float(found) == pytest.approx(cropped, rel=1e-12)
        lost = metric(*given[:2], upsampled=given[2], threshold=0.01, skipna=False)
        assert np.isnan(lost)


@EACH
def test_datasets_are_bands_and_dates_stay(metric):
    parts = images()
    truth, made, before = parts
    whole = float(metric(truth, made, upsampled=before, threshold=0.01))
    sets = [xr.Dataset({f"B0{n}": part[n] for n in range(3)}) for part in parts]
    found = metric(*sets[:2], upsampled=sets[2], threshold=0.01)
    assert float(found) == pytest.approx(whole, rel=1e-12)
    dates = [xr.concat([part, part**2], "time") for part in parts]
    found = metric(*dates[:2], upsampled=dates[2], threshold=0.01)
    assert found.dims == ("time",)
    assert float(found[0]) == pytest.approx(whole, rel=1e-12)
    assert found.attrs["long_name"] == f"{metric.__name__} of detail"
    assert (found.name, found.attrs["threshold"]) == (metric.__name__, 0.01)


@EACH
def test_nothing_is_computed_until_asked(metric):
    for gap in range(3):
        given = [broken(part) if n == gap else part for n, part in enumerate(images())]
        lazy = metric(*given[:2], upsampled=given[2], threshold=0.01)
        with pytest.raises(AssertionError, match="must not be read"):
            lazy.compute()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": None}, "threshold=None: give the distance"),
        ({"threshold": -1}, "threshold=-1: give the distance"),
        ({"distance": "l2"}, "distance='l2': use 'nd'"),
        ({"severity": 0}, "severity=0: give a positive number"),
        ({"temperature": -0.5}, "temperature=-0.5: give a positive number"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    truth, made, before = images()
    with pytest.raises(UsageError, match=words):
        improvement(truth, made, upsampled=before, **{"threshold": 0.01} | options)


def test_other_grids_are_refused():
    truth, made, before = (part.assign_coords(x=np.arange(30.0)) for part in images())
    with pytest.raises(UsageError, match="coordinate 'x' of upsampled differs from that of ref"):
        omission(truth, made, upsampled=before.assign_coords(x=before.x + 1e-9), threshold=0.01)
    with pytest.raises(UsageError, match="upsampled has 29 pixels along 'x'"):
        omission(truth, made, upsampled=before[..., :29], threshold=0.01)
