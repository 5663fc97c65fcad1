"""ISSM: a statistic of edges and grey levels that is kept for continuity, not for use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from scipy import ndimage

from decametric.errors import UsageError
from decametric.metrics.margin import INNER, states_of, upright, with_margin
from decametric.metrics.pairs import (
    SPATIAL,
    Data,
    Dims,
    Options,
    by_variable,
    data_range_of,
    documented,
    pair,
)
from decametric.metrics.reduction import STATE, check_windows, label, merged, weigh
from decametric.metrics.window import ssim

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from decametric.metrics.pairs import Pair
    from decametric.metrics.reduction import Floats

A, B, C = 0.3, 0.5, 0.7
"""Weights of the three parts."""

LEVELS = 255
"""Edges are looked for in whole numbers of 0 to this."""

BITS = 15
TANGENT = round(np.tan(np.pi / 8) * 2**BITS)
"""Of 22.5 degrees, in whole numbers, so that the direction of a gradient is never a matter of
rounding."""

SUMS = 4
"""Numbers of a state that are sums over pixels, of 1, g, h and g h with edges g and h; the others
are the joint histogram."""


@documented
def issm(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    data_range: float | str | None = None,
    bins: int = 10,
    thresholds: tuple[float, float] = (100, 200),
    entropy: str = "probability",
) -> Data:
    r"""Information-theoretic statistic similarity, as image-similarity-measures has it.

    .. math:: \frac{(A + B) R E + e}{A R E + B E + C S + e}

    with the correlation R of the edges of both images, the entropy E of their joint histogram, S =
    `ssim` (uniform windows of 7 pixels), A, B, C = 0.3, 0.5, 0.7 and Euler's number e (after
    Aljanabi and others 2019; e is a guess of that package).

    **Do not use it to judge images.** The sources contradict each other, and no set of metrics here
    has it by default. Identical images score about 0.7 to 0.9, and how much depends on their
    entropy; more similar grey levels lower the score, since S stands in the denominator alone. With
    ``entropy="counts"``, as in the package, E is so large that nothing is left but
    :math:`0.8 R / (0.3 R + 0.5)`, a function of the edges.

    Images are brought to whole numbers of 0 to 255 for the edges and clipped, where the package
    divides by 16 and wraps: `data_range` 4080 gives its numbers to five digits for images that stay
    below 4096, over ``("band", "y", "x")``. Edges (Canny 1986, doi:10.1109/TPAMI.1986.4767851) are
    those of the band whose gradient is strongest, if several are reduced together; weak ones count
    if they lead to a strong one within 64 pixels of a block whose place depends on the size of the
    image alone. Edges nearer than 2 pixels to one that does not count are left out.

    Parameters
    ----------
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values, from 0; larger values are counted as the largest.
    bins : int
        Of the histogram, along each image.
    thresholds : tuple of float
        Strengths of weak and of strong edges: the sum of absolute Sobel gradients.
    entropy : {"probability", "counts"}
        Of the shares of pixels, in bits; or of their numbers, which is no entropy.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where an image has no edges.

    Raises
    ------
    UsageError
        If `data_range` is missing, an option cannot be, or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rows, columns = np.mgrid[:32, :32]
    >>> truth = xr.DataArray(np.where(rows > columns, 0.9, 0.1), dims=("y", "x"))
    >>> float(issm(truth, truth, data_range="reflectance").round(3))
    0.834
    """
    weak, strong = thresholds
    if bins < 1 or not 0 <= weak <= strong or entropy not in {"probability", "counts"}:
        message = (
            f"bins={bins}, thresholds={thresholds}, entropy={entropy!r}: give at least one bin, "
            "thresholds that rise from 0, and 'probability' or 'counts'."
        )
        raise UsageError(message)
    span = data_range_of(data_range)
    parameters = {"span": span, "bins": bins, "weak": weak, "strong": strong}

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        both = pair(x, y, each)
        check_windows(both)
        both = upright(both, together=[name for name in both.dim if name not in SPATIAL])
        found: xr.DataArray = xr.apply_ufunc(
            _score,
            _states(both, parameters).chunk({STATE: -1}),
            _windows(both, span),
            input_core_dims=[[STATE], []],
            kwargs={"entropy": entropy},
            dask="parallelized",
            output_dtypes=[np.float64],
        )
        facts = {"name": "issm", "long_name": "information-theoretic statistic similarity"}
        return label(found, both, each, **facts, units="1", data_range=span, entropy=entropy)

    return by_variable(metric, reference, test, Options(dim, mask, weights, skipna, keep_attrs))


def _states(both: Pair, parameters: dict[str, Any]) -> xr.DataArray:
    """Sums over edges, and the joint histogram."""
    images = [None if array is None else with_margin(array) for array in both.arrays]
    # What is beyond the image is no edge, however it is made up.
    images.append(with_margin(da.ones_like(both.reference.data, dtype=bool), "constant"))
    size = SUMS + parameters["bins"] ** 2
    return merged(states_of(images, _edge_block, size, skipna=both.skipna, **parameters), both)


def _windows(both: Pair, span: float) -> xr.DataArray:
    """SSIM as the package has it."""
    return ssim(
        both.reference,
        both.test,
        both.dim,
        data_range=span,
        window="uniform",
        size=7,
        sample_covariance=True,
        weights=both.weights,
        skipna=both.skipna,
    )


def _edge_block(
    reference: Any,  # noqa: ANN401
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    inside: Any,  # noqa: ANN401
    *,
    span: float,
    skipna: bool,
    bins: int,
    weak: float,
    strong: float,
) -> Floats:
    """State of a block of one image of one or more bands."""
    planes = (
        None if array is None else array.reshape(-1, *array.shape[-2:])
        for array in (reference, test, weights)
    )
    x, y, w = weigh(*planes, skipna=skipna)
    usable = inside.reshape(x.shape)[0]
    if w is not None:
        usable = usable & ~ndimage.binary_dilation((w == 0).any(0), np.ones((5, 5), bool))
    g, h = (find_edges(_levels(v, span), usable, weak, strong)[INNER] for v in (x, y))
    n = usable[INNER] * (1 if w is None else w[INNER].mean(0))
    counts = _histogram(x[INNER], y[INNER], None if w is None else w[INNER], span, bins)
    return np.concatenate([[n.sum(), n[g].sum(), n[h].sum(), n[g & h].sum()], counts])


def find_edges(levels: Any, usable: Any, weak: float, strong: float) -> NDArray[np.bool_]:  # noqa: ANN401
    """Edges of an image of several bands (Canny 1986), in whole numbers throughout.

    Parameters
    ----------
    levels : int32 array (band, y, x)
        0 to 255. Of every pixel the band of the strongest gradient is taken.
    usable : bool array (y, x)
        Where there may be an edge.
    weak, strong : float
        Least sum of absolute Sobel gradients; weak edges must lead to strong ones.

    Returns
    -------
    bool array (y, x)
        Thin lines: pixels whose gradient is largest along its direction (of eight).
    """
    right, down = (_sobel(levels, axis) for axis in (-1, -2))
    length = np.abs(right) + np.abs(down)
    band = length.argmax(axis=0)[None]
    right, down, length = (np.take_along_axis(v, band, 0)[0] for v in (right, down, length))
    length = np.where(usable, length, 0)
    candidates = (length > weak) & _is_ridge(length, right, down)
    lines, count = ndimage.label(candidates, np.ones((3, 3), bool))
    holds = np.zeros(count + 1, bool)
    holds[lines[candidates & (length > strong)]] = True
    edges: NDArray[np.bool_] = holds[lines]
    return edges


def _sobel(levels: Any, axis: int) -> Any:  # noqa: ANN401
    """Sobel's gradient along the last axis or the one before it, of every band."""
    smooth = ndimage.correlate1d(levels, [1, 2, 1], axis=-3 - axis)
    return ndimage.correlate1d(smooth, [-1, 0, 1], axis=axis)


