"""Several metrics at once: the same numbers as one by one, and one pass over the data."""

from __future__ import annotations

import threading
from collections import Counter

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from decametric import metrics
from decametric.errors import UsageError
from decametric.metrics import DEFAULT, REGISTRY, SPECTRAL, scores

NEEDS = {"data_range": 1.0, "ratio": 2}
SIZE = 192
"""Large enough for a window of each scale of MS-SSIM."""


def image(seed=0, bands=("B05", "B11", "B12")):
    values = np.random.default_rng(seed).random((len(bands), SIZE, SIZE), dtype="float32")
    return xr.DataArray(values, {"band": list(bands)}, dims=("band", "y", "x"))


def alone(name, reference, test, **options):
    metric = REGISTRY[name]
    wanted = metric.__kwdefaults__
    return metric(reference, test, **{k: v for k, v in NEEDS.items() if k in wanted}, **options)


@pytest.fixture(scope="module")
def found():
    return scores(image(), image(1), sorted(REGISTRY), **NEEDS)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_each_is_what_it_is_alone(found, name):
    expected = alone(name, image(), image(1))
    xr.testing.assert_identical(found[name], expected)
    assert ("band" in found[name].dims) == (name not in SPECTRAL)


def test_lazy_in_lazy_out_and_the_same_numbers(found):
    lazy = scores(image().chunk(y=100), image(1).chunk(x=64), sorted(REGISTRY), **NEEDS)
    assert all(isinstance(score.data, da.Array) for score in lazy.values())
    for name, score in lazy.compute().items():
        np.testing.assert_allclose(score, found[name], rtol=1e-9 if name == "fsim" else 1e-12)


def test_bands_of_datasets():
    x, y = (image(seed).to_dataset("band") for seed in (0, 1))
    mask = x.B05 > 0.1
    stacked = scores(image(), image(1), ["rmse", "sam"], mask=mask)
    xr.testing.assert_allclose(scores(x, y, ["rmse", "sam"], mask=mask), stacked, rtol=1e-15)


def test_what_is_given_by_default():
    assert tuple(scores(image(), image(1), **NEEDS)) == DEFAULT
    assert "ergas" not in scores(image(), image(1), data_range=1)
    single = scores(image()[0], image(1)[0], **NEEDS)
    assert set(single) == set(DEFAULT) - SPECTRAL


def test_one_pass_for_all_metrics_of_pixels():
    reads: Counter[tuple[int, ...]] = Counter()
    lock = threading.Lock()

    def read(block, block_info):
        with lock:
            reads[block_info[0]["chunk-location"]] += 1
        return block

    values = image().chunk(band=1, y=64, x=64)
    counted = values.copy(data=da.map_blocks(read, values.data, dtype="f4", meta=np.empty(0, "f4")))
    names = ["rmse", "mae", "bias", "psnr", "sre", "cc", "ergas", "rase", "sam", "ssim", "uiq"]
    scores(counted, image(1).chunk(y=64, x=64), names, **NEEDS).compute()
    assert set(reads.values()) == {1}
    assert len(reads) == 3 * 9


def test_what_is_refused():
    with pytest.raises(UsageError, match="Unknown metric 'rsme'; choose from bias, cc"):
        scores(image(), image(), ["rsme"])
    with pytest.raises(UsageError, match="data_range=None"):
        scores(image(), image())
    with pytest.raises(UsageError, match="ratio=None"):
        scores(image(), image(), ["ergas"])
    with pytest.raises(UsageError, match="mask must be"):
        scores(image(), image(), ["rmse"], mask=image().values > 0)


def test_every_metric_of_two_images_is_public():
    assert set(REGISTRY) <= set(metrics.__all__)
    for name in REGISTRY:
        assert getattr(metrics, name) is REGISTRY[name]
