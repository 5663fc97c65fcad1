"""Forward models applied to images: lazily, masked, the same numbers for every chunking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import dask.array as da
import numpy as np
import xarray as xr

from decametric.bands import band_name
from decametric.degradation.operators import (
    MIN_WEIGHT,
    BlockMean,
    Degradation,
    Operator,
    Sensor,
)
from decametric.errors import UsageError
from decametric.grid import block_edges, round_up

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray

Image = TypeVar("Image", xr.DataArray, xr.Dataset)

MTF = {
    "B01": 0.3175,
    "B02": 0.275,
    "B03": 0.28,
    "B04": 0.25,
    "B05": 0.365,
    "B06": 0.33,
    "B07": 0.34,
    "B08": 0.24,
    "B8A": 0.32,
    "B09": 0.295,
    "B10": 0.30,
    "B11": 0.205,
    "B12": 0.235,
}
"""Modulation transfer of each band at the Nyquist frequency of its own grid.

The values that Ciotola et al. use in their comparison of Sentinel-2 sharpening (2025). ESA's
monthly data quality reports publish measurements for each satellite; give them by `nyquist`.
"""

OPERATORS = ("dsen2", "mtf", "mean")
"""Names of the forward models."""


def degrade_image(
    image: Image,
    ratio: int,
    operator: str = "dsen2",
    *,
    nyquist: float | Mapping[str, float] | None = None,
    band_dim: str = "band",
) -> Image:
    """Make an image `ratio` times coarser, as a coarser sensor would have seen it.

    What a sharpened image must be put through before it is compared with what was measured:
    ``rmse(measured, degrade_image(sharpened, 2, "mtf"))``, and `ergas`, `sam` or `q2n` alike.

    Parameters
    ----------
    image : xarray.DataArray or xarray.Dataset
        Over y, x and any other dimensions; NaN = no data; NumPy or Dask. Integers become float64.
    ratio : int
        Coarse pixel size over fine pixel size; it divides both sizes.
    operator : {"dsen2", "mtf", "mean"}
        Gaussian of sigma 1/ratio and block mean (Lanaras et al. 2018); Gaussian of each band's
        own modulation transfer, sampled at the middle of each coarse pixel; or block mean alone.
    nyquist : float or dict of str to float, optional
        For ``"mtf"``: the modulation transfer at the Nyquist frequency of the coarse grid, for
        all bands or by band. The default are the values `MTF` of Sentinel-2, found by the names
        of the variables, by the labels along `band_dim`, or by the name of the array.
    band_dim : str
        Dimension of the bands.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        The same dimensions; coordinates of the middle of each coarse pixel; lazy if the image is.
        A pixel is NaN where less than half of its weight was valid.

    Raises
    ------
    UsageError
        If the ratio or operator is unknown, a size is no multiple of the ratio, or the modulation
        transfer of a band is not known.

    Examples
    --------
    >>> import xarray as xr
    >>> fine = xr.DataArray([[1.0, 2.0], [3.0, 6.0]], {"x": [5.0, 15.0]}, dims=("y", "x"))
    >>> coarse = degrade_image(fine, 2, "mean")
    >>> coarse.item(), coarse.x.item()
    (3.0, 10.0)
    """
    if isinstance(image, xr.Dataset):
        bands = {
            name: degrade_image(
                image[name].rename(name), ratio, operator, nyquist=nyquist, band_dim=band_dim
            )
            for name in image.data_vars
        }
        return xr.Dataset(bands, attrs=image.attrs)
    _check_sizes(image, ratio)
    ordered = image.transpose(..., "y", "x")
    if band_dim not in image.dims or operator != "mtf":
        known = operator_of(operator, ratio, image.name, nyquist)
        data = degrade_array(ordered.data, known, ratio)
    else:
        data = _band_by_band(ordered, ratio, nyquist, band_dim)
    coarse = xr.DataArray(
        data, coarse_coords(image, ratio), ordered.dims, image.name, dict(image.attrs)
    )
    return coarse.transpose(*image.dims)


def operator_of(
    name: str, ratio: int, band: Hashable, nyquist: float | Mapping[str, float] | None = None
) -> Operator:
    """The forward model of one band.

    Raises
    ------
    UsageError
        If there is none of this name, or the modulation transfer of the band is not known.
    """
    if name == "dsen2":
        return Degradation(ratio)
    if name == "mean":
        return BlockMean(ratio)
    if name == "mtf":
        return Sensor(ratio, nyquist_of(band, nyquist))
    message = f"operator={name!r} is not known; use one of {', '.join(OPERATORS)}."
    raise UsageError(message)


def nyquist_of(band: Hashable, given: float | Mapping[str, float] | None = None) -> float:
    """Modulation transfer of a band at the Nyquist frequency of its own grid.

    Raises
    ------
    UsageError
        If it is neither given nor known, or not between 0 and 1.
    """
    value = given if given is None or isinstance(given, (int, float)) else given.get(str(band))
    if value is None:
        try:
            value = MTF[band_name(str(band))]
        except UsageError as error:
            message = (
                f"The modulation transfer of band {band!r} is not known; give it by nyquist=, "
                "or name the bands as Sentinel-2 does."
            )
            raise UsageError(message) from error
    if not 0 < value < 1:
        message = f"nyquist={value!r}: a modulation transfer lies between 0 and 1."
        raise UsageError(message)
    return float(value)


def degrade_array(array: Any, operator: Operator, multiple: int) -> Any:  # noqa: ANN401
    """Degrade the last two axes; Dask in, Dask out, the same numbers for every chunking.

    Parameters
    ----------
    array : NumPy or Dask array (..., y, x)
    operator : Operator
    multiple : int
        Fine pixels that a block's edges are multiples of; a multiple of the ratio.
    """
    if not isinstance(array, da.Array):
        return _degrade_block(np.asarray(array), operator, 0, (1, 1), (0, 0))
    # The block at the edge of the raster mirrors about it by itself; all others get a halo.
    halo = round_up(operator.radius, operator.ratio)
    step = round_up(max(halo, 1), multiple)
    edges = [
        block_edges(size, step, max(chunks))
        for size, chunks in zip(array.shape[-2:], array.chunks[-2:], strict=True)
    ]
    blocks = array.rechunk((*array.chunks[:-2], *edges))
    count = (len(edges[0]), len(edges[1]))
    depth = {array.ndim - 2 + axis: halo if count[axis] > 1 else 0 for axis in (0, 1)}
    dtype = _floating(array.dtype)
    return da.map_blocks(
        _degrade_numbered,
        da.overlap.overlap(blocks, depth=depth, boundary="none", allow_rechunk=False),
        operator=operator,
        halo=halo,
        count=count,
        dtype=dtype,
        meta=np.empty((0,) * array.ndim, dtype),
        chunks=(*array.chunks[:-2], *(tuple(e // operator.ratio for e in part) for part in edges)),
    )


def _degrade_numbered(
    block: NDArray[Any],
    operator: Operator,
    halo: int,
    count: tuple[int, int],
    block_id: tuple[int, ...],
) -> NDArray[Any]:
    """Degrade a block of a Dask array, which tells its place."""
    return _degrade_block(block, operator, halo, count, (block_id[-2], block_id[-1]))


def _degrade_block(
    block: NDArray[Any],
    operator: Operator,
    halo: int,
    count: tuple[int, int],
    place: tuple[int, int],
) -> NDArray[Any]:
    """Degrade one of `count` blocks, which carries `halo` fine pixels towards its neighbours."""
    fine = block.astype(_floating(block.dtype), copy=False)
    valid = np.isfinite(fine)
    if valid.all():
        result = operator.forward(fine)
    else:
        value, weight = operator.weighted(fine, valid)
        result = np.where(weight >= MIN_WEIGHT, value, np.float32(np.nan))
    cut = halo // operator.ratio
    rows, cols = (
        slice(cut if at else 0, length - (cut if at + 1 < number else 0))
        for at, number, length in zip(place, count, result.shape[-2:], strict=True)
    )
    inner: NDArray[Any] = result[..., rows, cols]
    return inner


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which an image is degraded: its own, double precision for integers."""
    return np.promote_types(dtype, np.float32 if dtype.kind == "f" else np.float64)


