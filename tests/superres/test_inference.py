"""`sharpen`: the same numbers for every cut of a scene, and nothing done that is not asked for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d

import made_scenes as made
from decametric.bands import BANDS, BANDS_10M, BANDS_20M, BANDS_60M, SHARPENED
from decametric.degradation import MIN_WEIGHT, Degradation
from decametric.errors import SceneError, UsageError
from decametric.superres.consistency import Consistent
from decametric.superres.inference import sharpen
from decametric.superres.predictor import Bicubic, Bilinear, Joint, of_resolution
from decametric.superres.presets import load_predictor

SIXES = st.integers(1, 22).map(lambda n: 6 * n)


@dataclass(frozen=True)
class Stencil:
    """A cheap network: it mixes all that it reads, looks ten pixels far, and is not linear.

    SciPy adds up every pixel in the same order wherever it lies, so bits can be compared.
    """

    bands_in: tuple[str, ...] = ("B08", "B04", "B11", "B05", "B09")
    bands_out: tuple[str, ...] = ("B05", "B09")
    halo: int = 12
    reach: int = 10

    def __call__(self, b10, b20, b60):
        fine = [*b10]
        for bands, step in ((b20, 2), (b60, 6)):
            fine += [band.repeat(step, 0).repeat(step, 1) for band in bands]
        assert len({band.shape for band in fine}) == 1
        assert all(np.isfinite(band).all() for band in fine)
        mixed = sum(np.float32(0.3 + n) * band for n, band in enumerate(fine))
        weights = np.hanning(2 * self.reach + 3)[1:-1] + 0.1
        for axis in (0, 1):
            mixed = correlate1d(np.maximum(mixed, 1.0), weights, axis=axis, mode="constant")
        own = [fine[self.bands_in.index(band)] for band in self.bands_out]
        return np.stack([band + 0.001 * mixed for band in own])


class Counting(Stencil):
    """Counts its calls in the class: Dask may work with a copy of the object."""

    calls = 0

    def __call__(self, *arrays):
        Counting.calls += 1
        return super().__call__(*arrays)


@dataclass(frozen=True)
class Forbidden:
    """A predictor that must not be called."""

    bands_in: tuple[str, ...] = (*BANDS_10M, *BANDS_20M, *BANDS_60M)
    bands_out: tuple[str, ...] = BANDS_60M
    halo: int = 12

    def __call__(self, *_arrays):
        message = "this predictor must not be called"
        raise AssertionError(message)


def on_mirrored_whole(predictor, bands):
    """What `predictor` makes of the whole scene at once, mirrored about its edges by its halo."""
    dates = len(next(iter(bands.values())))
    results = []
    for date in range(dates):
        arrays = []
        for res, step in ((10, 1), (20, 2), (60, 6)):
            names = of_resolution(predictor.bands_in, res)
            margin = predictor.halo // step
            padded = [np.pad(bands[name][date], margin, mode="symmetric") for name in names]
            arrays.append(np.stack(padded) if padded else np.empty((0, 0, 0), "f4"))
        inside = slice(predictor.halo, -predictor.halo)
        results.append(predictor(*arrays)[:, inside, inside])
    return np.stack(results, axis=1)


def validity(predictor, bands, name):
    """The rule: the band's own coarse pixel and the 10 m pixels that were read are valid."""
    step = BANDS[name].resolution // 10
    valid = np.isfinite(bands[name]).repeat(step, 1).repeat(step, 2)
    for band in of_resolution(predictor.bands_in, 10):
        valid = valid & np.isfinite(bands[band])
    return valid


