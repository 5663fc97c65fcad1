"""The forward model of Wald's protocol: what a coarser sensor would have measured.

Gaussian blur with sigma = 1/ratio pixels of the fine grid, then the mean of ratio x ratio blocks
(Wald, Ranchin, Mangolini 1997; the blur as in Lanaras et al. 2018,
doi:10.1016/j.isprsjprs.2018.09.018).
Training, assessment and the consistency step all stand on this one operator.

All array functions work on the last two axes (y, x), mirror at the array's edges about the raster
edge (SciPy's ``reflect``, NumPy's ``symmetric``), and keep float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import correlate1d

from decametric.bands import BANDS, RESOLUTIONS, group
from decametric.errors import UsageError
from decametric.grid import NEST, round_up

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    Array = NDArray[np.float32]

NEGLIGIBLE = 1e-6
"""Blur weights below this are dropped; for ratio 6 that leaves the plain block mean."""

MIN_WEIGHT = 0.5
"""A degraded pixel is valid where at least this share of its weight fell on valid pixels."""


@dataclass(frozen=True)
class Degradation:
    """Blur and block mean between two grids, its adjoint, and the inverse that projection needs."""

    ratio: int
    """Coarse pixel size over fine pixel size: 2 or 6."""

    @cached_property
    def kernel(self) -> NDArray[np.float64]:
        """One-dimensional blur weights, odd length, sum 1."""
        sigma = 1 / self.ratio
        offsets = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        weights = np.exp(-0.5 * (offsets / sigma) ** 2)
        weights /= weights.sum()
        weights = weights[weights > NEGLIGIBLE]
        normalised: NDArray[np.float64] = weights / weights.sum()
        return normalised

    @property
    def radius(self) -> int:
        """Reach of the blur in fine pixels."""
        return len(self.kernel) // 2

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """Short filter on the coarse grid that inverts ``D D^T`` along one axis.

        ``D D^T`` is a small symmetric Toeplitz filter; the Fourier coefficients of the inverse of
        its symbol fall off geometrically (0.12 per pixel for ratio 2), so nine taps leave a
        relative error of about 1e-4.
        """
        taps = np.convolve(self.kernel, np.full(self.ratio, 1 / self.ratio))
        autocorrelation = np.correlate(taps, taps, "full")[
            (len(taps) - 1) % self.ratio :: self.ratio
        ]
        size = 256
        row = np.zeros(size)
        reach = len(autocorrelation) // 2
        row[np.arange(-reach, reach + 1)] = autocorrelation
        coefficients = np.fft.ifft(1 / np.fft.fft(row).real).real
        taps_kept = 4 if self.radius else 0
        return coefficients[np.arange(-taps_kept, taps_kept + 1)]

    @property
    def projection_support(self) -> int:
        """Fine pixels on each side that one projection step reads."""
        spread = -(-self.radius // self.ratio)
        return self.ratio * (2 * spread + len(self.inverse) // 2)

    def forward(self, fine: Array) -> Array:
        """Degrade: (..., y, x) -> (..., y / ratio, x / ratio)."""
        return _block_mean(_separable(fine, self.kernel), self.ratio)

    def weighted(self, fine: Array, valid: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Degrade with masked pixels carrying no weight.

        Parameters
        ----------
        fine : float32 array (..., y, x)
            Any values, NaN allowed, where `valid` is False.
        valid : bool array of the same shape

        Returns
        -------
        value, weight : float32 arrays (..., y / ratio, x / ratio)
            The mean over the valid weight (0 where there is none), and that weight, 0 to 1.
        """
        weight = self.forward(valid.astype(np.float32))
        total = self.forward(np.where(valid, fine, np.float32(0)))
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > NEGLIGIBLE), weight

    def adjoint(self, coarse: Array) -> Array:
        """Transpose of `forward`: (..., y, x) -> (..., y * ratio, x * ratio)."""
        spread = np.repeat(np.repeat(coarse, self.ratio, axis=-2), self.ratio, axis=-1)
        return _separable(spread, self.kernel / self.ratio)

    def solve(self, coarse: Array) -> Array:
        """Apply ``(D D^T)^-1`` to an array on the coarse grid."""
        return _separable(coarse, self.inverse)


def _separable(array: Array, weights: NDArray[np.float64]) -> Array:
    """Correlate the last two axes with one symmetric kernel, mirrored at the edges."""
    if len(weights) == 1:
        return array * np.float32(weights[0] ** 2)
    rows: Array = correlate1d(array, weights, axis=-2, mode="reflect")
    both: Array = correlate1d(rows, weights, axis=-1, mode="reflect")
    return both


