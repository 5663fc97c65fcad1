"""Wald's protocol on a scene: every band becomes coarser by one ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from decametric.bands import BANDS, RESOLUTIONS, group
from decametric.degradation.images import degrade_array, operator_of
from decametric.errors import UsageError
from decametric.grid import NEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc.geo.geobox import GeoBox

    from decametric.degradation.operators import Operator


def degrade(
    scene: xr.DataTree,
    ratio: int,
    operator: str = "dsen2",
    *,
    nyquist: float | Mapping[str, float] | None = None,
) -> xr.DataTree:
    """Degrade a scene as Wald's protocol asks: every band becomes `ratio` times coarser, lazily.

    Sharpening the result and comparing it with the scene's own 20 m (ratio 2) or 60 m (ratio 6)
    bands scores a predictor without ground truth.

    Parameters
    ----------
    scene : xarray.DataTree
        Children ``r10m``, ``r20m``, ``r60m``; variables over (time, y, x); reflectance, float32.
    ratio : {2, 6}
        Factor by which every grid becomes coarser.
    operator : {"dsen2", "mtf", "mean"}
        The forward model, as in `decametric.degradation.degrade_image`: what the networks were
        trained with, the blur of each band's own sensor, or the plain mean of blocks.
    nyquist : float or dict of str to float, optional
        Modulation transfer for ``"mtf"``, for all bands or by band; by default that of
        Sentinel-2.

    Returns
    -------
    xarray.DataTree
        The same children with pixels of ``10 * ratio``, ``20 * ratio`` and ``60 * ratio`` metres.
        Rows and columns at the far edges that fill no whole coarse pixel are left out; a pixel is
        NaN where less than half of its weight was valid. Classification layers are left out.

    Raises
    ------
    UsageError
        If `ratio` is not 2 or 6, the operator is unknown, or the scene is smaller than one coarse
        pixel.
    """
    if ratio not in (2, 6):
        message = (
            f"ratio={ratio} is not a ratio of Sentinel-2; use 2 (20 m to 10 m) or 6 (60 m to 10 m)."
        )
        raise UsageError(message)
    children = {}
    for resolution in RESOLUTIONS:
        name = group(resolution)
        if name in scene.children:
            child = scene[name].to_dataset()
            operators = {
                band: operator_of(operator, ratio, band, nyquist)
                for band in map(str, child.data_vars)
                if band in BANDS
            }
            children[name] = _degrade_child(child, operators, ratio, resolution)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(scene.attrs)), **children})


def _degrade_child(
    child: xr.Dataset, operators: Mapping[str, Operator], ratio: int, resolution: int
) -> xr.Dataset:
    """One resolution of a scene, degraded."""
    from odc.geo.xr import xr_coords

    whole = NEST // (resolution // 10) * ratio
    rows, cols = (child.sizes[axis] // whole * whole for axis in ("y", "x"))
    if not rows or not cols:
        message = f"The scene is too small to be degraded by {ratio}: {dict(child.sizes)}."
        raise UsageError(message)
    box: GeoBox = child.odc.geobox[:rows, :cols].zoom_out(ratio)
    coords = {"time": child.time, **xr_coords(box)}
    data = {
        name: (
            child[name].dims,
            degrade_array(child[name].data[:, :rows, :cols], operator, whole),
        )
        for name, operator in operators.items()
    }
    return type(child)(data, coords=coords)
