"""Image-similarity metrics as xarray reductions: ``metric(reference, test, dim=("y", "x"))``.

Every metric is lazy on Dask, gives the same number for every chunking, leaves out pixels that are
not valid in both images, and refuses images whose grids differ, by however little. `scores` gives
several at once.
"""

from __future__ import annotations

from decametric.metrics.consistency import consistency_bias, consistency_rmse
from decametric.metrics.correctness import hallucination, improvement, omission
from decametric.metrics.detail import scc
from decametric.metrics.edges import issm
from decametric.metrics.no_reference import d_lambda, d_rho, d_s
from decametric.metrics.pixel import bias, cc, ergas, mae, psnr, rase, rmse, sre
from decametric.metrics.pyramid import ms_ssim, vif
from decametric.metrics.qnr import hqnr, khan_d_lambda, qnr
from decametric.metrics.scores import DEFAULT, REGISTRY, SPECTRAL, scores
from decametric.metrics.spectral import q2n, sam
from decametric.metrics.structure import fsim, fsim_noise
from decametric.metrics.window import ssim, uiq

__all__ = [
    "DEFAULT",
    "REGISTRY",
    "SPECTRAL",
    "bias",
    "cc",
    "consistency_bias",
    "consistency_rmse",
    "d_lambda",
    "d_rho",
    "d_s",
    "ergas",
    "fsim",
    "fsim_noise",
    "hallucination",
    "hqnr",
    "improvement",
    "issm",
    "khan_d_lambda",
    "mae",
    "ms_ssim",
    "omission",
    "psnr",
    "q2n",
    "qnr",
    "rase",
    "rmse",
    "sam",
    "scc",
    "scores",
    "sre",
    "ssim",
    "uiq",
    "vif",
]
