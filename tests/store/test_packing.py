"""Packing is exact for every integer of every product, and never wraps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from decametric.errors import UsageError
from decametric.store.packing import PACKING, pack, stored_dtype

EVERY = np.arange(1, 65536)


def read(packed):
    """Decode as any CF reader does."""
    return packed * PACKING["scale_factor"] + PACKING["add_offset"]


def test_every_number_of_baseline_04_comes_back():
    scene = ((EVERY - 1000) / 10000).astype(np.float32)
    np.testing.assert_array_equal(pack(scene), EVERY)


def test_every_number_of_older_baselines_comes_back_as_reflectance():
    scene = (EVERY / 10000).astype(np.float32)
    fits = EVERY <= 65535 - 1000
    np.testing.assert_array_equal(pack(scene)[fits], EVERY[fits] + 1000)
    np.testing.assert_array_equal(np.rint(read(pack(scene)[fits]) * 10000), EVERY[fits])
    assert (pack(scene)[~fits] == 65535).all()


def test_no_data_is_zero_and_nothing_else_is():
    block = np.array([np.nan, -0.1, -0.5, -np.inf, np.inf, 7, 1e30], np.float32)
    np.testing.assert_array_equal(pack(block), [0, 1, 1, 1, 65535, 65535, 65535])


def test_halves_round_to_even():
    # The product with 10000 rounds to the tie itself in single precision.
    block = (np.array([0.5, 1.5, 2.5, 3.5]) / 10000).astype(np.float32)
    np.testing.assert_array_equal(pack(block), [1000, 1002, 1002, 1004])


@given(arrays(np.float32, 20, elements=st.floats(width=32)))
def test_packing_stays_within_half_a_step_of_the_clipped_value(block):
    packed = pack(block)
    assert packed.dtype == np.uint16
    exact = np.clip(block.astype(np.float64) * 10000 + 1000, 1, 65535)
    valid = ~np.isnan(block)
    assert (packed[~valid] == 0).all()
    # 65535 needs 16 bits; single precision leaves a hundredth of a step.
    assert (np.abs(packed[valid] - exact[valid]) <= 0.51).all()


@given(arrays(np.uint8, 20))
def test_classes_pass_untouched(block):
    assert pack(block) is block


@pytest.mark.parametrize("dtype", ["int16", "uint16", "bool"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(UsageError, match=f"SCL has dtype {dtype}; write takes float"):
        stored_dtype(np.dtype(dtype), "SCL")
