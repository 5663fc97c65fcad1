"""A coarse image, a fine one and a guide, for the tests of metrics that compare two scales."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr

from metrics import oracle

BANDS = ["B05", "B06", "B07", "B8A", "B11", "B12"]

CHUNKS = [
    ({"band": 1, "y": 40, "x": 33}, {"y": 31}),
    ({"band": (3, 3), "y": (7, 89), "x": (1, 95)}, {"band": 2, "y": (1, 60, 131), "x": 100}),
    ({"band": 6, "y": 1, "x": 96}, {"band": 6, "y": 192, "x": 5}),
]
"""Chunks of the coarse and of the fine image of triple_a."""


def triple(shared_data, dtype="uint16"):
    """Measured, sharpened, guide, and guide at the coarse scale, of the oracle's triple_a."""
    images = oracle.triple(shared_data)
    pair = (images[name].assign_coords(band=BANDS).astype(dtype) for name in ("ms", "fused"))
    return *pair, images["guide"], images["guide_lr"]


def expected(shared_data, name):
    return oracle.expected(shared_data, "no_reference", "triple_a", "values", name)


def made(bands=3, edge=96, ratio=2, seed=0):
    """The same of random numbers, with the coordinates of a grid."""
    random = np.random.default_rng(seed)
    labels = BANDS[:bands]
    fine = xr.DataArray(
        0.2 + random.random((bands, edge, edge)),
        {"band": labels, "y": 600005.0 - 10 * np.arange(edge), "x": 5.0 + 10 * np.arange(edge)},
        dims=("band", "y", "x"),
    )
    noise = 0.1 * random.random((bands, edge // ratio, edge // ratio))
    coarse = fine.coarsen(y=ratio, x=ratio).mean() + noise
    guide = (fine.mean("band") + 0.1 * random.random((edge, edge))).rename("B08")
    return coarse, fine, guide


def broken(image):
    """The same image, but whoever reads it fails."""

    def fail(_):
        message = "this image must not be read"
        raise AssertionError(message)

    chunked = image.chunk().data
    meta = np.empty((0,) * image.ndim)
    return image.copy(data=da.map_blocks(fail, chunked, dtype=float, meta=meta))
