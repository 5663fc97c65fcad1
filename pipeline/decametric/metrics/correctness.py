"""What became of the detail that was missing: improved, left out, or made up (opensr-test)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from decametric.errors import UsageError
from decametric.metrics.pairs import (
    SPATIAL,
    Dims,
    Options,
    check_grids,
    checked,
    chunked,
    documented,
    pair,
    resolve,
    stacked,
)
from decametric.metrics.reduction import Floats, finish, reduce, weigh

if TYPE_CHECKING:
    from decametric.metrics.pairs import Pair

KINDS = ("improvement", "omission", "hallucination")
"""What can become of a pixel; the order of a state, of which the weight of pixels is the last."""

MADE = "made"
"""Dimension along which the image to judge and what there was before lie side by side."""

TINY = 1e-8
"""Added to the sum of two values before it divides, as in the program of the authors."""


@documented
def improvement(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    upsampled: xr.DataArray | xr.Dataset,
    threshold: float | None = None,
    distance: str = "nd",
    severity: float = 0.05,
    temperature: float | None = 0.25,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""How much of the missing detail was brought in, and is right.

    The distance of `test` from the truth, and from what there was before, in units of the distance
    between these two, are a and b; with H = a + b - 1, the detour, and
    :math:`e = 1 - \exp(-\lambda H)` three penalties are set against each other,

    .. math:: a + b e, \quad b + a e, \quad \exp(-\lambda a b)

    of improvement, omission and hallucination (Aybar, Montero, Donike, Kalaitzis and Gomez-Chova
    2024, doi:10.1109/LGRS.2024.3401394; without their harmonisation, so that each pixel stands for
    itself). The least penalty wins the pixel, or most of it. Between 0 and 1, best 1; with
    `omission` and `hallucination` it adds up to 1.

    Parameters
    ----------
    upsampled : xarray.DataArray or xarray.Dataset
        What there was before, interpolated to the grid of `reference`.
    threshold : float
        Pixels count where one of the three distances is larger; required, in units of `distance`.
        The program of the authors takes the upper quartile of the distances of this scene between
        truth and interpolation, which makes scenes incomparable.
    distance : {"nd", "l1"}
        Mean over bands of \|x - y\| / \|x + y\|, or of \|x - y\|.
    severity : float
        How quickly a deviation that is away from both counts as made up.
    temperature : float or None
        Of the softmin that shares a pixel out among the three kinds; None gives it to one alone.
    band_dim : str
        Dimension of the bands, which is reduced too.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no pixel counts.

    Raises
    ------
    UsageError
        If `threshold` is missing, an argument cannot be, or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[[0.2, 0.4]]], dims=("band", "y", "x"))
    >>> coarse = xr.full_like(truth, 0.3)
    >>> float(improvement(truth, truth, upsampled=coarse, threshold=0.01, temperature=None))
    1.0
    """
    images = (reference, test, upsampled)
    options = Options(dim, mask, weights, skipna, keep_attrs)
    model = (threshold, distance, severity, temperature)
    return _score(images, options, band_dim, model, "improvement")


@documented
def omission(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    upsampled: xr.DataArray | xr.Dataset,
    threshold: float | None = None,
    distance: str = "nd",
    severity: float = 0.05,
    temperature: float | None = 0.25,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""How much of the missing detail is still missing.

    See `improvement` for the formula. Between 0 and 1, best 0; interpolation omits everything.

    Parameters
    ----------
    upsampled, threshold, distance, severity, temperature, band_dim
        As in `improvement`.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no pixel counts.

    Raises
    ------
    UsageError
        If `threshold` is missing, an argument cannot be, or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[[0.2, 0.4]]], dims=("band", "y", "x"))
    >>> coarse = xr.full_like(truth, 0.3)
    >>> float(omission(truth, coarse, upsampled=coarse, threshold=0.01, temperature=None))
    1.0
    """
    images = (reference, test, upsampled)
    options = Options(dim, mask, weights, skipna, keep_attrs)
    model = (threshold, distance, severity, temperature)
    return _score(images, options, band_dim, model, "omission")


@documented
def hallucination(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    upsampled: xr.DataArray | xr.Dataset,
    threshold: float | None = None,
    distance: str = "nd",
    severity: float = 0.05,
    temperature: float | None = 0.25,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""How much of what was brought in is neither there nor was before.

    See `improvement` for the formula. Between 0 and 1, best 0.

    Parameters
    ----------
    upsampled, threshold, distance, severity, temperature, band_dim
        As in `improvement`.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no pixel counts.

    Raises
    ------
    UsageError
        If `threshold` is missing, an argument cannot be, or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[[0.2, 0.4]]], dims=("band", "y", "x"))
    >>> coarse = xr.full_like(truth, 0.3)
    >>> wild = 3 - 9 * truth
    >>> float(hallucination(truth, wild, upsampled=coarse, threshold=0.01, temperature=None))
    1.0
    """
    images = (reference, test, upsampled)
    options = Options(dim, mask, weights, skipna, keep_attrs)
    model = (threshold, distance, severity, temperature)
    return _score(images, options, band_dim, model, "hallucination")


