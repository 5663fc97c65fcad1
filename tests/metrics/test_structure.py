"""FSIM: oracle values, seams, gaps, noise, and the order in which images are read."""

from __future__ import annotations

import threading

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from decametric.errors import UsageError
from decametric.metrics import margin, phase
from decametric.metrics.structure import fsim, fsim_noise
from metrics import oracle

CHUNKS = [
    {"band": 1, "y": 60, "x": 75},
    {"band": 2, "y": (7, 100, 43), "x": (1, 169)},
    {"y": 1, "x": -1},
]


@pytest.fixture(scope="module")
def scene():
    """Two bands of a reference and a test image, uint16."""
    reference = oracle.synth(20240601, 2, 150, 170)
    test = oracle.degrade_synth(reference, 20240602, 1.02, 15.0, 30.0, 2)
    return [xr.DataArray(values, dims=("band", "y", "x")) for values in (reference, test)]


def score(x, y, **options):
    return fsim(x, y, **{"data_range": oracle.L, **options})


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("pair", oracle.PAIRS)
def test_oracle(shared_data, pair, dtype):
    known = oracle.pair(shared_data, pair)
    found = score(known.reference.astype(dtype), known.test.astype(dtype))
    np.testing.assert_allclose(found, known.windowed["fsim_fir64"], rtol=0, atol=5e-7)
    np.testing.assert_allclose(found, known.windowed["fsim_reflect256"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunks_change_nothing_at_all(scene, chunks):
    x, y = scene
    lazy = score(x.chunk(chunks), y.chunk({"y": 64}))
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_array_equal(lazy, score(x, y))


def test_seams_between_blocks_are_invisible(scene, monkeypatch):
    whole = score(*scene)
    monkeypatch.setattr(margin, "TILE", 100)
    np.testing.assert_allclose(score(*scene), whole, rtol=0, atol=2e-8)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**16), st.integers(1, 60), st.integers(1, 60), st.floats(1e-3, 1e6))
def test_identical_images_score_one(seed, height, width, span):
    first, second = span * np.random.default_rng(seed).random((2, height, width))
    x, y = (xr.DataArray(values, dims=("y", "x")) for values in (first, second))
    assert float(fsim(x, x, data_range=span)) == 1
    assert 0 < float(fsim(x, y, data_range=span)) <= 1
    backwards = float(fsim(y, x, data_range=span))
    assert float(fsim(x, y, data_range=span)) == pytest.approx(backwards, abs=1e-5)


def test_scale_is_that_of_the_data_range(scene):
    x, y = scene
    scaled = fsim(x / 10000, y / 10000, data_range="reflectance")
    np.testing.assert_allclose(scaled, score(x, y), rtol=0, atol=1e-7)


def test_brightness_alone_is_no_structure():
    dark, bright = (xr.DataArray(np.full((20, 30), value), dims=("y", "x")) for value in (50, 200))
    assert float(fsim(dark, bright, data_range="uint8")) == 1


def test_what_is_masked_does_not_matter(scene):
    x, y = (image.astype(float) for image in scene)
    mask = xr.DataArray(oracle.disc_mask(5, 150, 170), dims=("y", "x"))
    found = score(x, y, mask=mask)
    np.testing.assert_array_equal(score(x.where(mask, -1e6), y.where(mask), mask=mask), found)
    np.testing.assert_array_equal(score(x, y.where(mask)), found)
    np.testing.assert_allclose(score(x, y, weights=mask * 3.0), found, rtol=1e-12)
    np.testing.assert_allclose(found, score(x, y), atol=5e-3)
    assert (found != score(x, y)).all()


def test_weights_pool_and_nothing_else(scene):
    x, y = scene
    mask = xr.zeros_like(x[0], dtype=bool)
    mask[:, 100:] = True
    halves = xr.where(mask, 3.0, 1.0)
    noise = fsim_noise(x, y, data_range=oracle.L)
    alike = score(x, y, weights=xr.full_like(halves, 2.0))
    np.testing.assert_allclose(alike, score(x, y), rtol=1e-12)
    assert (score(x, y, weights=halves, noise=noise) != score(x, y)).all()


def test_nothing_valid_is_no_number(scene):
    x, y = scene
    found = score(x, y, mask=xr.DataArray([True, False], dims="band"))
    assert found[0] == score(x, y)[0]
    assert np.isnan(found[1])
    pooled = score(x, y, dim=..., mask=xr.DataArray([True, False], dims="band"))
    assert float(pooled) == float(found[0])
    gap = y.astype(float)
    gap[0, 3, 4] = np.nan
    np.testing.assert_array_equal(np.isnan(score(x, gap, skipna=False)), [True, False])
    gap[0, 3, 4] = np.inf
    np.testing.assert_array_equal(np.isnan(score(x, gap, skipna=False)), [True, False])


def test_bands_pooled_are_weighed_by_their_features(scene):
    x, y = (image[:1] for image in scene)
    twice = [xr.concat([image, image], "band") for image in (x, y)]
    assert float(score(*twice, dim=...)) == float(score(x, y)[0])
    same = [xr.concat([image, x], "band") for image in (x, y)]
    assert float(score(x, y)[0]) < float(score(*same, dim=...)) < 1


def test_the_order_of_dimensions_does_not_matter(scene):
    x, y = scene
    found = score(x.transpose("x", "band", "y"), y)
    np.testing.assert_array_equal(found, score(x, y))


