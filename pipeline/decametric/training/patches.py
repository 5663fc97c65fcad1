"""Scenes to patches by Wald's protocol: everything is made coarser, the native band is the target.

A patch is cut from the scene at a random pixel of its target and degraded by itself, with as much
context as the blur reads. So the coarse grid lies at every phase over the target: 4 different
patches for each place at ratio 2, 36 at ratio 6. Narrow gaps are closed first, for the inputs
alone (`decametric.training.gaps`). A target pixel may be learned from where it is known and where
the 10 m bands at its place were made of known pixels for the most part (`LEARNABLE`). All else is
filled for the network and carries no loss.

A patch set is a Zarr group with one group for each item, so that a cluster can build it item by
item, and a set that was not finished goes on where it stopped.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
from scipy.ndimage import distance_transform_edt

from decametric.bands import NETWORK_BANDS, RESOLUTIONS, group
from decametric.degradation import MIN_WEIGHT, Degradation
from decametric.errors import SceneError, UsageError
from decametric.scenes.items import describe
from decametric.scenes.reader import load
from decametric.store.packing import pack
from decametric.training.gaps import closed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import dask.array as da
    import pystac
    import zarr
    from numpy.typing import NDArray

    from decametric.training.config import Sampling

    Array = NDArray[np.float32]

LEARNABLE = 0.75
"""Least share of known 10 m pixels behind a target pixel that carries loss.

