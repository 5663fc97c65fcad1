"""Scores by Wald's protocol against plain NumPy, with interpolation always beside."""

from __future__ import annotations

from dataclasses import dataclass, field

import dask
import numpy as np
import pytest
import xarray as xr

import made_scenes as made
from decametric.bands import BANDS, BANDS_10M, BANDS_20M, BANDS_60M, SHARPENED
from decametric.degradation import MIN_WEIGHT, Degradation
from decametric.errors import SceneError
from decametric.evaluation.assess import assess
from decametric.superres.predictor import Bicubic, upsample


@dataclass(frozen=True)
class Oracle:
    """Knows the scene, so that it makes no error, or a known one."""

    truth: dict = field(hash=False)
    bands_out: tuple[str, ...] = SHARPENED
    error: float = 0.0
    name: str = "oracle"
    level: str = "L1C"
    halo: int = 0
    bands_in: tuple[str, ...] = (*BANDS_10M, *BANDS_20M, *BANDS_60M)

    def __call__(self, b10, _b20, _b60):
        # One date, one window: what it is asked for is the measured band, cut to its size.
        rows, cols = b10.shape[1:]
        shape = (len(self.bands_out), rows, cols)
        result = np.zeros(shape, "f4")
        for place, band in zip(result, self.bands_out, strict=True):
            known = self.truth[band][0]
            if known.shape[0] >= rows and BANDS[band].resolution == self.resolution(rows):
                place[:] = known[:rows, :cols] + np.float32(self.error)
        return result

    def resolution(self, rows):
        """Which ratio is being scored: degraded by 2 the scene has half of its rows."""
        full = self.truth["B04"].shape[1]
        return 20 if rows == full // 12 * 6 else 60


ROWS, COLS = 78, 96  # 78 is no multiple of 12 or 36: degrading leaves out rows


@pytest.fixture
def bands():
    return made.random_bands(ROWS, COLS)


def scores(bands, predictors, **options):
    with dask.config.set(scheduler="synchronous"):
        return assess(made.scene_of(bands, 36), predictors, **options).compute()["rmse"]


