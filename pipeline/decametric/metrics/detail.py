"""Metric of fine detail: whether two images agree after a high-pass filter (SCC)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr

from decametric.errors import UsageError
from decametric.metrics.moments import SIZE, merge_moments, moments
from decametric.metrics.pairs import (
    SPATIAL,
    Data,
    Dims,
    Options,
    by_variable,
    documented,
    pair,
)
from decametric.metrics.pixel import correlation
from decametric.metrics.reduction import Floats, finish
from decametric.metrics.sliding import filtered, reduce_windows, total, window_weights

if TYPE_CHECKING:
    from decametric.metrics.pairs import Pair

ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""Detail below this share of the sum of the window is rounding."""


@documented
def scc(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    method: str = "laplacian",
) -> Data:
    r"""Spatial correlation coefficient: whether the fine detail agrees.

    Pearson's correlation coefficient (`cc`) of the images after a high-pass filter, eight times
    the pixel minus its eight neighbours (Zhou, Civco and Silander 1998,
    doi:10.1080/014311698215973). Between -1 and 1, best 1; NaN for images without detail. Pixels
    whose neighbours do not all count are left out.

    Parameters
    ----------
    method : {"laplacian", "sobel"}
        "sobel" is what toolboxes for pansharpening call SCC: the magnitudes X and Y of Sobel's
        gradient, with the outermost pixels taken as 0, give
        :math:`\sum X Y / \sqrt{\sum X^2 \sum Y^2}`. It is always near 1; they take it over all
        bands, ``dim=("band", "y", "x")``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid.

    Raises
    ------
    UsageError
        If `method` is unknown or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> truth = xr.DataArray(np.arange(100.0).reshape(10, 10) ** 3, dims=("y", "x"))
    >>> float(scc(truth, 5 - 2 * truth).round(9))
    -1.0
    """
    if method not in ("laplacian", "sobel"):
        message = f"method={method!r}: use 'laplacian' or 'sobel'."
        raise UsageError(message)
    facts: dict[str, Any] = {"name": "scc", "long_name": "spatial correlation coefficient"}
    facts |= {"units": "1", "method": method}

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        both = pair(x, y, each)
        if method == "sobel":
            states = reduce_windows(_with_zero_border(both), _sobel, 3, states=3)
            return finish(states, _cosine, both, each, **facts)
        states = reduce_windows(both, _laplacian, 3, states=SIZE, merge=merge_moments)
        return finish(states, correlation, both, each, **facts)

    options = Options(dim, mask, weights, skipna, keep_attrs)
    return by_variable(metric, reference, test, options)


def _laplacian(x: Floats, y: Floats, w: Floats | None) -> Floats:
    """Moments of the high-pass filtered planes."""
    images = np.stack([x, y])
    detail = 9 * images[:, 1:-1, 1:-1] - filtered(images, (1, 1, 1))
    # What is left of a plane is rounding, of the nine terms and of the plane's own numbers.
    detail[np.abs(detail) <= ROUNDING * filtered(np.abs(images), (1, 1, 1))] = 0
    return moments(detail[0], detail[1], window_weights(w, 3), axes=(0, 1)).ravel()


def _sobel(x: Floats, y: Floats, w: Floats | None) -> Floats:
    """Sums of products of the gradients' magnitudes."""
    counts = window_weights(w, 3)
    a, b = _gradient(x), _gradient(y)
    return np.array([total(product, counts)[0] for product in (a * b, a * a, b * b)])


def _gradient(plane: Floats) -> Floats:
    """Magnitude of Sobel's gradient."""
    down = plane[2:] - plane[:-2]
    right = plane[:, 2:] - plane[:, :-2]
    down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    right = right[:-2] + 2 * right[1:-1] + right[2:]
    return np.hypot(down, right)


def _cosine(state: Floats) -> Floats:
    """Correlation about zero, of the three sums of products."""
    cosine: Floats = state[..., 0] / np.sqrt(state[..., 1] * state[..., 2])
    return cosine


def _with_zero_border(both: Pair) -> Pair:
    """The pair with 0 in the outermost pixels of both images, but for gaps, which stay gaps."""
    reference, test = both.reference, both.test
    for name in SPATIAL:
        length, chunks = both.reference.sizes[name], both.reference.chunksizes[name]
        place = xr.DataArray(da.arange(length, chunks=(chunks,)), dims=name)
        inside = (place > 0) & (place < length - 1)
        reference, test = (
            image.where(inside | ~np.isfinite(image), 0) for image in (reference, test)
        )
    return replace(both, reference=reference, test=test)