def _band_by_band(
    image: xr.DataArray, ratio: int, nyquist: float | Mapping[str, float] | None, band_dim: str
) -> Any:  # noqa: ANN401
    """Each band after the blur of its own."""
    axis = image.get_axis_num(band_dim)
    labels = image[band_dim].values.tolist()
    parts = [
        degrade_array(
            image.isel({band_dim: [number]}).data,
            operator_of("mtf", ratio, labels[number], nyquist),
            ratio,
        )
        for number in range(image.sizes[band_dim])
    ]
    return da.concatenate(parts, axis) if image.chunks else np.concatenate(parts, axis)


def _check_sizes(image: xr.DataArray, ratio: int) -> None:
    if not ratio >= 1 or ratio % 1:
        message = f"ratio={ratio!r}: give coarse pixel size over fine pixel size, a whole number."
        raise UsageError(message)
    for dim in ("y", "x"):
        if dim not in image.dims:
            message = f"The image has no dimension {dim!r}, only {image.dims}; rename its axes."
            raise UsageError(message)
        if not image.sizes[dim] or image.sizes[dim] % ratio:
            message = (
                f"The image has {image.sizes[dim]} pixels along {dim!r}, no multiple of "
                f"ratio={ratio}; cut it to whole coarse pixels first."
            )
            raise UsageError(message)


def coarse_coords(image: xr.DataArray, ratio: int) -> dict[Hashable, Any]:
    """Coordinates of the coarse grid: the middle of each pixel; others that have no y or x."""
    coords: dict[Hashable, Any] = {}
    for name, coord in image.coords.items():
        if not {"y", "x"} & set(coord.dims):
            # The transform that GDAL's tools write into an attribute is that of the fine grid.
            coords[name] = coord.copy(deep=False)
            coords[name].attrs.pop("GeoTransform", None)
        elif coord.dims == (name,):
            values = np.asarray(coord)
            middle = (values[(ratio - 1) // 2 :: ratio] + values[ratio // 2 :: ratio]) / 2
            coords[name] = (name, middle, coord.attrs)
    return coords
