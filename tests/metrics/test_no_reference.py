"""Indices without a reference: oracle values, blocks by hand, gaps, guides, and nested grids."""

from __future__ import annotations

from itertools import combinations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from decametric.degradation import degrade_image
from decametric.errors import UsageError
from decametric.metrics import scales
from decametric.metrics.no_reference import d_lambda, d_rho, d_s
from decametric.metrics.qnr import hqnr, khan_d_lambda, qnr
from metrics import two_scales
from metrics.two_scales import CHUNKS, broken, made, triple

GUIDED = (d_s, qnr, hqnr)


def score(metric, coarse, fine, guide, **options):
    """A metric, with its guide if it takes one."""
    given = {"ratio": 2, "guide": guide} | options if metric in GUIDED else {"ratio": 2} | options
    return metric(coarse, fine, **given)


ALL = pytest.mark.parametrize("metric", [d_lambda, d_s, qnr, khan_d_lambda, hqnr])


# Values of other people's making


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_oracle(shared_data, dtype):
    coarse, fine, guide, low = triple(shared_data, dtype)
    guided = {"guide": guide, "guide_low": low, "ratio": 2}
    found = {
        "khan_d_lambda_q2n_block16": khan_d_lambda(coarse, fine, ratio=2),
        "hqnr": hqnr(coarse, fine, **guided),
    }
    for windows, name in (("block", "block32_16"), ("sliding", "sliding8")):
        found[f"d_lambda_{name}"] = d_lambda(coarse, fine, ratio=2, windows=windows)
        found[f"d_s_{name}"] = d_s(coarse, fine, **guided, windows=windows)
        found[f"qnr_{name}"] = qnr(coarse, fine, **guided, windows=windows)
    for name, value in found.items():
        known = two_scales.expected(shared_data, name)
        assert float(value) == pytest.approx(known, rel=1e-10), name


@pytest.mark.parametrize("chunks", CHUNKS)
def test_oracle_in_chunks(shared_data, chunks, monkeypatch):
    # Without this an image of this size is worked on in one piece.
    monkeypatch.setattr(scales, "CHUNK", (1, 64))
    coarse, fine, guide, _ = triple(shared_data)
    images = (coarse.chunk(chunks[0]), fine.chunk(chunks[1]), guide.chunk(y=50))
    lazy = hqnr(*images[:2], guide=images[2], operator="mean", ratio=2)
    assert isinstance(lazy.data, da.Array)
    eager = hqnr(coarse, fine, guide=guide, operator="mean", ratio=2)
    assert not isinstance(eager.data, da.Array)
    assert float(lazy) == pytest.approx(float(eager), rel=1e-12)
    for windows, name in (("block", "block32_16"), ("sliding", "sliding8")):
        options = {"guide": images[2], "operator": "mean", "ratio": 2, "windows": windows}
        found = qnr(*images[:2], **options)
        known = two_scales.expected(shared_data, f"qnr_{name}")
        assert float(found) == pytest.approx(known, rel=1e-12)


# By hand


def quality(a, b):
    mixed = 2 * np.cov(a.ravel(), b.ravel())[0, 1] / (a.var(ddof=1) + b.var(ddof=1))
    return mixed * 2 * a.mean() * b.mean() / (a.mean() ** 2 + b.mean() ** 2)


