"""Which pixels of a series can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decametric.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

CLEAR = (4, 5, 6, 7, 11)
"""Classes of ESA's scene classification that show the ground: vegetation, bare, water,
unclassified, snow. The others: 0 no data, 1 saturated, 2 dark, 3 cloud shadow, 8 and 9 clouds,
10 cirrus."""


def valid(dataset: xr.Dataset, scl: Iterable[int] = CLEAR) -> xr.DataArray:
    """Mask of the pixels whose scene classification is among `scl`.

    Parameters
    ----------
    dataset : xarray.Dataset
        With the variable ``SCL``, as `sharpen` returns it or `xarray.open_zarr` opens it.
    scl : iterable of int
        Classes to keep. Default: those that show the ground.

    Returns
    -------
    xarray.DataArray
        True where a pixel is of such a class; lazy if ``SCL`` is. ``dataset.where(valid(dataset))``
        masks all bands.

    Raises
    ------
    UsageError
        If the dataset has no classification, as scenes of level L1C.

    Examples
    --------
    >>> import xarray as xr
    >>> valid(xr.Dataset({"SCL": ("x", [0, 4, 8, 11])})).values.tolist()
    [False, True, False, True]
    """
    if "SCL" not in dataset:
        message = (
            "The dataset has no SCL; name it among the bands of a scene of level L2A, which alone "
            "has a classification."
        )
        raise UsageError(message)
    return dataset["SCL"].isin(list(scl))