With less the input is made of interpolated pixels, or of a part that lies beside the middle.
"""

CHUNK = 32
"""Patches in a chunk of the patch set: what is read at a time."""

TRIES = 20
"""Positions that are tried for each patch that is wanted."""

CLOUD_BLUE, CLOUD_SWIR = 0.3, 0.2
"""A pixel counts as cloud where B02 and B11 are brighter than this; snow is dark in B11."""

B09_BESIDE_B8A = {"L1C": 1 / 3, "L2A": 1.0}
"""Median of B09 as a share of that of B8A: at the top of the atmosphere the middle of 26 scenes
(0.14 to 0.50), at the surface what the correction for water vapour aims at."""

LICENCE = "contains modified Copernicus Sentinel data"

Bands = dict[int, "Array"]
"""Arrays (band, y, x) of each native resolution, NaN = no data."""


def build_patches(
    items: Sequence[pystac.Item], store: str | Path, ratio: int, sampling: Sampling
) -> Path:
    """Cut patches from items into a Zarr patch set, one task for each item.

    Runs on the active Dask client where there is one. Items that the store has already, cut with
    the same settings, are kept.

    Parameters
    ----------
    items : sequence of pystac.Item
        Each is a scene of its own.
    store : path
        Folder of the patch set, which every worker must reach.
    ratio : {2, 6}
        20 m bands (2) or 60 m bands (6) are the target.
    sampling : Sampling
        How many, how large, from where.

    Returns
    -------
    Path
        `store`.

    Warns
    -----
    UserWarning
        If some items yield no patch.

    Raises
    ------
    SceneError
        If no item yields a patch.
    UsageError
        If the patch size does not fit.
    """
    if sampling.size <= 0 or sampling.size % 6:
        message = f"size={sampling.size} is not a multiple of 6, the pixels along a 60 m pixel."
        raise UsageError(message)
    folder = Path(store)
    tasks = [dask.delayed(_item_patches)(item, folder, ratio, sampling) for item in items]
    counts: tuple[int, ...] = dask.compute(*tasks)
    if not sum(counts):
        message = f"None of the {len(items)} items yields a patch; they are empty or cloudy."
        raise SceneError(message)
    if without := [item.id for item, count in zip(items, counts, strict=True) if not count]:
        message = (
            f"No patch from {', '.join(without)}: smaller than {sampling.size} pixels of "
            f"{10 * ratio} m, empty or cloudy."
        )
        warnings.warn(message, stacklevel=2)
    return folder


def _item_patches(item: pystac.Item, store: Path, ratio: int, sampling: Sampling) -> int:
    """Write the patches of one item; how many there are."""
    import zarr

    settings = {"ratio": ratio, **asdict(sampling), "scales": list(sampling.scales)}
    folder = store / item.id
    done = folder / "done.json"
    if done.is_file() and (known := json.loads(done.read_text()))["settings"] == settings:
        return int(known["count"])
    # The identifier takes part in the seed: every item has positions of its own.
    rng = np.random.default_rng([sampling.seed, *item.id.encode()])
    bands, info = read_bands(item), describe(item)
    if sampling.as_level not in (None, info.level):
        bands = _at_level(bands, sampling.as_level)
    wanted = sampling.wanted(item.id, np.isfinite(bands[10 * ratio][0]).sum())
    found = list(_draw(bands, ratio, sampling, wanted, rng))
    root = zarr.open_group(folder, mode="w")
    if found:
        _write(root, found)
    root.attrs.update(
        item=item.id, level=info.level, tile=info.tile, ratio=ratio, licence=LICENCE,
        bands={str(res): NETWORK_BANDS[res] for res in _resolutions(ratio)},
        target=NETWORK_BANDS[10 * ratio],
    )  # fmt: skip
    # The last thing that is written: its presence says that the item is whole.
    done.write_text(json.dumps({"settings": settings, "count": len(found)}))
    return len(found)


def _resolutions(ratio: int) -> tuple[int, ...]:
    """Native resolutions that a network of `ratio` reads."""
    return RESOLUTIONS[:2] if ratio == 2 else RESOLUTIONS  # noqa: PLR2004


def read_bands(item: pystac.Item) -> Bands:
    """All network bands of an item, in memory."""
    wanted = [band for bands in NETWORK_BANDS.values() for band in bands]
    scene = load([item], bands=wanted)
    return {
        res: np.stack([_read(scene[group(res)][band].data[0]) for band in bands])
        for res, bands in NETWORK_BANDS.items()
    }


def _read(array: da.Array) -> Array:
    """The values of one band; in this task, not on the cluster that it may run on."""
    return np.asarray(array.compute(scheduler="synchronous"))


def _at_level(bands: Bands, level: str) -> Bands:
    """B09 as bright beside B8A, which water vapour does not absorb, as it is at `level`.

    Unknown where that cannot be told: in a scene that is black in B09, as water may be.
    """
    b8a, b09 = NETWORK_BANDS[20].index("B8A"), NETWORK_BANDS[60].index("B09")
    medians = np.nanmedian(bands[20][b8a]), np.nanmedian(bands[60][b09])
    factors = np.ones((len(NETWORK_BANDS[60]), 1, 1), np.float32)
    known = min(medians) > 0
    factors[b09] = B09_BESIDE_B8A[level] * medians[0] / medians[1] if known else np.nan
    return bands | {60: bands[60] * factors}


def _write(root: zarr.Group, found: list[dict[str, NDArray[Any]]]) -> None:
    """Store patches as arrays (patch, band, y, x) of integers, 0 = no data."""
    for name in found[0]:
        values = np.stack([patch[name] for patch in found])
        root.create_array(name, data=values, chunks=(CHUNK, *values.shape[1:]))


def _draw(
    native: Bands, ratio: int, sampling: Sampling, wanted: int, rng: np.random.Generator
) -> Iterator[dict[str, NDArray[Any]]]:
    """Draw patches from one scene at every scale that it is large enough for."""
    without_gaps = closed(native)
    coarser = {scale: _coarser(native, without_gaps, scale) for scale in sampling.scales}
    known = {s: int(each.known[10 * ratio][0].sum()) for s, each in coarser.items()}
    total = max(1, sum(known.values()))
    for scale, scene in coarser.items():
        count = round(wanted * known[scale] / total)
        for _ in range(count * TRIES):
            patch = _patch(scene, ratio, sampling, rng) if count else None
            if patch is not None:
                yield patch | {"scale": np.array(scale, np.uint8)}
                count -= 1


@dataclass(frozen=True)
class Scene:
    """A scene to cut patches from."""

    bands: Bands
    """Values, those of narrow gaps among them, NaN in wider ones."""
    known: dict[int, NDArray[np.bool_]]
    """What was measured (band, y, x)."""


def _coarser(native: Bands, without_gaps: Bands, scale: int) -> Scene:
    """A scene whose pixels are `scale` times as large, cut to what all bands fill."""
    known = {res: np.isfinite(bands) for res, bands in native.items()}
    if scale == 1:
        return Scene(without_gaps, known)
    operator = Degradation(scale)
    cells = [size // scale for size in native[60].shape[1:]]
    values = {}
    for res, bands in without_gaps.items():
        rows, cols = (cell * scale * (60 // res) for cell in cells)
        part, measured = bands[:, :rows, :cols], known[res][:, :rows, :cols]
        value, weight = operator.weighted(part, np.isfinite(part))
        values[res] = np.where(weight >= MIN_WEIGHT, value, np.float32(np.nan))
        known[res] = operator.share(measured, part.dtype) >= MIN_WEIGHT
    return Scene(values, known)


def _patch(
    scene: Scene, ratio: int, sampling: Sampling, rng: np.random.Generator
) -> dict[str, NDArray[Any]] | None:
    """One patch from a random place, or None where it is to be rejected."""
    size, target = sampling.size, scene.bands[10 * ratio]
    room = [length - size for length in target.shape[1:]]
    if min(room) < 0:
        return None
    corner = tuple(int(rng.integers(each + 1)) for each in room)
    rows, cols = (slice(start, start + size) for start in corner)
    made = degraded(scene, ratio, corner, size)
    learnable = made.learnable & scene.known[10 * ratio][:, rows, cols]
    truth = np.where(learnable, target[:, rows, cols], np.float32(np.nan))
    if np.isfinite(truth).mean() < sampling.min_valid or _cloud(made) > sampling.max_cloud:
        return None
    inputs = {f"b{res}": pack(_filled(array)) for res, array in made.inputs.items()}
    return {**inputs, "target": pack(truth), "position": np.array(corner, np.int32)}


@dataclass(frozen=True)
class Degraded:
    """The inputs of a patch."""

    inputs: Bands
    """Degraded bands, NaN where less than half of their weight was known or closed."""
    learnable: NDArray[np.bool_]
    """Where the 10 m bands were made of known pixels for the most part (y, x)."""


def degraded(scene: Scene, ratio: int, corner: tuple[int, ...], size: int) -> Degraded:
    """Degrade the part of a scene under a patch, with the context that the blur reads.

    Parameters
    ----------
    scene : Scene
        Bands without narrow gaps, and what of them was measured.
    ratio : int
        Factor.
    corner, size : (row, column), int
        Place of the patch, in pixels of the target's resolution.
    """
    operator = Degradation(ratio)
    inputs, learnable = {}, np.ones((size, size), bool)
    for res in _resolutions(ratio):
        # A pixel of the target measures `step` pixels here; of the context, whole coarse pixels.
        array, margin = scene.bands[res], -(-operator.radius // ratio) * ratio
        cuts, inner = [], []
        for start, length in zip(corner, array.shape[1:], strict=True):
            first, last = start * 10 * ratio // res, (start + size) * 10 * ratio // res
            low, high = max(0, first - margin), min(length, last + margin)
            # At the scene's edge the context may end within a coarse pixel: none then.
            low = first if (first - low) % ratio else low
            high = last if (high - last) % ratio else high
            cuts.append(slice(low, high))
            inner.append(slice((first - low) // ratio, (last - low) // ratio))
        part = array[:, *cuts]
        value, weight = (each[:, *inner] for each in operator.weighted(part, np.isfinite(part)))
        inputs[res] = np.where(weight >= MIN_WEIGHT, value, np.float32(np.nan))
        if res == RESOLUTIONS[0]:
            measured = operator.share(scene.known[res][:, *cuts], part.dtype)
            learnable = measured[:, *inner].min(axis=0) >= LEARNABLE
    return Degraded(inputs, learnable)


def _cloud(made: Degraded) -> float:
    """Share of pixels, coarse as those of the 20 m bands, that look like cloud."""
    blue = made.inputs[10][NETWORK_BANDS[10].index("B02")]
    swir = made.inputs[20][NETWORK_BANDS[20].index("B11")]
    return float(((blue[::2, ::2] > CLOUD_BLUE) & (swir > CLOUD_SWIR)).mean())


def _filled(array: Array) -> Array:
    """Each band with its NaN replaced by the nearest known pixel."""
    result = array.copy()
    for band in result:
        unknown = np.isnan(band)
        if unknown.any():
            nearest = distance_transform_edt(unknown, return_distances=False, return_indices=True)
            band[:] = 0 if unknown.all() else band[tuple(nearest)]
    return result