def _score(
    images: tuple[xr.DataArray | xr.Dataset, ...],
    options: Options,
    band_dim: str,
    model: tuple[float | None, str, float, float | None],
    kind: str,
) -> xr.DataArray:
    """Share of one of the `KINDS`."""
    parameters = dict(zip(("threshold", "distance", "severity", "temperature"), model, strict=True))
    _check(*model)
    both, options = _together(images, options, band_dim)
    axes = {name: both.reference.dims.index(name) for name in (MADE, band_dim)}
    kernel = {**parameters, "made_axis": axes[MADE], "band_axis": axes[band_dim]}
    states = reduce(both, _shares, len(KINDS) + 1, options=kernel)
    number = KINDS.index(kind)

    def of_kind(state: Floats) -> Floats:
        share: Floats = state[..., number] / state[..., -1]
        return share

    facts: dict[str, Any] = {key: value for key, value in parameters.items() if value is not None}
    return finish(
        states, of_kind, both, options, name=kind, long_name=f"{kind} of detail", units="1", **facts
    )


def _together(
    images: tuple[xr.DataArray | xr.Dataset, ...], options: Options, band_dim: str
) -> tuple[Pair, Options]:
    """The reference beside two images in one array, every band and both in one chunk."""
    reference, test, upsampled = images
    _, before, _ = stacked(reference, upsampled, options, band_dim)
    truth, after, options = stacked(reference, test, options, band_dim)
    checked(truth, after, options)
    check_grids(truth, before, "upsampled")
    given = (truth, after, before, options.mask, options.weights)
    lazy = any(isinstance(each, xr.DataArray) and each.chunks is not None for each in given)
    made = xr.concat([chunked(after), chunked(before)], MADE, join="override")
    dims = dict.fromkeys((*resolve(options.dim, truth, after), band_dim, MADE))
    options = replace(options, dim=tuple(dims))
    both = pair(chunked(truth), made, options).rechunk({band_dim: -1, MADE: -1})
    return replace(both, lazy=lazy), options


def _shares(
    reference: Any,  # noqa: ANN401  (arrays of any type)
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    axes: tuple[int, ...],
    skipna: bool,
    made_axis: int,
    band_axis: int,
    threshold: float,
    distance: str,
    severity: float,
    temperature: float | None,
) -> Floats:
    """Sums of what pixels are of each kind, and of their weights."""
    x, y, w = weigh(reference, test, weights, skipna=skipna)
    (truth, _), (after, before) = (np.split(image, 2, made_axis) for image in (x, y))
    pairs = ((before, truth), (after, truth), (after, before))
    far = [_distance(a, b, distance).mean(band_axis, keepdims=True) for a, b in pairs]
    parts = _softmin(_penalties(far, severity), temperature)
    # What cannot be compared (a NaN that is not skipped) counts, and so the score becomes NaN.
    counts = 1.0 - np.all([each <= threshold for each in far], axis=0)
    if w is not None:
        both = (made_axis, band_axis)
        counts = counts * w.mean(both, keepdims=True) * (w > 0).all(both, keepdims=True)
    sums = [np.where(counts > 0, part * counts, 0) for part in parts]
    return np.stack([each.sum(axes, keepdims=True) for each in (*sums, counts)], axis=-1)


def _distance(x: Floats, y: Floats, distance: str) -> Floats:
    """Distance of each band."""
    apart: Floats = np.abs(x - y)
    return apart / np.abs(x + y + TINY) if distance == "nd" else apart


def _penalties(far: list[Floats], severity: float) -> Floats:
    """Penalties of the kinds, from the distances before-truth, after-truth and after-before."""
    needed, left, made = far
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Where nothing was missing, whatever was made is infinitely far from it.
        a, b = (np.where(each == 0, 0, each / needed) for each in (left, made))
        detour = 1 - np.exp(-severity * (a + b - 1))
        between = np.where((a == 0) | (b == 0), 0, a * b)
        return np.stack([a + b * detour, b + a * detour, np.exp(-severity * between)])


def _softmin(penalties: Floats, temperature: float | None) -> Floats:
    """Shares that add up to 1, most for the least penalty; without temperature all for it."""
    least: Floats = penalties.min(0)
    if temperature is None:
        first = penalties.argmin(0) == np.arange(len(penalties)).reshape(-1, *(1,) * least.ndim)
        return np.where(np.isnan(least), np.nan, first)
    shares = np.exp((least - penalties) / temperature)
    whole: Floats = shares / shares.sum(0)
    return whole


def _check(
    threshold: float | None, distance: str, severity: float, temperature: float | None
) -> None:
    if threshold is None or not 0 <= threshold < np.inf:
        message = f"threshold={threshold!r}: give the distance below which pixels are left out."
        raise UsageError(message)
    if distance not in ("nd", "l1"):
        message = f"distance={distance!r}: use 'nd' (normalised) or 'l1'."
        raise UsageError(message)
    for name, value in (("severity", severity), ("temperature", temperature)):
        if value is not None and not 0 < value < np.inf:
            message = f"{name}={value!r}: give a positive number."
            raise UsageError(message)