def degraded(values, ratio, resolution):
    """One band by Wald's protocol with gaps, in the words of the design."""
    whole = 6 * 10 // resolution * ratio
    rows, cols = (size // whole * whole for size in values.shape)
    values = values[:rows, :cols]
    value, weight = Degradation(ratio).weighted(values, np.isfinite(values))
    return np.where(weight >= MIN_WEIGHT, value, np.float32(np.nan))


def test_a_perfect_predictor_scores_zero_and_stands_beside_interpolation(bands):
    found = scores(bands, Oracle(bands))
    assert found.dims == ("predictor", "ratio", "band")
    assert list(found.predictor.values) == ["bilinear", "bicubic", "oracle"]
    assert list(found.ratio.values) == [2, 6]
    assert list(found.band.values) == list(SHARPENED)
    for ratio, names, others in ((2, BANDS_20M, BANDS_60M), (6, BANDS_60M, BANDS_20M)):
        part = found.sel(ratio=ratio)
        assert (part.sel(predictor="oracle", band=list(names)) == 0).all()
        assert (part.sel(predictor=["bilinear", "bicubic"], band=list(names)) > 0.01).all()
        assert part.sel(band=list(others)).isnull().all()


def test_a_constant_error_is_the_score(bands):
    found = scores(bands, Oracle(bands, error=0.05)).sel(predictor="oracle", ratio=2)
    np.testing.assert_allclose(found.sel(band=list(BANDS_20M)), 0.05, rtol=1e-5)


@pytest.mark.parametrize("gaps", [False, True])
def test_scores_of_bicubic_are_those_of_plain_numpy(bands, gaps):
    bands = made.with_gaps(bands) if gaps else bands
    found = scores(bands, "bicubic").sel(predictor="bicubic")
    for band in SHARPENED:
        ratio = BANDS[band].resolution // 10
        truth, coarse = bands[band][0], degraded(bands[band][0], ratio, 10 * ratio)
        fine = upsample(np.nan_to_num(coarse)[None], ratio, "bicubic")[0]
        rows, cols = fine.shape
        # The interpolation needs nothing but its own band, so where the band is, there is a score;
        # the pixels filled near gaps are not the same here, so only gapless scenes are compared.
        valid = np.isfinite(truth[:rows, :cols])
        valid &= np.isfinite(coarse).repeat(ratio, 0).repeat(ratio, 1)
        if not gaps:
            expected = np.sqrt(((fine - truth[:rows, :cols])[valid].astype("f8") ** 2).mean())
            assert float(found.sel(band=band, ratio=ratio)) == pytest.approx(expected, rel=1e-6)
        assert np.isfinite(found.sel(band=band, ratio=ratio))


@dataclass(frozen=True)
class Coarse:
    """Repeats every pixel, and reads a 10 m band only to be masked by its gaps."""

    bands_in: tuple[str, ...] = ("B04", "B11")
    bands_out: tuple[str, ...] = ("B11",)
    halo: int = 0
    name: str = "coarse"

    def __call__(self, _b10, b20, _b60):
        return b20.repeat(2, 1).repeat(2, 2)


def test_only_pixels_count_that_every_predictor_made(bands):
    bands["B04"][0, :24] = np.nan  # masks the first 12 rows of what `Coarse` returns
    found = scores(bands, Coarse()).sel(ratio=2, band="B11")
    truth = bands["B11"][0]
    coarse = degraded(truth, 2, 20)
    rows, cols = 2 * coarse.shape[0], 2 * coarse.shape[1]
    common = np.s_[12:rows, :cols]
    images = {
        "coarse": coarse.repeat(2, 0).repeat(2, 1),
        "bilinear": upsample(coarse[None], 2, "bilinear")[0],
        "bicubic": upsample(coarse[None], 2, "bicubic")[0],
    }
    for name, image in images.items():
        expected = np.sqrt(((image[common] - truth[common]).astype("f8") ** 2).mean())
        assert float(found.sel(predictor=name)) == pytest.approx(expected, rel=1e-6)
    alone = scores(bands, "bicubic").sel(ratio=2, band="B11", predictor="bicubic")
    assert float(alone) != pytest.approx(float(found.sel(predictor="bicubic")), rel=1e-6)


def test_bands_that_a_predictor_does_not_return_are_nan(bands):
    found = scores(bands, Coarse()).sel(predictor="coarse", ratio=2)
    assert np.isfinite(found.sel(band="B11"))
    assert found.drop_sel(band="B11").isnull().all()


def test_all_dates_are_pooled():
    bands = made.random_bands(48, 48, dates=2)
    both = scores(bands, "bicubic").sel(predictor="bicubic", ratio=2, band="B11")
    one, two = (
        scores({b: v[n : n + 1] for b, v in bands.items()}, "bicubic").sel(
            predictor="bicubic", ratio=2, band="B11"
        )
        for n in (0, 1)
    )
    assert float(both) == pytest.approx(float(np.sqrt((one**2 + two**2) / 2)), rel=1e-6)


def test_names_objects_and_lists_are_taken(bands):
    assert list(scores(bands, ["bilinear", Coarse()]).predictor) == [
        "bilinear",
        "bicubic",
        "coarse",
    ]
    xr.testing.assert_identical(scores(bands, Bicubic()), scores(bands, "bicubic"))


def test_levels_are_guarded(bands):
    with pytest.raises(SceneError, match="any_level"):
        scores(bands, Oracle(bands, level="L2A"))
    found = scores(bands, Oracle(bands, level="L2A"), any_level=True)
    assert (found.sel(predictor="oracle", ratio=2, band="B11") == 0).all()


def test_nothing_is_computed_before_it_is_asked_for():
    bands = {
        band: made.untouchable(
            (1, 720 // BANDS[band].resolution, 720 // BANDS[band].resolution), 36
        )
        for band in (*BANDS_10M, *SHARPENED)
    }
    result = assess(made.scene_of(bands, 36), "bicubic")
    with pytest.raises(AssertionError, match="must not be read"):
        result.compute(scheduler="synchronous")
