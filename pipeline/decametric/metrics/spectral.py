"""Metrics of whole spectra: what the bands of a pixel say together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import UsageError
from decametric.metrics.blocks import in_blocks
from decametric.metrics.hypercomplex import quality_of_blocks
from decametric.metrics.pairs import SPATIAL, Dims, Options, documented, pair, resolve, stacked
from decametric.metrics.reduction import Floats, finish, reduce, weigh
from decametric.metrics.sliding import share

if TYPE_CHECKING:
    import xarray as xr

    from decametric.metrics.pairs import Pair


@documented
def sam(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Spectral angle: whether the colours are right, whatever the brightness.

    .. math:: \frac{1}{n} \sum \arccos \frac{x \cdot y}{\|x\| \|y\|}

    the mean over pixels of the angle between the spectra x and y (Yuhas, Goetz and Boardman 1992,
    "Discrimination among semi-arid landscape endmembers using the spectral angle mapper
    algorithm"). In degrees, 0 to 180, best 0. An offset that was not removed flatters it: use
    reflectance. A pixel counts where all bands do and neither spectrum is zero.

    Parameters
    ----------
    band_dim : str
        Dimension of the bands, which is reduced too.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no pixel is valid.

    Raises
    ------
    UsageError
        If there is no band dimension or the grids differ.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[[1.0]], [[0.0]]], dims=("band", "y", "x"))
    >>> float(sam(truth, truth + 1).round(9))
    26.565051177
    """
    both, options = _spectra(
        reference, test, Options(dim, mask, weights, skipna, keep_attrs), band_dim
    )
    band_axis = both.reference.dims.index(band_dim)
    states = reduce(both, _angles, 2, options={"band_axis": band_axis})
    facts: dict[str, Any] = {"name": "sam", "long_name": "spectral angle", "units": "degree"}
    return finish(states, share, both, options, **facts)


@documented
def q2n(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    dim: Dims = SPATIAL,
    *,
    mask: xr.DataArray | xr.Dataset | None = None,
    weights: xr.DataArray | xr.Dataset | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    block: int = 32,
    pad: str | None = None,
    normalise: bool = True,
    min_valid: float = 1.0,
    band_dim: str = "band",
) -> xr.DataArray:
    r"""Q4, Q8, Q2n: the universal quality index of all bands together.

    .. math:: \frac{1}{n} \sum
              \frac{2 |\sigma_{xy}|}{\sigma_x^2 + \sigma_y^2} \cdot
              \frac{2 |\bar x| |\bar y|}{|\bar x|^2 + |\bar y|^2}

    over blocks side by side, where x and y are hypercomplex numbers with a component for each
    band, so that errors of contrast, brightness and colour all tell (Alparone, Baronti, Garzelli
    and Nencini 2004, doi:10.1109/LGRS.2004.836784, for four bands; Garzelli and Nencini 2009,
    doi:10.1109/LGRS.2009.2022650, for any number). Between 0 and 1, best 1.

    Parameters
    ----------
    block : int
        Edge of the blocks in pixels.
    pad : {None, "symmetric"}
        Leave the incomplete blocks at the far edges out, or complete them by mirroring the image,
        as toolboxes do, which makes samples up.
    normalise : bool
        Bring each band of each block to mean 1 and variance 1 by the numbers of the reference, as
        toolboxes do, so that all bands weigh alike. A band that is constant in the block of the
        reference is divided by its mean.
    min_valid : float
        Keep a block, with moments of its valid pixels, if this share of them is valid; 1, all of
        them, is free of bias. Lower it for scenes full of small gaps. A pixel is valid where all
        its bands are.
    band_dim : str
        Dimension of the bands, which is reduced too. Their order matters little, but it does.

    Returns
    -------
    xarray.DataArray
        float64, without the reduced dimensions and the band; NaN where no block is valid, as in
        an image smaller than a block.

    Raises
    ------
    UsageError
        If an argument cannot be, there is no band dimension, or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(0).random((3, 64, 64))
    >>> truth = xr.DataArray(values, dims=("band", "y", "x"))
    >>> float(q2n(truth, 2 * truth, normalise=False).round(9))
    0.64
    """
    _check_blocks(block, pad, min_valid)
    both, options = _spectra(
        reference, test, Options(dim, mask, weights, skipna, keep_attrs), band_dim
    )
    blocks = in_blocks(both, int(block), pad=pad is not None, first=(band_dim,))
    kernel = {"normalise": normalise, "min_valid": min_valid}
    states = reduce(blocks, quality_of_blocks, 2, options=kernel)
    facts: dict[str, Any] = {"name": "q2n", "long_name": "hypercomplex quality index", "units": "1"}
    return finish(states, share, blocks, options, **facts, block=int(block))


def _spectra(
    reference: xr.DataArray | xr.Dataset,
    test: xr.DataArray | xr.Dataset,
    options: Options,
    band_dim: str,
) -> tuple[Pair, Options]:
    """A pair whose bands are reduced and lie in one chunk."""
    x, y, options = stacked(reference, test, options, band_dim)
    dims = dict.fromkeys((*resolve(options.dim, x, y), band_dim))
    options = replace(options, dim=tuple(dims))
    return pair(x, y, options).rechunk({band_dim: -1}), options


def _angles(
    reference: Any,  # noqa: ANN401  (arrays of any type)
    test: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    axes: tuple[int, ...],
    skipna: bool,
    band_axis: int,
) -> Floats:
    """Sum of the angles of pixels in degrees, and of their weights."""
    x, y, w = weigh(reference, test, weights, skipna=skipna)
    x_unit, y_unit = _units(x, band_axis), _units(y, band_axis)
    # The arc cosine loses all digits of small angles; half the angle has a good tangent.
    apart, along = _norm(x_unit - y_unit, band_axis), _norm(x_unit + y_unit, band_axis)
    angle = np.rad2deg(2 * np.arctan2(apart, along))
    # A spectrum with NaN (not skipped) has no norm of 0: it counts, and so the score becomes NaN.
    counts = np.where((_norm(x, band_axis) == 0) | (_norm(y, band_axis) == 0), 0.0, 1.0)
    if w is not None:
        counts = counts * w.mean(band_axis, keepdims=True) * (w > 0).all(band_axis, keepdims=True)
    values = np.where(counts > 0, angle * counts, 0)
    return np.stack([values.sum(axes, keepdims=True), counts.sum(axes, keepdims=True)], axis=-1)


def _units(spectra: Floats, axis: int) -> Floats:
    """Spectra of length 1; those of length 0 stay."""
    norm = _norm(spectra, axis)
    return np.divide(spectra, norm, out=np.zeros_like(spectra), where=norm != 0)


def _norm(spectra: Floats, axis: int) -> Floats:
    squares: Floats = (spectra * spectra).sum(axis, keepdims=True)
    return np.sqrt(squares)


def _check_blocks(block: int, pad: str | None, min_valid: float) -> None:
    if block != int(block) or block < 2:  # noqa: PLR2004
        message = f"block={block}: give the edge of the blocks, 2 pixels or more."
        raise UsageError(message)
    if pad not in (None, "symmetric"):
        message = f"pad={pad!r}: use None (full blocks only) or 'symmetric'."
        raise UsageError(message)
    if not 0 <= min_valid <= 1:
        message = f"min_valid={min_valid}: give a share of the pixels of a block, 0 to 1."
        raise UsageError(message)