def test_noise_of_a_scene_can_be_given(scene):
    x, y = scene
    noise = fsim_noise(x, y, data_range=oracle.L)
    assert noise.dims == ("band", "image", "orientation")
    np.testing.assert_array_equal(score(x, y, noise=noise), score(x, y))
    np.testing.assert_array_equal(
        score(x, y, noise=noise.isel(band=0, drop=True))[0], score(x, y)[0]
    )
    np.testing.assert_array_equal(score(x, y, noise=2.0), score(x, y, noise=2.0 + 0 * noise))
    assert (score(x, y, noise=0) > score(x, y)).all()


def test_noise_of_datasets_is_that_of_their_variables(scene):
    x, y = (xr.Dataset({"B05": image[0], "B11": image[1]}) for image in scene)
    noise = fsim_noise(x, y, data_range=oracle.L)
    found = score(x, y, noise=noise)
    for band, name in enumerate(("B05", "B11")):
        assert float(found[name]) == float(score(*scene)[band])


@pytest.mark.parametrize(
    "noise", ["image", xr.DataArray([1.0, 2.0], dims="time"), xr.DataArray([1.0] * 3, dims="band")]
)
def test_noise_that_cannot_be_is_refused(scene, noise):
    with pytest.raises(UsageError, match="noise"):
        score(*scene, noise=noise)


@pytest.mark.parametrize("dim", ["band", "image", "orientation"])
def test_noise_under_other_labels_is_refused(scene, dim):
    x, y = (image.assign_coords(band=["B05", "B11"]) for image in scene)
    noise = fsim_noise(x, y, data_range=oracle.L)
    turned = noise.isel({dim: slice(None, None, -1)})
    with pytest.raises(UsageError, match=f"coordinate '{dim}' of noise differs"):
        score(x, y, noise=turned)
    bare = noise.drop_vars(noise.coords)
    np.testing.assert_array_equal(score(x, y, noise=bare), score(x, y))


def test_lazy_noise_makes_a_lazy_score(scene):
    noise = fsim_noise(*(image.chunk() for image in scene), data_range=oracle.L)
    found = score(*scene, noise=noise)
    assert found.chunks is not None
    np.testing.assert_array_equal(found, score(*scene))


def test_what_is_missing_is_refused(scene):
    x, y = scene
    with pytest.raises(UsageError, match="data_range"):
        fsim(x, y)
    with pytest.raises(UsageError, match="lacks x"):
        score(x, y, dim="y")


def test_nothing_is_read_when_called(scene):
    def never(block):
        raise AssertionError(block)

    x, y = scene
    untouched = x.copy(data=da.from_array(x.values, chunks=64).map_blocks(never, dtype=x.dtype))
    first, second = score(untouched, y), score(untouched, y)
    assert dask.base.tokenize(first.data) == dask.base.tokenize(second.data)
    with pytest.raises(AssertionError):
        first.compute()


def counted_image(reads):
    """A lazy image of nine blocks, off the grid of the metric; it notes what is read."""
    lock = threading.Lock()

    def read(block_id):
        with lock:
            reads.append(block_id)
        return np.random.default_rng(block_id).random((60, 60))

    chunks = ((60, 60, 60), (60, 60, 60))
    lazy = da.map_blocks(read, chunks=chunks, dtype=float, meta=np.empty((0, 0)))
    return xr.DataArray(lazy, dims=("y", "x"))


@pytest.mark.parametrize("prepare", [lambda image: image, lambda image: image.chunk(50)[:170, 3:]])
def test_images_are_read_in_three_rounds(monkeypatch, prepare):
    monkeypatch.setattr(margin, "TILE", 128)
    reads = []
    image = prepare(counted_image(reads))
    assert fsim(image, image, data_range=1).compute(scheduler="threads", num_workers=2) == 1
    rounds = [sorted(reads[n : n + 9]) for n in range(0, len(reads), 9)]
    assert rounds == [list(np.ndindex(3, 3))] * 3


def test_given_noise_saves_a_round(monkeypatch):
    monkeypatch.setattr(margin, "TILE", 128)
    reads = []
    image = counted_image(reads)
    fsim(image, image, data_range=1, noise=1.0).compute(scheduler="synchronous")
    assert len(reads) == 2 * 9


def test_phase_congruency_marks_an_edge_however_faint():
    for step in (1.0, 100.0):
        image = np.zeros((160, 160), "float32")
        image[:, 80:] = step
        found = phase.phase_congruency(image, [0.0] * 4)
        assert found.shape == (32, 32)
        assert set(found.argmax(axis=1)) <= {15, 16}
        assert found.max() > 0.8
        assert found.max() <= 1


def test_filters_do_not_see_brightness():
    kernels = phase._kernels()
    assert np.abs(kernels.sum((-2, -1))).max() < 1e-12


@pytest.mark.parametrize("count", [1, 2, 1001, 40000])
def test_the_median_of_histograms(count):
    values = np.random.default_rng(count).lognormal(0, 2, count).astype("f4")
    counts = np.bincount(phase._bin(values, 13), minlength=48 << 13).astype(float)
    expected = phase.LEVEL * np.sqrt(np.median(values) / np.log(2) * phase._noise_gain())
    found = phase.noise_of(np.stack([counts] * 4))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (phase.noise_of(np.zeros((4, 48))) == 0).all()
