"""Metrics that are sums over pixels: no window, no halo, any chunking."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Sequence

Data = TypeVar("Data", xr.DataArray, xr.Dataset)


def rmse(reference: Data, test: Data, dim: Sequence[str] = ("y", "x")) -> Data:
    r"""Root mean square error.

    .. math:: \sqrt{\frac{1}{n} \sum (y - x)^2}

    over the pixels that are valid (not NaN) in both; in the units of the data, lazy on Dask.

    Parameters
    ----------
    reference, test : xarray.DataArray or xarray.Dataset
        The truth and the image to judge, on exactly the same coordinates.
    dim : sequence of str
        Dimensions to reduce.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Best value 0; NaN where no pixel is valid.

    Raises
    ------
    ValueError
        If the coordinates differ (xarray's exact join).

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([[0.0, 0.0]], dims=("y", "x"))
    >>> float(rmse(truth, truth + 0.5))
    0.5
    """
    reference, test = xr.align(reference, test, join="exact", copy=False)
    squares = (test.astype(np.float64) - reference.astype(np.float64)) ** 2
    # The root comes after the whole reduction: a mean of roots of chunks is another number.
    return squares.mean(dim=list(dim), skipna=True) ** 0.5
