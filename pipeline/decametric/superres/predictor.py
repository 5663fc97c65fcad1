"""The one seam of the package: a `Predictor` sharpens; interpolation is its plainest kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from decametric.bands import BANDS, RESOLUTIONS, SHARPENED
from decametric.grid import NEST
from decametric.superres.display import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@runtime_checkable
class Predictor(Protocol):
    """Raises bands to 10 m, one window at a time.

    It must be picklable (workers get a copy), safe to call from several threads, and a pure
    function of its inputs. Optional attributes: ``name``, ``level`` ("L1C" or "L2A": scenes of the
    other level are refused), ``provenance`` (a dict for the store), ``flops`` (per 10 m pixel).
    """

    @property
    def bands_in(self) -> tuple[str, ...]:
        """Bands that it reads; each resolution comes as one array, in this order."""

    @property
    def bands_out(self) -> tuple[str, ...]:
        """Bands that it returns, in this order."""

    @property
    def halo(self) -> int:
        """Pixels of 10 m, a multiple of 6, along each edge of its output that need context beyond.

        Whatever it computes within `halo` pixels of the window's edges is cut off.
        """

    def __call__(self, b10: Array, b20: Array, b60: Array) -> Array:
        """Sharpen one window.

        Parameters
        ----------
        b10, b20, b60 : float32 arrays (band, y, x), (band, y / 2, x / 2), (band, y / 6, x / 6)
            Reflectance without NaN; the bands of `bands_in` of that resolution, maybe none.

        Returns
        -------
        float32 array (band, y, x)
            Reflectance of `bands_out` at 10 m.
        """


@dataclass(frozen=True, repr=False)
class Joint(Shown):
    """Several predictors under one name, for instance the 2x and the 6x network of a preset."""

    name: str
    """Name under which they were asked for."""
    parts: tuple[Predictor, ...]
    """The members; no band is returned by two of them."""
    level: str | None = None
    """Level of the scenes that the members were trained for; None takes both."""

    @property
    def bands_in(self) -> tuple[str, ...]:
        """Every band that a member reads."""
        return tuple(dict.fromkeys(band for part in self.parts for band in part.bands_in))

    @property
    def bands_out(self) -> tuple[str, ...]:
        """Every band that a member returns."""
        return tuple(band for part in self.parts for band in part.bands_out)

    @property
    def halo(self) -> int:
        """The largest halo among the members."""
        return max(part.halo for part in self.parts)

    @property
    def provenance(self) -> dict[str, object]:
        """Name and the facts of every member."""
        return {"name": self.name, "parts": [provenance(part) for part in self.parts]}

    def _rows(self) -> list[tuple[str, ...]]:
        """The facts of its members, side by side where they differ."""
        columns = [dict(facts(part)) for part in self.parts]
        rows = []
        for label in dict.fromkeys(label for column in columns for label in column):
            values = [column.get(label, "") for column in columns]
            rows.append((label, *(values if len(set(values)) > 1 else values[:1])))
        return [("predictor", self.name), *rows]

    def __call__(self, b10: Array, b20: Array, b60: Array) -> Array:
        """Sharpen one window with every member."""
        arrays = dict(zip(RESOLUTIONS, (b10, b20, b60), strict=True))
        results = []
        for part in self.parts:
            picked = (
                arrays[res][[of_resolution(self.bands_in, res).index(band) for band in bands]]
                for res, bands in ((r, of_resolution(part.bands_in, r)) for r in RESOLUTIONS)
            )
            results.append(part(*picked))
        return np.concatenate(results)


@dataclass(frozen=True, repr=False)
class Interpolation(Shown):
    """Upsampling of each band by itself: the baseline to beat, and a test double without Keras."""

    name: str
    """``"bilinear"`` or ``"bicubic"`` (Keys 1981, a = -0.5), both aligned on pixel areas."""
    bands_out: tuple[str, ...] = SHARPENED
    """Bands to raise to 10 m."""

    @property
    def bands_in(self) -> tuple[str, ...]:
        """The same bands: nothing else is read."""
        return self.bands_out

    @property
    def halo(self) -> int:
        """Two coarse pixels of the coarsest band cover both kernels."""
        return 2 * NEST

    @property
    def provenance(self) -> dict[str, object]:
        """Name only; there are no weights."""
        return {"name": self.name}

    def _rows(self) -> list[tuple[str, ...]]:
        """What it is."""
        return [("predictor", self.name), ("what", "interpolation, no weights"), *facts(self)]

    def __call__(self, b10: Array, b20: Array, b60: Array) -> Array:  # noqa: ARG002  (the protocol)
        """Upsample one window; 10 m bands are not looked at."""
        fine = {20: upsample(b20, 2, self.name), 60: upsample(b60, 6, self.name)}
        rows = {res: iter(bands) for res, bands in fine.items()}
        return np.stack([next(rows[BANDS[band].resolution]) for band in self.bands_out])


def Bilinear(bands_out: tuple[str, ...] = SHARPENED) -> Interpolation:  # noqa: N802  (reads as the class it stands for)
    """Bilinear interpolation as a predictor."""
    return Interpolation("bilinear", bands_out)


def Bicubic(bands_out: tuple[str, ...] = SHARPENED) -> Interpolation:  # noqa: N802  (reads as the class it stands for)
    """Bicubic interpolation (Keys 1981, a = -0.5) as a predictor."""
    return Interpolation("bicubic", bands_out)


def of_resolution(bands: Iterable[str], resolution: int) -> tuple[str, ...]:
    """Those of `bands` that are recorded at `resolution`, in their order."""
    return tuple(band for band in bands if BANDS[band].resolution == resolution)


def parts(predictor: Predictor) -> tuple[Predictor, ...]:
    """The predictors that do the work, each with its own bands and halo."""
    return predictor.parts if isinstance(predictor, Joint) else (predictor,)


def provenance(predictor: Predictor) -> dict[str, object]:
    """What a store records of a predictor, JSON-able."""
    facts = getattr(predictor, "provenance", None)
    return dict(facts) if facts else {"name": getattr(predictor, "name", type(predictor).__name__)}


def facts(predictor: Predictor) -> list[tuple[str, str]]:
    """What people want to know of a predictor beside its name, as far as it tells."""
    known = provenance(predictor)
    parameters = getattr(predictor, "parameters", None)
    told = {
        "ratio": f"{known['ratio']}x" if "ratio" in known else None,
        "level": getattr(predictor, "level", None),
        "bands": ", ".join(predictor.bands_out),
        "halo": f"{predictor.halo} pixels of 10 m",
        "parameters": f"{parameters:,}" if parameters else None,
        "arithmetic": known.get("precision"),
        "orientations": known.get("orientations"),
        "consistency": known.get("consistency"),
        "SHA-256": str(known.get("sha256", ""))[:12],
    }
    return [(label, str(value)) for label, value in told.items() if value]


def upsample(coarse: Array, ratio: int, kernel: str) -> Array:
    """Interpolate (band, y, x) to (band, y * ratio, x * ratio) with half-pixel alignment.

    Parameters
    ----------
    coarse : float32 array (band, y, x)
        Without NaN; mirrored about its edges.
    ratio : int
        Fine pixels along a coarse one.
    kernel : {"bilinear", "bicubic"}
        Triangle, or Keys' cubic convolution with a = -0.5 (doi:10.1109/TASSP.1981.1163711).
    """
    return _upsample_axis(_upsample_axis(coarse, ratio, kernel, -2), ratio, kernel, -1)


def _upsample_axis(array: Array, ratio: int, kernel: str, axis: int) -> Array:
    """One axis of `upsample`, as a weighted sum of shifted copies for each sub-pixel position."""
    array = np.moveaxis(array, axis, 0)
    padded = np.pad(array, [(2, 2)] + [(0, 0)] * (array.ndim - 1), mode="symmetric")
    fine = np.empty((array.shape[0], ratio, *array.shape[1:]), np.float32)
    for phase in range(ratio):
        position = (phase + 0.5) / ratio - 0.5
        weights = _WEIGHTS[kernel](position - np.arange(-2, 3)).astype(np.float32)
        shifted = [w * padded[k : k + len(array)] for k, w in enumerate(weights) if w]
        fine[:, phase] = sum(shifted[1:], shifted[0])
    return np.moveaxis(fine.reshape(len(array) * ratio, *array.shape[1:]), 0, axis)


def _triangle(distance: NDArray[Any]) -> NDArray[Any]:
    weights: NDArray[Any] = np.maximum(1 - np.abs(distance), 0)
    return weights


def _keys(distance: NDArray[Any], a: float = -0.5) -> NDArray[Any]:
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    weights: NDArray[np.float64] = np.where(d <= 1, near, np.where(d < 2, far, 0))  # noqa: PLR2004  (the kernel's support)
    return weights


_WEIGHTS = {"bilinear": _triangle, "bicubic": _keys}
