"""Reflectance as integers: ESA's own packing since processing baseline 04.00, exact both ways.

``reflectance = DN * 1e-4 - 0.1``; DN 0 is no data. Native bands come back as the integers they
were, negative reflectance included, for both offsets (0 and -1000) of the products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from decametric.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKED = np.dtype("uint16")

PACKING: dict[str, Any] = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
"""CF attributes of a packed band: what xarray, GDAL and any other reader needs to decode it."""

_STEPS = np.float32(10_000)
_OFFSET = np.float32(1_000)
_LARGEST = np.iinfo(PACKED).max


def stored_dtype(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Dtype in which a variable is stored: uint16 for reflectance, uint8 (classes) as it is.

    Raises
    ------
    UsageError
        For any other dtype.
    """
    if dtype == np.uint8:
        return dtype
    if dtype.kind == "f":
        return PACKED
    message = f"{name} has dtype {dtype}; write takes float reflectance or uint8 classes only."
    raise UsageError(message)


def pack(block: NDArray[Any]) -> NDArray[Any]:
    """Integers for storage.

    Parameters
    ----------
    block : ndarray
        Reflectance as floats with NaN = no data, or uint8 classes, which pass untouched.

    Returns
    -------
    ndarray
        uint16 of the same shape: ``reflectance * 10000 + 1000`` rounded half to even, values
        outside of 1 ... 65535 clipped to it (never wrapped), NaN -> 0.
    """
    if block.dtype == np.uint8:
        return block
    # Single precision is exact enough: 16-bit steps leave 8 bits of its 24 for the fraction.
    # The first clip, wider than the range, only keeps absurd values from overflowing.
    steps: NDArray[np.float32] = np.clip(block, -1, 10).astype(np.float32, copy=False)
    steps *= _STEPS
    steps += _OFFSET
    np.clip(np.rint(steps, out=steps), 1, _LARGEST, out=steps)
    steps[np.isnan(steps)] = 0
    return steps.astype(PACKED)
