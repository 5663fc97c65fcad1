"""FSIM: similarity of features, by phase congruency and gradients.

Phase congruency needs 64 pixels around each of its pixels, and the level of the noise, which is a
median over the whole image. So the images are read up to three times, each time block by block:
for the mean (with which gaps are filled), for histograms of amplitudes (of which comes the
median), and for the score. Each reading waits for the one before it instead of keeping blocks;
memory is bounded by a few of them. The blocks are those of a grid of its own, whatever the chunks
of the images are, which is why single precision does not make the score depend on the chunks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from decametric.errors import UsageError
from decametric.metrics.features import (
    count_block,
    noise_of_state,
    pooled,
    score_block,
    sum_valid,
)
from decametric.metrics.margin import on_grid, states_of, upright, with_margin
from decametric.metrics.pairs import (
    SPATIAL,
    Data,
    Dims,
    Options,
    Pair,
    by_variable,
    check_grids,
    data_range_of,
    documented,
    is_lazy,
    pair,
)
from decametric.metrics.passes import read_again
from decametric.metrics.phase import HIGHEST, LOWEST, ORIENTATIONS, Floats
from decametric.metrics.reduction import (
    STATE,
    check_windows,
    finish,
    label,
    merged,
    reduce,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da

COARSE, FINE, SMALL = 11, 13, 2**18
"""Bits that tell amplitudes apart in large and in small images (pixels): these have few amplitudes
in each bin, and room for more bins."""

NOISE = {"image": 2, "orientation": ORIENTATIONS}
"""Dimensions of thresholds."""

LABELS = {"image": ["reference", "test"], "orientation": [0, 45, 90, 135]}
"""Their labels; orientations in degrees."""


@documented
def fsim(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    data_range: float | str | None = None,
    noise: float | str | xr.DataArray | xr.Dataset = "scene",
) -> Data:
    r"""Feature similarity: whether edges and lines are where they should be, and as strong.

    .. math:: \frac{\sum m \, S_P \, S_G}{\sum m}, \quad
              S_P = \frac{2 P_x P_y + T_1}{P_x^2 + P_y^2 + T_1}, \quad
              S_G = \frac{2 G_x G_y + T_2}{G_x^2 + G_y^2 + T_2}

    with phase congruency P (four scales from 6 pixels, four orientations), gradient magnitudes G
    (Scharr), :math:`m = \max(P_x, P_y)`, :math:`T_1 = 0.85` and :math:`T_2 = 160` for images of 0
    to 255, which these are brought to (Zhang, Zhang, Mou and Zhang 2011,
    doi:10.1109/TIP.2011.2109730). Between 0 and 1, best 1. It tells structure from brightness; an
    image without any features is judged by all of its pixels alike.

    As in the authors' program, and not in their paper, phase congruency is what exceeds the noise
    (Kovesi 1999), the level of which is taken from all of the image. Unlike in the program, the
    image is not made smaller, and the filters are finite (129 pixels): on images of 300 pixels and
    more the score is within 0.0003 of one whole transform with mirrored borders.

    Pixels that do not count are filled with the mean of the reference, and not pooled.

    Parameters
    ----------
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values, L; required, because a wrong one shifts every score.
    noise : {"scene"}, float, xarray.DataArray or xarray.Dataset
        Energy of the noise that phase congruency must exceed, for images of 0 to 255: from the
        images, which reads them once more; or given, so that scores of several dates compare
        (`fsim_noise` tells it); or 0, the equation of the paper.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, without the reduced dimensions; NaN where no pixel is valid. Lazy images are read
        two or three times: write or persist what is costly to make.

    Raises
    ------
    UsageError
        If `data_range` is missing, `noise` is not of these, or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rows, columns = np.mgrid[:64, :64]
    >>> truth = xr.DataArray(np.where(rows > columns, 0.4, 0.1), dims=("y", "x"))
    >>> float(fsim(truth, truth, data_range="reflectance"))
    1.0
    >>> bool(fsim(truth, truth.rolling(y=3, min_periods=1).mean(), data_range=1) < 0.99)
    True
    """
    span = data_range_of(data_range)

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        given = noise[x.name] if isinstance(noise, xr.Dataset) else noise
        both = pair(x, y, each)
        scene = _Scene(replace(both, lazy=both.lazy or is_lazy(given)), span)
        level = scene.noise() if isinstance(given, str) else _spread(given, scene.pair)
        facts: dict[str, Any] = {"name": "fsim", "long_name": "feature similarity", "units": "1"}
        return finish(scene.sums(level), pooled, scene.pair, each, **facts, data_range=span)

    if isinstance(noise, str) and noise != "scene":
        message = f"noise={noise!r}: give 'scene', a number of at least 0, or thresholds."
        raise UsageError(message)
    return by_variable(metric, reference, test, Options(dim, mask, weights, skipna, keep_attrs))


@documented
def fsim_noise(
    reference: Data,
    test: Data,
    dim: Dims = SPATIAL,
    *,
    mask: Data | None = None,
    weights: Data | None = None,
    skipna: bool = True,
    keep_attrs: bool = False,
    data_range: float | str | None = None,
) -> Data:
    """The level of noise that `fsim` takes from two images, to be given to it for others.

    Parameters
    ----------
    data_range : float or {"uint8", "12bit", "reflectance"}
        Span of possible values, as for `fsim`.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        float64, energy on the scale of 0 to 255, over all dimensions but y and x, and over
        ``image`` (reference, test) and ``orientation`` (degrees).

    Raises
    ------
    UsageError
        If `data_range` is missing or the grids differ.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.random.default_rng(0).normal(100, 2, (64, 64))
    >>> truth = xr.DataArray(values, dims=("y", "x"))
    >>> noise = fsim_noise(truth, truth, data_range=255)
    >>> noise.sizes
    Frozen({'image': 2, 'orientation': 4})
    >>> float(fsim(truth, truth + 1, data_range=255, noise=noise))
    1.0
    """
    span = data_range_of(data_range)

    def metric(x: xr.DataArray, y: xr.DataArray, each: Options) -> xr.DataArray:
        scene = _Scene(pair(x, y, each), span)
        facts = {"name": "fsim_noise", "long_name": "energy of the noise", "units": "1"}
        found = scene.noise().assign_coords(LABELS)
        return label(found, scene.pair, each, **facts, data_range=span)

    return by_variable(metric, reference, test, Options(dim, mask, weights, skipna, keep_attrs))


class _Scene:
    """A pair on the grid of this metric, and what is found about it, pass by pass.

    Parameters
    ----------
    both : Pair
        In any chunks.
    span : float
        Data range.
    """

    def __init__(self, both: Pair, span: float) -> None:
        check_windows(both)
        self.pair = upright(both)
        self.options = {"span": span, "skipna": both.skipna}
        self.images = replace(self.pair, dim=SPATIAL)
        """The same, with every band and time an image of its own."""
        self.mean = reduce(on_grid(self.images), sum_valid, 2).data
        """Sum and number of the valid pixels of the reference, for every image."""

    def noise(self) -> xr.DataArray:
        """Energy of the noise, over the dimensions but y and x, and `NOISE`."""
        pixels = np.prod(self.pair.reference.shape[-2:])
        steps = FINE if pixels < SMALL else COARSE
        size = 2 * ORIENTATIONS * ((HIGHEST - LOWEST) << steps)
        counts = self._states(count_block, size, self.mean, steps=steps)
        found: xr.DataArray = xr.apply_ufunc(
            noise_of_state,
            merged(counts, self.images),
            input_core_dims=[[STATE]],
            output_core_dims=[list(NOISE)],
            dask="parallelized",
            output_dtypes=[np.float64],
            dask_gufunc_kwargs={"output_sizes": NOISE},
        )
        return found

    def sums(self, noise: xr.DataArray) -> xr.DataArray:
        """Sums of which the score is made."""
        return merged(self._states(score_block, 4, self.mean, noise.data), self.pair)

    def _states(
        self,
        kernel: Callable[..., Floats],
        size: int,
        *facts: da.Array,
        **options: Any,  # noqa: ANN401  (of the kernel)
    ) -> da.Array:
        """States of blocks; the images are read again, as soon as the facts are known."""
        images = [None if array is None else with_margin(array) for array in self.pair.arrays]
        return states_of(
            read_again(images, facts), kernel, size, facts=facts, **self.options, **options
        )


def _spread(noise: Any, both: Pair) -> xr.DataArray:  # noqa: ANN401  (a number or an array)
    """Given thresholds for all images: the other dimensions, image and orientation.

    Raises
    ------
    UsageError
        If they have a dimension, a length or labels that the images have not.
    """
    given = noise if isinstance(noise, xr.DataArray) else xr.DataArray(np.asarray(noise, float))
    others = {name: size for name, size in both.reference.sizes.items() if name not in SPATIAL}
    sizes = others | NOISE
    if any(sizes.get(name) != size for name, size in given.sizes.items()):
        message = f"noise has dimensions {dict(given.sizes)}; it may have {sizes} or none."
        raise UsageError(message)
    labels = both.reference.isel(dict.fromkeys(SPATIAL, 0), drop=True).expand_dims(LABELS)
    check_grids(labels.assign_coords(LABELS), given, "noise")
    missing = {name: size for name, size in sizes.items() if name not in given.dims}
    spread = given.drop_vars(given.coords).expand_dims(missing).transpose(*sizes)
    return spread.chunk(dict.fromkeys(others, 1) | dict.fromkeys(NOISE, -1))