def _is_ridge(length: Any, right: Any, down: Any) -> Any:  # noqa: ANN401
    """Where a gradient is longer than those before and behind it; of equals the last one counts."""
    around = np.pad(length, 1)

    def at(y: int, x: int) -> Any:  # noqa: ANN401
        return around[1 + y : around.shape[0] - 1 + y, 1 + x : around.shape[1] - 1 + x]

    across, up = np.abs(right) * TANGENT, np.abs(down) << BITS
    level = (length > at(0, -1)) & (length >= at(0, 1))
    upright = (length > at(-1, 0)) & (length >= at(1, 0))
    falling = (length > at(-1, -1)) & (length > at(1, 1))
    rising = (length > at(-1, 1)) & (length > at(1, -1))
    slanted = np.where((right < 0) ^ (down < 0), rising, falling)
    steep = up > across + (np.abs(right) << (BITS + 1))  # tan 67.5 is tan 22.5 and 2
    return np.select([up < across, steep], [level, upright], slanted)


def _levels(values: Floats, span: float) -> NDArray[np.int32]:
    """An image in whole numbers; what is no number makes the score none by its windows."""
    scaled = np.nan_to_num(values * (LEVELS / span), posinf=LEVELS, neginf=0)
    return np.clip(scaled, 0, LEVELS).astype(np.int32)


def _histogram(x: Floats, y: Floats, w: Any, span: float, bins: int) -> Floats:  # noqa: ANN401
    """Joint histogram of all bands, in one line."""
    rows, columns = (
        np.clip(np.nan_to_num(values * (bins / span)), 0, bins - 1).astype(np.int64).ravel()
        for values in (x, y)
    )
    counts: Floats = np.bincount(
        rows * bins + columns, None if w is None else w.ravel(), bins**2
    ).astype(np.float64)
    return counts


def _score(state: Floats, windows: Floats, *, entropy: str) -> Floats:
    """The formula."""
    n, g, h, both = np.moveaxis(state[..., :SUMS], -1, 0)
    counts = state[..., SUMS:]
    with np.errstate(invalid="ignore", divide="ignore"):
        edges = (n * both - g * h) / np.sqrt((n * g - g * g) * (n * h - h * h))
        shares = counts / counts.sum(-1, keepdims=True) if entropy == "probability" else counts
        bits = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(-1)
        common = A * edges * bits + np.e
        score: Floats = (common + B * edges * bits) / (common + B * bits + C * windows)
    return score