def blocks(image, edge):
    """Blocks of a plane (y, x) that lie inside."""
    rows, cols = (size // edge for size in image.shape)
    return [
        image[r * edge : (r + 1) * edge, c * edge : (c + 1) * edge]
        for r in range(rows)
        for c in range(cols)
    ]


def mean_quality(a, b, edge, *, but=()):
    pairs = list(zip(blocks(a, edge), blocks(b, edge), strict=True))
    return np.mean([quality(*pair) for number, pair in enumerate(pairs) if number not in but])


@pytest.mark.parametrize(("ratio", "edge"), [(2, 32), (3, 33), (6, 36)])
def test_blocks_cover_the_same_ground_at_both_scales(ratio, edge):
    coarse, fine, guide = made(edge=72 if ratio < 3 else 78, ratio=ratio)
    changes = [
        mean_quality(fine.values[i], fine.values[j], edge)
        - mean_quality(coarse.values[i], coarse.values[j], edge // ratio)
        for i, j in combinations(range(3), 2)
    ]
    found = float(d_lambda(coarse, fine, ratio=ratio))
    assert found == pytest.approx(np.abs(changes).mean(), rel=1e-10)
    low = degrade_image(guide, ratio)
    changes = [
        mean_quality(fine.values[i], guide.values, edge)
        - mean_quality(coarse.values[i], low.values, edge // ratio)
        for i in range(3)
    ]
    found = float(d_s(coarse, fine, guide=guide, ratio=ratio))
    assert found == pytest.approx(np.abs(changes).mean(), rel=1e-10)


@pytest.mark.parametrize("where", ["coarse", "fine", "mask", "weights"])
def test_a_block_that_is_invalid_at_one_scale_counts_at_none(where):
    coarse, fine, _ = made()
    mask = xr.ones_like(coarse[0], bool)
    mask[20, 40] = False
    options = {"mask": {"mask": mask}, "weights": {"weights": mask * 3.0}}.get(where, {})
    if where == "coarse":
        coarse[1, 20, 40] = np.nan
    if where == "fine":
        fine[2, 41, 80] = np.inf
    changes = [
        mean_quality(fine.values[i], fine.values[j], 32, but=[5])
        - mean_quality(coarse.values[i], coarse.values[j], 16, but=[5])
        for i, j in combinations(range(3), 2)
    ]
    found = float(d_lambda(coarse, fine, ratio=2, **options))
    assert found == pytest.approx(np.abs(changes).mean(), rel=1e-10)


def test_a_gap_of_the_guide_counts_at_no_scale():
    coarse, fine, guide = made()
    low = degrade_image(guide, 2)
    guide[41, 80] = np.nan
    changes = [
        mean_quality(fine.values[i], guide.values, 32, but=[5])
        - mean_quality(coarse.values[i], low.values, 16, but=[5])
        for i in range(3)
    ]
    found = d_s(coarse, fine, guide=guide, guide_low=low, ratio=2)
    assert float(found) == pytest.approx(np.abs(changes).mean(), rel=1e-10)


# Properties


@pytest.mark.parametrize("ratio", [2, 6])
def test_a_consistent_image_has_no_spectral_distortion_after_khan(ratio):
    _, fine, _ = made(ratio=ratio)
    measured = degrade_image(fine, ratio, "mtf")
    assert float(khan_d_lambda(measured, fine, ratio=ratio)) == pytest.approx(0, abs=1e-12)
    assert float(khan_d_lambda(measured * 1.2, fine, ratio=ratio)) > 0.01


@pytest.mark.parametrize("windows", ["block", "sliding"])
def test_what_is_repeated_has_no_distortion_by_blocks(windows):
    coarse, _, _ = made()
    fine = xr.DataArray(coarse.values.repeat(2, 1).repeat(2, 2), dims=coarse.dims)
    found = float(d_lambda(coarse, fine.assign_coords(band=coarse.band), ratio=2, windows=windows))
    assert found == pytest.approx(0, abs=1e-12) if windows == "block" else found > 1e-6


@ALL
def test_datasets_are_bands_and_dates_stay(metric):
    coarse, fine, guide = made()
    names = [str(name) for name in coarse.band.values]
    options = {"nyquist": 0.3} if metric is not d_lambda else {}
    whole = float(score(metric, coarse, fine, guide, **options))
    sets = [xr.Dataset({n: part.sel(band=n, drop=True) for n in names}) for part in (coarse, fine)]
    assert float(score(metric, *sets, guide, **options)) == pytest.approx(whole, rel=1e-12)
    dates = [
        xr.concat([part, part + 0.1 * part[:, ::-1].values], "time") for part in (coarse, fine)
    ]
    found = score(metric, *dates, guide, **options)
    assert found.dims == ("time",)
    assert float(found[0]) == pytest.approx(whole, rel=1e-12)
    assert float(found[1]) != pytest.approx(whole, rel=1e-6)


def test_bands_have_the_blur_of_their_sensor_unless_told():
    coarse, fine, _ = made()
    by_name = khan_d_lambda(coarse, fine, ratio=2)
    given = {"B05": 0.365, "B06": 0.33, "B07": 0.34}
    plain = [part.drop_vars("band") for part in (coarse, fine)]
    assert float(khan_d_lambda(coarse, fine, ratio=2, nyquist=given)) == float(by_name)
    assert float(khan_d_lambda(*plain, ratio=2, nyquist=0.34)) != float(by_name)
    with pytest.raises(UsageError, match=r"modulation transfer of band 0 is not known"):
        khan_d_lambda(*plain, ratio=2)


@ALL
def test_nothing_valid_is_nan_and_so_is_a_gap_that_is_not_skipped(metric):
    coarse, fine, guide = made()
    options = {"operator": "mean"} if metric is not d_lambda else {}
    assert np.isnan(score(metric, coarse, fine, guide, mask=coarse[0] > 9, **options))
    assert np.isnan(score(metric, coarse.where(coarse > 9), fine, guide, **options))
    fine[1, 2, 3] = np.nan
    assert np.isfinite(score(metric, coarse, fine, guide, **options))
    assert np.isnan(score(metric, coarse, fine, guide, skipna=False, **options))


@ALL
def test_nothing_is_computed_until_asked(metric):
    coarse, fine, guide = made()
    options = {"operator": "mean"} if metric is not d_lambda else {}
    for images in ((broken(coarse), fine), (coarse, broken(fine))):
        lazy = score(metric, *images, guide, **options)
        assert isinstance(lazy.data, da.Array)
        with pytest.raises(AssertionError, match="must not be read"):
            lazy.compute()


@pytest.mark.parametrize("metric", [d_s, qnr, hqnr])
@pytest.mark.parametrize("name", ["guide", "guide_low"])
def test_a_lazy_guide_is_enough_to_be_lazy(metric, name):
    coarse, fine, guide = made()
    low = guide.coarsen(y=2, x=2).mean()
    guides = {"guide": guide, "guide_low": low}
    guides[name] = broken(guides[name])
    lazy = metric(coarse, fine, ratio=2, **guides)
    assert isinstance(lazy.data, da.Array)
    with pytest.raises(AssertionError, match="must not be read"):
        lazy.compute()


def test_they_say_what_they_are():
    coarse, fine, guide = made()
    coarse = coarse.assign_attrs(history="measured")
    found = qnr(coarse, fine, guide=guide, ratio=2, keep_attrs=True)
    assert found.name == "qnr"
    names = {"long_name": "quality with no reference", "units": "1"}
    assert found.attrs == names | {"ratio": 2, "windows": "block", "history": "measured"}
    assert set(khan_d_lambda(coarse, fine, ratio=2).attrs) == {
        "long_name",
        "units",
        "ratio",
        "operator",
    }


# Local correlation with a guide


def test_local_correlation_by_hand():
    _, fine, guide = made(edge=12)
    fine[0, 3:8, 2:9] = 0.5
    scores = []
    for r in range(12 - 3):
        for c in range(12 - 3):
            a, b = (part.values[r : r + 4, c : c + 4].ravel() for part in (fine[0], guide))
            if a.std():
                scores.append(np.corrcoef(a, b)[0, 1])
    assert len(scores) < 81
    assert float(d_rho(guide, fine[0], window=4)) == pytest.approx(1 - np.mean(scores), rel=1e-12)


def test_of_several_guides_the_best_is_taken():
    _, fine, guide = made()
    others = xr.concat([guide, guide[::-1].drop_vars("y")], "guide", join="override")
    found = d_rho(others, fine, window=6)
    assert set(found.dims) == {"guide", "band"}
    best = d_rho(guide, fine, window=6)
    np.testing.assert_allclose(found.min("guide"), best, rtol=1e-12)
    assert (best < 0.5).all()


def test_local_correlation_knows_no_gain_and_no_chunks():
    _, fine, guide = made()
    found = d_rho(guide, fine, window=6)
    np.testing.assert_allclose(d_rho(3 * guide + 1, fine, window=6), found, rtol=1e-9)
    np.testing.assert_allclose(d_rho(guide, -fine, window=6), 2 - found, rtol=1e-9)
    lazy = d_rho(guide.chunk(y=1), fine.chunk(x=(7, 89)), window=6)
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_allclose(lazy, found, rtol=1e-12)
    assert float(d_rho(guide, guide, window=2)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(d_rho(guide, xr.full_like(guide, 0.3), window=6))


# What is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": None}, "ratio=None: give coarse pixel size over fine"),
        ({"ratio": 0.5}, "ratio=0.5: give coarse pixel size over fine"),
        ({"ratio": 2.5}, "ratio=2.5: the grids are nested"),
        ({"ratio": 3}, "test has 96 pixels along 'y' and reference 48; with ratio=3"),
        ({"ratio": 2, "windows": "gaussian"}, "windows='gaussian': use 'block' or 'sliding'"),
        ({"ratio": 2, "band_dim": "channel"}, "has no dimension 'channel'"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    coarse, fine, _ = made()
    with pytest.raises(UsageError, match=words):
        d_lambda(coarse, fine, **options)


@pytest.mark.parametrize("off", [5, 1e-9])
def test_grids_that_are_not_nested_are_refused(off):
    coarse, fine, guide = made()
    moved = fine.assign_coords(x=fine.x + off)
    with pytest.raises(
        UsageError, match=rf"reference along 'x' are off the middle .* to {off:.1g}"
    ):
        d_lambda(coarse, moved, ratio=2)
    bare = coarse.drop_vars("x")
    assert float(d_lambda(bare, moved, ratio=2)) == float(d_lambda(coarse, fine, ratio=2))
    elsewhere = guide.assign_coords(x=guide.x + off)
    with pytest.raises(UsageError, match="coordinate 'x' of guide differs from that of test"):
        d_s(coarse, fine, guide=elsewhere, ratio=2)
    low = coarse[0].drop_vars("band").assign_coords(x=coarse.x + off)
    with pytest.raises(UsageError, match="coordinate 'x' of guide_low differs from that of ref"):
        d_s(coarse, fine, guide=guide, guide_low=low, ratio=2)


def test_other_bands_and_single_bands_are_refused():
    coarse, fine, _ = made()
    with pytest.raises(UsageError, match="coordinate 'band' of test differs"):
        d_lambda(coarse, fine.assign_coords(band=["a", "b", "c"]), ratio=2)
    with pytest.raises(UsageError, match="pairs of bands; there is one along 'band'"):
        d_lambda(coarse[:1], fine[:1], ratio=2)
    with pytest.raises(UsageError, match="test must be one of numbers, not <U"):
        d_lambda(coarse, fine.astype(str), ratio=2)
    with pytest.raises(UsageError, match="test has no dimension 'x'"):
        d_lambda(coarse, fine.rename(x="column"), ratio=2)


@pytest.mark.parametrize("window", [None, 1, 2.5])
def test_windows_that_cannot_be_are_refused(window):
    _, fine, guide = made()
    with pytest.raises(UsageError, match=f"window={window}: give the edge"):
        d_rho(guide, fine, window=window)
