"""Reference values of the metrics, and the images that they belong to.

The values lie beside the repository (``shared/data/metrics/oracle-open.json``: independent
whole-image computations, checked against public libraries). The images are read or made here after
its recipes, and compared with its hashes before a number is.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import xarray as xr
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PAIRS = ("lafayette", "singapore", "malmo10", "synth_a")
L = 10000
"""Data range of all pairs."""


@dataclass(frozen=True)
class OraclePair:
    """Two images (band, y, x) of uint16, and what the metrics say of them."""

    reference: xr.DataArray
    test: xr.DataArray
    pixelwise: dict[str, Any]
    windowed: dict[str, Any]


@functools.cache
def document(shared_data: Path) -> dict[str, Any]:
    """The whole collection: definitions, tolerances, and under ``open`` the values."""
    return json.loads((shared_data / "metrics" / "oracle-open.json").read_text())


def expected(shared_data: Path, *keys: str) -> Any:
    """A value by its place: ``expected(shared_data, "masked", "synth_a", "values", "rmse")``."""
    found = document(shared_data)["open"]
    for key in keys:
        found = found[key]
    return found


@functools.cache
def pair(shared_data: Path, name: str) -> OraclePair:
    """One of `PAIRS`."""
    facts = expected(shared_data, "pairs", name)
    reference, test = _images(shared_data, name)
    return OraclePair(
        checked(reference, facts["sha256_reference"]),
        checked(test, facts["sha256_test"]),
        facts["pixelwise"],
        facts["windowed"],
    )


@functools.cache
def mask(shared_data: Path) -> xr.DataArray:
    """Mask of synth_a (y, x): True where a pixel counts."""
    facts = expected(shared_data, "masked", "synth_a")
    return checked(disc_mask(31, 176, 224), facts["sha256_mask"])


@functools.cache
def triple(shared_data: Path) -> dict[str, xr.DataArray]:
    """Images of triple_a by their names: hr, ms, fused, guide, guide_lr, lr_up."""
    hr = synth(11, 6, 192, 192)
    ms = np.rint(block_mean(hr, 2)).astype("u2")
    guide = np.rint(hr.astype("f8").mean(0)).astype("u2")
    images = {
        "hr": hr,
        "ms": ms,
        "fused": degrade_synth(hr, 12, 1.0, 0.0, 8.0, 1),
        "guide": guide,
        "guide_lr": block_mean(guide[None], 2)[0],
        "lr_up": ms.repeat(2, axis=1).repeat(2, axis=2),
    }
    hashes = expected(shared_data, "no_reference", "triple_a", "sha256")
    return {name: checked(values, hashes.get(name)) for name, values in images.items()}


def checked(values: NDArray[Any], sha256: str | None) -> xr.DataArray:
    """An image of named dimensions; an error if it is not the image that was meant."""
    values = np.ascontiguousarray(values)
    if sha256 is not None:
        assert hashlib.sha256(values.tobytes()).hexdigest() == sha256
    return xr.DataArray(values, dims=("band", "y", "x")[-values.ndim :])


def synth(seed: int, bands: int, height: int, width: int) -> NDArray[np.uint16]:
    """A scene of parcels of 16 pixels, texture and noise."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width].astype("f8")
    parcels = random.randint(0, 1200, size=(height // 16 + 1, width // 16 + 1)).astype("f8")
    parcels = np.kron(parcels, np.ones((16, 16)))[:height, :width]
    waves = 250 * np.sin(y / 5.3 + 0.7 * np.sin(x / 17.0)) * np.cos(x / 6.1)
    waves = waves + 120 * np.sin((x + 2 * y) / 3.7)
    gain, offset = 0.6 + 0.9 * random.rand(bands), 300 + 900 * random.rand(bands)
    scene = np.stack(
        [
            offset[band] + gain[band] * (parcels + (0.5 + 0.5 * random.rand()) * waves)
            for band in range(bands)
        ]
    )
    scene = scene + 25 * random.standard_normal(scene.shape)
    return np.rint(np.clip(scene, 1, 65535)).astype("u2")


def degrade_synth(
    scene: NDArray[Any], seed: int, gain: float, offset: float, noise: float, blurs: int
) -> NDArray[np.uint16]:
    """A scene blurred, amplified and with noise."""
    random = np.random.RandomState(seed)
    values = scene.astype("f8")
    for _ in range(blurs):
        values = box3(values)
    values = gain * values + offset + noise * random.standard_normal(values.shape)
    return np.rint(np.clip(values, 1, 65535)).astype("u2")


def box3(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blur of weights 1, 2, 1 along both axes, edges repeated."""
    padded = np.pad(bands, ((0, 0), (1, 1), (1, 1)), mode="edge")
    padded = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4.0
    return (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4.0


def blur_noise(bands: NDArray[Any], seed: int, sigma: float, noise: float) -> NDArray[np.uint16]:
    """Bands after a Gaussian blur and with noise."""
    random = np.random.RandomState(seed)
    blurred = np.stack(
        [gaussian_filter(band.astype("f8"), sigma, mode="reflect", truncate=4.0) for band in bands]
    )
    blurred = blurred + noise * random.standard_normal(blurred.shape)
    return np.rint(np.clip(blurred, 0, 65535)).astype("u2")


def disc_mask(seed: int, height: int, width: int) -> NDArray[np.bool_]:
    """Six discs that do not count; True elsewhere."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    valid = np.ones((height, width), bool)
    for _ in range(6):
        row, column = random.randint(0, height), random.randint(0, width)
        radius = random.randint(5, 19)
        valid &= (y - row) ** 2 + (x - column) ** 2 > radius**2
    return valid


def block_mean(bands: NDArray[Any], ratio: int) -> NDArray[np.float64]:
    """Means of blocks of `ratio` x `ratio` pixels."""
    count, height, width = bands.shape
    blocks = bands.astype("f8").reshape(count, height // ratio, ratio, width // ratio, ratio)
    return blocks.mean((2, 4))


def _images(shared_data: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Reference and test image of a pair."""
    if name == "synth_a":
        reference = synth(20240601, 4, 176, 224)
        return reference, degrade_synth(reference, 20240602, 1.02, 15.0, 30.0, 2)
    if name == "malmo10":
        reference = _malmo(shared_data)
        return reference, blur_noise(reference, 1234, 1.0, 40.0)
    folder = shared_data / "metrics" / "example"
    return _read(folder / f"{name}_org.tif"), _read(folder / f"{name}_pred.tif")


def _malmo(shared_data: Path) -> NDArray[np.uint16]:
    """The 10 m bands as they were published: column by column."""
    folder = shared_data / "stac" / "sentinel-2-l1c" / "S2A_33UUB_20170527_L1C_malmo"
    bands = np.concatenate([_read(folder / f"{name}.tif") for name in ("B04", "B03", "B02", "B08")])
    return np.ascontiguousarray(bands.transpose(0, 2, 1))


def _read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        return file.read()
