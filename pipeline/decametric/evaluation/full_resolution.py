"""What can be said of a result at 10 m, where there is no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from decametric.bands import BANDS, BANDS_10M, group
from decametric.degradation import degrade_image
from decametric.evaluation.tables import REFLECTANCE, by_band, join, stack, valid_in_all
from decametric.metrics import (
    consistency_bias,
    consistency_rmse,
    d_lambda,
    d_rho,
    d_s,
    khan_d_lambda,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_EACH = (consistency_rmse, consistency_bias)
"""Of each band: what it becomes when it is degraded again, against what was measured."""

OF_SPECTRUM = (d_lambda, khan_d_lambda)
"""Of all bands together."""

QUALITIES = {
    "qnr": ("d_lambda", "quality with no reference"),
    "hqnr": ("khan_d_lambda", "hybrid quality with no reference"),
}
"""Products (1 - spectral distortion) (1 - D_s), as `decametric.metrics.qnr` and `hqnr` are; made
here of what is there already, for their graphs are large."""

DIMS = ("time", "y", "x")


def full_resolution_scores(
    scene: xr.DataTree, images: Mapping[str, xr.DataArray], ratio: int
) -> xr.Dataset:
    """Indices without reference of the bands of one ratio.

    Parameters
    ----------
    scene : xarray.DataTree
        What was sharpened.
    images : mapping of str to DataArray
        What every predictor made of it: (band, time, y, x) at 10 m.
    ratio : {2, 6}
        Which bands.

    Returns
    -------
    xarray.Dataset
        Lazy, over (predictor, band) with the labels of `decametric.assess`; only pixels count
        that every predictor made. Indices of the whole spectrum need at least two bands, those with
        a guide a 10 m band.
    """
    some = next(iter(images.values()))
    bands = [band for band in some["band"].values if BANDS[band].resolution == 10 * ratio]
    measured = stack(scene[group(10 * ratio)].to_dataset(), bands)
    guides = _guides(scene)
    valid = valid_in_all(images.values(), bands)
    found = {}
    for name, image in images.items():
        if made := [band for band in bands if band in image["band"]]:
            fine = image.sel(band=made).where(valid.sel(band=made))
            numbers = _scores(measured.sel(band=made), fine, guides, ratio)
            found[name] = by_band(numbers, complete=made == bands)
    return join(found, "predictor", list(images))


def _scores(
    measured: xr.DataArray, fine: xr.DataArray, guides: xr.DataArray | None, ratio: int
) -> xr.Dataset:
    """All indices of what one predictor made."""
    found = {each.__name__: each(measured, fine, DIMS, ratio=ratio) for each in OF_EACH}
    found = {name: value.assign_attrs(units=REFLECTANCE) for name, value in found.items()}
    several = measured.sizes["band"] > 1
    if several:
        found |= {each.__name__: each(measured, fine, DIMS, ratio=ratio) for each in OF_SPECTRUM}
    if guides is not None:
        # Its authors take, for each band, the guide that it follows best.
        found["d_rho"] = d_rho(guides, fine, DIMS, window=ratio).min("guide", keep_attrs=True)
    if several and guides is not None:
        # For all bands together, the mean of the 10 m bands stands for a panchromatic one.
        guide = guides.mean("guide", skipna=False)
        low = degrade_image(guide, ratio)
        found["d_s"] = d_s(measured, fine, DIMS, guide=guide, guide_low=low, ratio=ratio)
        for name, (spectral, title) in QUALITIES.items():
            quality = (1 - found[spectral]) * (1 - found["d_s"])
            found[name] = quality.drop_attrs().assign_attrs(long_name=title, units="1")
    return xr.Dataset(found)


def _guides(scene: xr.DataTree) -> xr.DataArray | None:
    """The 10 m bands (guide, time, y, x), if there are any."""
    fine = scene[group(10)].to_dataset() if group(10) in scene.children else xr.Dataset()
    bands = [band for band in BANDS_10M if band in fine]
    return stack(fine, bands).rename(band="guide") if bands else None