def _block_mean(array: Array, ratio: int) -> Array:
    """Mean of ratio x ratio blocks over the last two axes."""
    # Added up in a fixed order: `mean` over two axes rounds differently for other array shapes,
    # and the result would depend on the chunks in its last bit.
    rows = [array[..., start::ratio, :] for start in range(ratio)]
    strips = sum(rows[1:], rows[0])
    cells = [strips[..., start::ratio] for start in range(ratio)]
    means: Array = sum(cells[1:], cells[0]) / np.float32(ratio**2)
    return means


def degrade(scene: xr.DataTree, ratio: int) -> xr.DataTree:
    """Degrade a scene as Wald's protocol asks: every band becomes `ratio` times coarser, lazily.

    Sharpening the result and comparing it with the scene's own 20 m (ratio 2) or 60 m (ratio 6)
    bands scores a predictor without ground truth.

    Parameters
    ----------
    scene : xarray.DataTree
        Children ``r10m``, ``r20m``, ``r60m``; variables over (time, y, x); reflectance, float32.
    ratio : {2, 6}
        Factor by which every grid becomes coarser.

    Returns
    -------
    xarray.DataTree
        The same children with pixels of ``10 * ratio``, ``20 * ratio`` and ``60 * ratio`` metres.
        Rows and columns at the far edges that fill no whole coarse pixel are left out; a pixel is
        NaN where less than half of its weight was valid. Classification layers are left out.

    Raises
    ------
    UsageError
        If `ratio` is not 2 or 6, or the scene is smaller than one coarse pixel.
    """
    import xarray as xr

    if ratio not in (2, 6):
        message = (
            f"ratio={ratio} is not a ratio of Sentinel-2; use 2 (20 m to 10 m) or 6 (60 m to 10 m)."
        )
        raise UsageError(message)
    operator = Degradation(ratio)
    children = {}
    for resolution in RESOLUTIONS:
        name = group(resolution)
        if name in scene.children:
            children[name] = _degrade_child(scene[name].to_dataset(), operator, resolution)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(scene.attrs)), **children})


def _degrade_child(child: xr.Dataset, operator: Degradation, resolution: int) -> xr.Dataset:
    """One resolution of a scene, degraded."""
    from odc.geo.xr import xr_coords

    ratio = operator.ratio
    whole = NEST // (resolution // 10) * ratio
    rows, cols = (child.sizes[axis] // whole * whole for axis in ("y", "x"))
    if not rows or not cols:
        message = f"The scene is too small to be degraded by {ratio}: {dict(child.sizes)}."
        raise UsageError(message)
    box: GeoBox = child.odc.geobox[:rows, :cols].zoom_out(ratio)
    coords = {"time": child.time, **xr_coords(box)}
    bands = [name for name in child.data_vars if name in BANDS]
    data = {
        name: (
            child[name].dims,
            _degrade_lazily(child[name].data[:, :rows, :cols], operator, whole),
        )
        for name in bands
    }
    return type(child)(data, coords=coords)


def _degrade_lazily(array: Any, operator: Degradation, whole: int) -> Any:  # noqa: ANN401
    """Degrade a (time, y, x) array; Dask in, Dask out, the same numbers for every chunking."""
    import dask.array as da

    if not isinstance(array, da.Array):
        return _degrade_block(np.asarray(array), operator, 0)
    ratio = operator.ratio
    depth = round_up(operator.radius, ratio)
    edge = [round_up(max(chunks), whole) for chunks in array.chunks[1:]]
    array = array.rechunk((1, *edge))
    coarse = [tuple(c // ratio for c in chunks) for chunks in array.chunks[1:]]
    return da.map_overlap(
        _degrade_block,
        array,
        operator=operator,
        halo=depth,
        depth={1: depth, 2: depth},
        boundary="reflect",
        trim=False,
        allow_rechunk=False,
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
        chunks=(array.chunks[0], *coarse),
    )


def _degrade_block(block: Array, operator: Degradation, halo: int) -> Array:
    """Degrade one block that carries `halo` fine pixels on each side."""
    valid = np.isfinite(block)
    if valid.all():
        result = operator.forward(block)
    else:
        value, weight = operator.weighted(block, valid)
        result = np.where(weight >= MIN_WEIGHT, value, np.float32(np.nan))
    cut = halo // operator.ratio
    return result[..., cut : result.shape[-2] - cut, cut : result.shape[-1] - cut]