def untouchable_bands(edge, chunk, *, dates=1):
    """Every band of the networks, none of which may be read."""
    return {
        band: made.untouchable(
            (dates, edge * 10 // BANDS[band].resolution, edge * 10 // BANDS[band].resolution),
            chunk * 10 // BANDS[band].resolution,
        )
        for band in (*BANDS_10M, *SHARPENED)
    }


def computed(scene, predictor, **options):
    """The sharpened bands as one array, and their names."""
    result = sharpen(scene, predictor, **options)
    names = [name for name in SHARPENED if name in result]
    with dask.config.set(scheduler="synchronous"):
        return result[names].to_array().values


# --- the cut of the scene does not matter -------------------------------------------------------


@given(
    shape=st.tuples(SIXES, SIXES),
    chunk=SIXES,
    window=SIXES.filter(lambda n: n > 18),
    gaps=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_every_chunking_gives_the_same_bits(shape, chunk, window, gaps, seed):
    bands = made.random_bands(*shape, dates=1 + seed % 2, seed=seed)
    bands = made.with_gaps(bands, seed=seed) if gaps else bands
    result, whole = (
        computed(made.scene_of(bands, edge), Stencil(), window=window) for edge in (chunk, 6 * 22)
    )
    np.testing.assert_array_equal(result, whole)
    for values, name in zip(whole, ("B05", "B09"), strict=True):
        np.testing.assert_array_equal(np.isfinite(values), validity(Stencil(), bands, name))
    if not gaps:
        np.testing.assert_array_equal(whole, on_mirrored_whole(Stencil(), bands))


@given(rows=SIXES, cols=SIXES, windows=st.tuples(*[SIXES.filter(lambda n: n > 42)] * 2))
@settings(max_examples=20, deadline=None)
def test_the_projection_knows_no_seams_either(rows, cols, windows):
    bands = made.random_bands(rows, cols)
    predictor = Consistent(Stencil(bands_out=("B05", "B11", "B09")))
    one, other = (
        computed(made.scene_of(bands, 48), predictor, window=window) for window in windows
    )
    np.testing.assert_array_equal(one, other)
    # On the whole scene at once the mirror comes before the network, and ends before projection.
    step = predictor.halo
    inner = on_mirrored_whole(predictor, bands)[:, :, step:-step, step:-step]
    np.testing.assert_array_equal(one[:, :, step:-step, step:-step], inner)


def test_chunks_may_be_ragged_and_different_in_each_band():
    bands = made.random_bands(60, 72)
    expected = computed(made.scene_of(bands, 72), Stencil(), window=24)
    uneven = {}
    for n, (name, values) in enumerate(bands.items()):
        step = BANDS[name].resolution // 10
        rows, cols = (6 * (n % 3 + 1), 60 - 6 * (n % 3 + 1)), (30, 6 * n, 42 - 6 * n)
        chunks = ((1,), tuple(r // step for r in rows), tuple(c // step for c in cols if c > 0))
        chunks = (*chunks[:2], (72 // step,) if sum(chunks[2]) * step != 72 else chunks[2])
        uneven[name] = da.from_array(values, chunks=chunks)
    np.testing.assert_array_equal(
        computed(made.scene_of(uneven, 6), Stencil(), window=24), expected
    )


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("consistency", [False, True])
def test_a_network_gives_the_same_bits_for_every_chunking(tiny, gaps, consistency):
    bands = made.random_bands(150, 216, dates=2)
    bands = made.with_gaps(bands) if gaps else bands
    predictor = load_predictor(tiny, consistency=consistency)
    found = [
        computed(made.scene_of(bands, chunk), predictor, window=60) for chunk in (42, 60, 102, 216)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    for values, name in zip(found[0], SHARPENED, strict=True):
        np.testing.assert_array_equal(np.isfinite(values), validity(predictor, bands, name))


def test_a_network_equals_itself_on_the_whole_mirrored_scene(tiny):
    bands = made.random_bands(90, 126)
    predictor = load_predictor(tiny, consistency=False)
    result = computed(made.scene_of(bands, 36), predictor, window=48)
    whole = on_mirrored_whole(predictor, bands)
    # Another window shape may be added up in another order: single precision, a millionth.
    np.testing.assert_allclose(result, whole, rtol=0, atol=1e-6)


def test_the_result_is_chunked_like_the_scene_and_stays_on_its_grid():
    scene = made.scene_of(made.random_bands(78, 96, dates=2), 36)
    result = sharpen(scene, Bicubic(), window=24)
    for name in result.data_vars:
        assert result[name].chunks == ((1, 1), (36, 36, 6), (36, 36, 24))
        assert result[name].dims == ("time", "y", "x")
        assert result[name].dtype == np.float32
    assert result.odc.geobox == scene["r10m"].to_dataset().odc.geobox
    xr.testing.assert_equal(result.time, scene["r10m"].time)


# --- what passes through, what is left out ------------------------------------------------------


def test_native_bands_are_the_very_same_arrays():
    scene = made.scene_of(made.random_bands(36, 48), 24)
    result = sharpen(scene, Bilinear())
    assert set(result.data_vars) == {*BANDS_10M, *SHARPENED}
    for band in BANDS_10M:
        assert result[band].data.name == scene["r10m"][band].data.name
        assert result[band].data.__dask_keys__() == scene["r10m"][band].data.__dask_keys__()


def test_interpolation_inside_a_scene_is_the_interpolation_of_its_bands():
    bands = made.random_bands(48, 60)
    result = sharpen(made.scene_of(bands, 24), Bicubic(), window=24)
    expected = Bicubic()(
        np.empty(0), *(np.stack([bands[b][0] for b in names]) for names in (BANDS_20M, BANDS_60M))
    )
    for band, values in zip(SHARPENED, expected, strict=True):
        np.testing.assert_array_equal(result[band].values[0], values)


def test_one_band_touches_nothing_that_only_others_need():
    bands = made.random_bands(36, 36)
    untouchable = {band: made.untouchable((1, 6, 6), 6) for band in BANDS_60M}
    two = Stencil(("B04", "B08", "B11", "B05"), ("B05", "B11"))
    joint = Joint("both", (two, Forbidden()))
    scene = made.scene_of({**bands, **untouchable}, 36)
    result = sharpen(scene, joint, bands=["B11"])
    assert list(result.data_vars) == ["B11"]
    expected = computed(made.scene_of(bands, 36), two)
    np.testing.assert_array_equal(result["B11"].values, expected[1])
    layers = set(result["B11"].data.dask.layers)
    assert not layers & {array.name for array in untouchable.values()}
    with pytest.raises(AssertionError, match="must not be"):
        sharpen(scene, joint, bands=["B09"]).compute()


def test_interpolating_one_band_reads_that_band_alone():
    bands = untouchable_bands(36, 36) | {"B11": np.ones((1, 18, 18), "f4")}
    result = sharpen(made.scene_of(bands, 36), Bicubic(), bands=["swir16"])
    assert (result["B11"].values == 1).all()


def test_native_bands_alone_run_no_predictor():
    scene = made.scene_of(made.random_bands(36, 36), 36)
    result = sharpen(scene, Forbidden(), bands=["red", "B8"])
    assert list(result.data_vars) == ["B04", "B08"]
    result.compute()


def test_nothing_is_computed_before_it_is_asked_for():
    def computing(*_args, **_options):
        message = "computed while the graph was built"
        raise AssertionError(message)

    scene = made.scene_of(untouchable_bands(72, 36, dates=2), 36)
    with dask.config.set(scheduler=computing):
        result = sharpen(scene, Forbidden(bands_out=SHARPENED), window=36)
    assert all(isinstance(variable.data, da.Array) for variable in result.data_vars.values())
    with pytest.raises(AssertionError, match="must not be read"):
        result["B11"].compute(scheduler="synchronous")


def test_graphs_hold_no_pixels_and_no_weights(tiny):
    scene = made.scene_of(untouchable_bands(120, 60), 60)
    graph = sharpen(scene, tiny, window=60)["B11"].data.dask
    assert len(cloudpickle.dumps(dict(graph))) < 40_000 < (tiny / "2x/network.keras").stat().st_size


def test_different_predictors_do_not_share_results():
    scene = made.scene_of(made.random_bands(36, 36), 36)
    one, other = (sharpen(scene, predictor)["B11"] for predictor in (Bilinear(), Bicubic()))
    assert one.data.name != other.data.name
    again = sharpen(scene, Bilinear())["B11"]
    assert again.data.name == one.data.name
    together = dask.compute(one, other)
    assert not np.array_equal(*together)


def test_a_scene_of_one_resolution_is_enough_for_interpolation():
    bands = {"B11": np.ones((1, 18, 24), "f4")}
    scene = made.scene_of(bands, 12)
    alone = {"/": scene.to_dataset(), "r20m": scene["r20m"].to_dataset()}
    result = sharpen(xr.DataTree.from_dict(alone), Bilinear())
    assert list(result.data_vars) == ["B11"]
    assert dict(result.sizes) == {"time": 1, "y": 36, "x": 48}
    box = result.odc.geobox
    assert (box.transform.a, box.transform.c, box.transform.f) == (10, *made.ORIGIN)


# --- no data ------------------------------------------------------------------------------------


def hole(bands, band, *places):
    values = bands[band].copy()
    for place in places:
        values[place] = np.nan
    return {**bands, band: values}


@pytest.mark.parametrize(
    ("band", "place", "missing"),
    [
        ("B08", (0, 30, 41), {"B05": np.s_[30:31, 41:42], "B09": np.s_[30:31, 41:42]}),
        ("B05", (0, 15, 20), {"B05": np.s_[30:32, 40:42]}),
        ("B09", (0, 5, 6), {"B09": np.s_[30:36, 36:42]}),
        ("B11", (0, 15, 20), {}),
        ("B02", (0, 30, 41), {}),
    ],
    ids=["10 m", "own 20 m", "own 60 m", "another's 20 m", "not read"],
)
@pytest.mark.parametrize(
    "predictor", [Stencil(), Consistent(Stencil())], ids=["plain", "projected"]
)
def test_a_missing_pixel_masks_itself_and_spreads_nowhere(band, place, missing, predictor):
    bands = hole(made.random_bands(60, 72), band, place)
    result = sharpen(made.scene_of(bands, 36), predictor, window=36)
    for name in ("B05", "B09"):
        expected = np.zeros((60, 72), bool)
        if name in missing:
            expected[missing[name]] = True
        np.testing.assert_array_equal(np.isnan(result[name].values[0]), expected)


def test_missing_pixels_are_filled_from_the_nearest_valid_ones():
    bands = made.random_bands(60, 72)
    bands = hole(bands, "B08", np.s_[:, :, :2])
    bands = hole(bands, "B11", np.s_[:, -1:, :])
    filled = {name: values.copy() for name, values in bands.items()}
    filled["B08"][:, :, :2] = filled["B08"][:, :, 2:3]
    filled["B11"][:, -1] = filled["B11"][:, -2]
    expected = on_mirrored_whole(Stencil(), filled)
    expected[..., :2] = np.nan
    result = computed(made.scene_of(bands, 36), Stencil(), window=36)
    np.testing.assert_array_equal(result, expected)


def test_pixels_out_of_reach_of_a_gap_do_not_feel_it():
    bands = made.random_bands(60, 72)
    holed = hole(bands, "B04", np.s_[:, :20, :20])
    one, other = (computed(made.scene_of(b, 36), Stencil(), window=36) for b in (bands, holed))
    far = np.ones((60, 72), bool)
    far[:30, :30] = False
    np.testing.assert_array_equal(one[..., far], other[..., far])
    assert not np.array_equal(one[:, :, 20:30, 20:30], other[:, :, 20:30, 20:30])


@dataclass(frozen=True)
class Rough:
    """Wrong by some hundred DN, and masked by the gaps of a 10 m band."""

    bands_in: tuple[str, ...] = ("B04", "B11", "B09")
    bands_out: tuple[str, ...] = ("B11", "B09")
    halo: int = 0

    def __call__(self, b10, b20, b60):
        coarse = [b20[0].repeat(2, 0).repeat(2, 1), b60[0].repeat(6, 0).repeat(6, 1)]
        return np.stack([band + 0.05 * b10[0] for band in coarse])


def test_beside_gaps_the_projected_result_equals_the_measurement():
    bands = made.with_gaps(made.random_bands(96, 120))
    result = sharpen(made.scene_of(bands, 48), Consistent(Rough()), window=48)
    for band, ratio in (("B11", 2), ("B09", 6)):
        values = result[band].values
        assert np.isnan(values).mean() > 0.03
        value, weight = Degradation(ratio).weighted(values, np.isfinite(values))
        known = (weight >= MIN_WEIGHT) & np.isfinite(bands[band])
        assert np.abs(value - bands[band])[known].max() < 0.5e-4


def test_infinite_values_count_as_no_data():
    bands = made.random_bands(36, 36)
    bands["B04"][0, 3, 4] = np.inf
    result = sharpen(made.scene_of(bands, 36), Stencil())
    assert np.isnan(result["B05"].values[0, 3, 4])
    assert np.isnan(result["B05"].values).sum() == 1


def test_a_scene_of_no_data_is_all_masked_and_runs_no_predictor():
    bands = {name: np.full_like(v, np.nan) for name, v in made.random_bands(48, 48).items()}
    result = sharpen(made.scene_of(bands, 24), Forbidden(bands_out=SHARPENED), window=24)
    assert np.isnan(result.to_array().values).all()


def test_windows_of_no_data_are_skipped():
    bands = hole(made.random_bands(24, 48), "B04", np.s_[:, :, 24:])
    Counting.calls = 0
    result = computed(made.scene_of(bands, 48), Counting(), window=24)
    assert Counting.calls == 1
    assert np.isnan(result[..., 24:]).all()
    assert np.isfinite(result[..., :24]).all()


# --- scene classification -----------------------------------------------------------------------


def test_classes_are_carried_by_nearest_neighbour():
    classes = np.random.default_rng(0).integers(0, 12, (2, 24, 30)).astype("uint8")
    scene = made.scene_of({**made.random_bands(48, 60, dates=2), "SCL": classes}, 24)
    scene["r20m"]["SCL"].attrs["long_name"] = "scene classification"
    scl = sharpen(scene, Bicubic())["SCL"]
    assert scl.dtype == np.uint8
    assert scl.chunks == ((1, 1), (24, 24), (24, 24, 12))
    assert scl.attrs == {"long_name": "scene classification"}
    np.testing.assert_array_equal(scl.values, classes.repeat(2, 1).repeat(2, 2))


# --- predictors of the user ---------------------------------------------------------------------


def test_a_class_with_nothing_but_the_protocol_is_a_predictor():
    class Mean:
        bands_in = ("B08", "B11")
        bands_out = ("B11",)
        halo = 0

        def __call__(self, b10, b20, b60):
            assert b60.shape == (0, b10.shape[1] // 6, b10.shape[2] // 6)
            return (b10 + b20.repeat(2, 1).repeat(2, 2)) / 2

    bands = made.random_bands(36, 48)
    result = sharpen(made.scene_of(bands, 18), Mean(), window=12)
    assert set(result.data_vars) == {*BANDS_10M, "B11"}
    expected = (bands["B08"] + bands["B11"].repeat(2, 1).repeat(2, 2)) / 2
    np.testing.assert_array_equal(result["B11"].values, expected)
    assert result.attrs["provenance"]["predictor"] == {"name": "Mean"}
    assert result["B11"].attrs["sharpened_by"] == "Mean"


def test_the_result_says_how_it_was_made(tiny):
    scene = made.scene_of(made.random_bands(36, 36), 36)
    scene["r20m"]["B11"].attrs["units"] = "1"
    result = sharpen(scene, tiny, bands=["B11", "B02"], window=18)
    facts = result.attrs["provenance"]
    assert (result.attrs["level"], result.attrs["tile"]) == ("L1C", "33UUB")
    assert facts["package"].startswith("decametric ")
    assert facts["scenes"] == []
    assert facts["predictor"]["name"] == "tiny"
    assert [len(part["sha256"]) for part in facts["predictor"]["parts"]] == [64, 64]
    assert facts["parameters"]["window"] == 18
    assert list(result.data_vars) == ["B02", "B11"]
    assert result["B11"].attrs == {"units": "1", "sharpened_by": "tiny"}
    assert "sharpened_by" not in result["B02"].attrs


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("names", list(itertools.combinations(("B04", "B05", "B09"), 2)))
def test_missing_bands_are_named(names):
    bands = made.random_bands(36, 36)
    for name in names:
        del bands[name]
    with pytest.raises(SceneError, match=f"has no band {', '.join(names)}, which Stencil reads"):
        sharpen(made.scene_of(bands, 36), Stencil())


def test_a_band_asked_for_that_the_scene_lacks_is_named():
    bands = made.random_bands(36, 36)
    del bands["B02"]
    with pytest.raises(SceneError, match="has no band B02"):
        sharpen(made.scene_of(bands, 36), Bicubic(), bands=["B02", "B11"])


def test_a_single_band_may_be_named_alone():
    scene = made.scene_of(made.random_bands(60, 60), 60)
    (found,) = (name for name in sharpen(scene, "bicubic", bands="B11").data_vars if name != "SCL")
    assert found == "B11"


def test_what_is_no_scene_is_refused():
    scene = made.scene_of(made.random_bands(60, 60), 60)
    for thing in (scene["r20m"].to_dataset(), sharpen(scene, "bicubic")):
        with pytest.raises(UsageError, match="A Dataset is no scene"):
            sharpen(thing, "bicubic")


@pytest.mark.parametrize("name", ["B10", "cirrus"])
def test_cirrus_is_never_sharpened(name):
    bands = {**made.random_bands(36, 36), "B10": np.ones((1, 6, 6), "f4")}
    scene = made.scene_of(bands, 36)
    with pytest.raises(UsageError, match=r"B10 cannot be returned at 10 m .*choose from B01, "):
        sharpen(scene, Bicubic(), bands=[name])
    assert "B10" not in sharpen(scene, Bicubic())


def test_bands_that_the_predictor_does_not_make_are_refused():
    with pytest.raises(UsageError, match=r"B11 cannot be returned.*B02, B03, B04, B05, B08, B09\."):
        sharpen(made.scene_of(made.random_bands(36, 36), 36), Stencil(), bands=["B11", "B05"])


@pytest.mark.parametrize("window", [0, 50, -6])
def test_windows_are_multiples_of_six(window):
    with pytest.raises(UsageError, match=f"{window} is not a multiple of 6"):
        sharpen(made.scene_of(made.random_bands(36, 36), 36), Bicubic(), window=window)


def test_windows_hold_at_least_the_halo():
    scene = made.scene_of(made.random_bands(60, 60), 24)
    with pytest.raises(
        UsageError, match=r"window=6 is too small for the halo of 12 .* use 24 or more"
    ):
        sharpen(scene, Bicubic(), window=6)
    sharpen(scene, Bicubic(), window=12)


def test_a_scene_smaller_than_the_halo_is_mirrored_as_often_as_needed():
    bands = made.random_bands(6, 12)
    result = computed(made.scene_of(bands, 6), Stencil(), window=12)
    np.testing.assert_array_equal(result, on_mirrored_whole(Stencil(), bands))


def test_a_scene_of_broken_60_m_pixels_is_refused():
    scene = made.scene_of(made.random_bands(36, 36), 36)
    cut = scene.isel(y=slice(0, 5))
    with pytest.raises(SceneError, match="5 pixels of 10 m, not whole 60 m pixels"):
        sharpen(cut, Bicubic())


def test_a_scene_without_bands_is_refused():
    empty = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"level": "L1C"})})
    with pytest.raises(SceneError, match="no band"):
        sharpen(empty, Stencil())
    with pytest.raises(SceneError, match="holds no Sentinel-2 band"):
        sharpen(empty, Bicubic())
