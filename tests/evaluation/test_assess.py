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
from decametric.errors import SceneError, UsageError
from decametric.evaluation.assess import METRICS, assess
from decametric.metrics import (
    consistency_bias,
    consistency_rmse,
    d_lambda,
    d_rho,
    d_s,
    khan_d_lambda,
    qnr,
)
from decametric.superres.inference import sharpen
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


def table(bands, predictors, *, chunk=36, **options):
    with dask.config.set(scheduler="synchronous"):
        return assess(made.scene_of(bands, chunk), predictors, **options).compute()


def scores(bands, predictors, **options):
    return table(bands, predictors, metrics=["rmse"], **options)["rmse"]


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
    assert list(found.band.values) == [*SHARPENED, "mean"]
    for ratio, names, others in ((2, BANDS_20M, BANDS_60M), (6, BANDS_60M, BANDS_20M)):
        part = found.sel(ratio=ratio)
        assert (part.sel(predictor="oracle", band=list(names)) == 0).all()
        assert (part.sel(predictor=["bilinear", "bicubic"], band=list(names)) > 0.01).all()
        assert part.sel(band=list(others)).isnull().all()
        mean = part.sel(band=list(names)).mean("band")
        np.testing.assert_allclose(part.sel(band="mean"), mean, rtol=1e-12)


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
    assert found.drop_sel(band="B11").isnull().all()  # nor a mean: it would be of other bands


PIXELWISE = ["rmse", "mae", "bias", "psnr", "sre", "cc", "ergas"]


def test_every_metric_is_that_of_plain_numpy(bands):
    found = table(bands, "bicubic", metrics=PIXELWISE).sel(predictor="bicubic")
    for ratio, names in ((2, BANDS_20M), (6, BANDS_60M)):
        part, relative = found.sel(ratio=ratio), []
        for band in names:
            coarse = degraded(bands[band][0], ratio, 10 * ratio)
            test = upsample(coarse[None], ratio, "bicubic")[0].astype("f8")
            rows, cols = test.shape
            truth = bands[band][0][:rows, :cols].astype("f8")
            error = test - truth
            mse = (error**2).mean()
            expected = {
                "rmse": np.sqrt(mse),
                "mae": np.abs(error).mean(),
                "bias": error.mean(),
                "psnr": -10 * np.log10(mse),
                "sre": 10 * np.log10(truth.mean() ** 2 / mse),
                "cc": np.corrcoef(truth.ravel(), test.ravel())[0, 1],
            }
            for metric, value in expected.items():
                given = float(part[metric].sel(band=band))
                assert given == pytest.approx(value, rel=1e-6, abs=1e-9), metric
            relative.append(mse / truth.mean() ** 2)
        ergas = part["ergas"]
        assert ergas.drop_sel(band="mean").isnull().all()
        expected = 100 / ratio * np.sqrt(np.mean(relative))
        assert float(ergas.sel(band="mean")) == pytest.approx(expected, rel=1e-6)


def test_scores_say_what_they_are(bands):
    found = table(bands, "bicubic", metrics=["psnr", "ergas"])
    assert found["psnr"].attrs["units"] == "dB"
    assert found["psnr"].attrs["data_range"] == 1.0
    assert "synthesis" in found["ergas"].attrs["long_name"]


CALLS = []


@dataclass(frozen=True)
class Counting(Oracle):
    """Counts how often it is run."""

    name: str = "counting"

    def __call__(self, *arrays):
        CALLS.append(arrays[0].shape)
        return super().__call__(*arrays)


@pytest.mark.parametrize(("full_resolution", "runs"), [(False, 2), (True, 3)])
def test_a_network_runs_once_for_all_metrics_and_bands(bands, full_resolution, runs):
    CALLS.clear()
    found = table(bands, Counting(bands), chunk=96, full_resolution=full_resolution)
    assert set(METRICS) <= set(found)
    assert len(CALLS) == runs


def test_a_network_runs_once_for_each_window():
    bands = made.random_bands(96, 96)
    CALLS.clear()
    with dask.config.set(scheduler="synchronous"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("decametric.superres.inference.window_edge", lambda *_: 24)
        scene = made.scene_of(bands, 24)
        assess(scene, Counting(bands), metrics=["rmse", "cc", "ssim", "sam"]).compute()
    assert CALLS == [(4, 24, 24)] * 4 + [(4, 24, 24)]  # 48 x 48 pixels by 2, 12 x 12 by 6


def test_a_scene_without_bands_of_a_ratio_has_no_scores_there(bands):
    for band in BANDS_60M:
        del bands[band]
    found = scores(bands, "bicubic")
    assert found.sel(ratio=6).isnull().all()
    assert found.sel(ratio=2, band="mean").notnull().all()


def test_the_angle_between_single_bands_is_nothing(bands):
    del bands["B01"]
    found = table(bands, "bicubic", metrics=["sam", "rmse"]).sel(predictor="bicubic", band="mean")
    assert np.isnan(found["sam"].sel(ratio=6))
    assert found["sam"].sel(ratio=2) > 0
    assert found["rmse"].sel(ratio=6) > 0


def test_a_scene_without_bands_to_sharpen_is_refused(bands):
    with pytest.raises(SceneError, match="none of the bands B05"):
        scores({band: bands[band] for band in BANDS_10M}, "bicubic")


def test_an_unknown_metric_is_refused(bands):
    with pytest.raises(UsageError, match="'rmsd'"):
        table(bands, "bicubic", metrics=["rmsd"])


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


def test_at_full_resolution_the_indices_are_those_of_the_metrics():
    bands = made.random_bands(144, 144)
    scene = made.scene_of(bands, 144)
    with dask.config.set(scheduler="synchronous"):
        found = assess(scene, "bicubic", metrics=["rmse"], full_resolution=True).compute()
    fine, coarse = sharpen(scene, "bicubic"), scene["r20m"].to_dataset()
    test, reference = (
        data[list(BANDS_20M)].to_dataarray("band").drop_vars("spatial_ref").compute()
        for data in (fine, coarse)
    )
    guides = fine[list(BANDS_10M)].to_dataarray("guide").drop_vars("spatial_ref").compute()
    where = {"ratio": 2, "dim": ("time", "y", "x")}
    guided = {"guide": guides.mean("guide"), **where}
    expected = {
        "consistency_rmse": consistency_rmse(reference, test, **where),
        "consistency_bias": consistency_bias(reference, test, **where),
        "d_lambda": d_lambda(reference, test, **where),
        "khan_d_lambda": khan_d_lambda(reference, test, **where),
        "d_s": d_s(reference, test, **guided),
        "qnr": qnr(reference, test, **guided),
        "d_rho": d_rho(guides, test, ("time", "y", "x"), window=2).min("guide"),
    }
    expected["hqnr"] = (1 - expected["khan_d_lambda"]) * (1 - expected["d_s"])
    part = found.sel(predictor="bicubic", ratio=2)
    for name, value in expected.items():
        each = "band" in value.dims
        given = part[name].sel(band=list(BANDS_20M) if each else "mean")
        assert given.notnull().all()
        np.testing.assert_allclose(given, value, rtol=1e-6, atol=1e-9, err_msg=name)
    assert set(expected) | {"rmse"} == set(found)
    assert found["consistency_rmse"].attrs["units"] == "reflectance"
    assert found["d_s"].notnull().sum() == 4  # two predictors, two ratios
    for ratio, names in ((2, BANDS_20M), (6, BANDS_60M)):
        assert (found["consistency_rmse"].sel(ratio=ratio, band=list(names)) > 0).all()
