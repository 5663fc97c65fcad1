"""COG to Zarr with dsen2 2x and 6x, against the bare networks and against the classic way."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from tests.benchmarks.common import arguments, clock, finish, preset

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 3294
SAMPLE = 1098  # the classic way runs on a ninth of the scene
CLASSIC = {2: (128, 8), 6: (192, 12)}
"""Patch and border of the original program (Lanaras et al. 2018), in 10 m pixels."""
CLASSIC_TEXT = "patches of 128 and 192, borders of 8 and 12, no reading, no writing"


def read(scene, size: int) -> list[np.ndarray]:
    """The three resolutions as (band, y, x) arrays of the first `size` pixels."""
    from decametric.bands import NETWORK_BANDS

    return [
        np.stack(
            [
                scene[f"r{res}m"][band].isel(time=0).values[: size * 10 // res, : size * 10 // res]
                for band in bands
            ]
        )
        for res, bands in NETWORK_BANDS.items()
    ]


def bare(parts, arrays: list[np.ndarray], edge: int, times: dict[str, float]) -> None:
    """One compiled forward pass over seamless windows; everything else is done beforehand."""
    from decametric.superres.networks import run
    from decametric.superres.predictor import upsample
    from decametric.superres.presets import open_network

    fine = [arrays[0], upsample(arrays[1], 2, "bilinear"), upsample(arrays[2], 6, "bilinear")]
    for part in parts:
        model = open_network(part.path, part.card.sha256)
        halo = part.halo
        count = len(part.bands_in) > 10
        stacked = [
            np.pad(np.moveaxis(a, 0, -1), [(halo, halo), (halo, halo), (0, 0)], mode="symmetric")
            for a in fine[: 3 if count else 2]
        ]
        windows = [
            [
                np.ascontiguousarray(a[y : y + edge + 2 * halo, x : x + edge + 2 * halo])[None]
                for a in stacked
            ]
            for y in range(0, arrays[0].shape[1], edge)
            for x in range(0, arrays[0].shape[2], edge)
        ]
        run(model, windows[0])
        with clock(times, f"bare {part.card.ratio}x"):
            for window in windows:
                run(model, window)


def classic(parts, arrays: list[np.ndarray], times: dict[str, float]) -> None:
    """Patches cut with a border too small, upsampled one by one, predicted, recomposed."""
    from decametric.superres.predictor import upsample
    from decametric.superres.presets import open_network

    for part in parts:
        patch, border = CLASSIC[part.card.ratio]
        model = open_network(part.path, part.card.sha256)
        step, size = patch - 2 * border, arrays[0].shape[1]
        with clock(times, f"classic {part.card.ratio}x"):
            padded = [
                np.pad(
                    a,
                    [(0, 0)] + [(border * 10 // r, (border + step) * 10 // r)] * 2,
                    mode="symmetric",
                )
                for a, r in zip(arrays, (10, 20, 60), strict=True)
            ]
            patches: list[list[np.ndarray]] = [[], [], []]
            for y in range(0, size, step):
                for x in range(0, size, step):
                    for found, a, ratio in zip(patches, padded, (1, 2, 6), strict=True):
                        cut = a[
                            :, y // ratio : (y + patch) // ratio, x // ratio : (x + patch) // ratio
                        ]
                        fine = upsample(cut, ratio, "bilinear") if ratio > 1 else cut
                        found.append(np.moveaxis(fine, 0, -1) / np.float32(0.2))
            inputs = [np.stack(p) for p in patches[: 3 if part.card.ratio == 6 else 2]]
            predicted = model.predict(inputs, batch_size=8, verbose=0)
            image = np.zeros((size + step, size + step, predicted.shape[-1]), np.float32)
            places = [(y, x) for y in range(0, size, step) for x in range(0, size, step)]
            for (y, x), result in zip(places, predicted, strict=True):
                image[y : y + step, x : x + step] = result[border:-border, border:-border]


def whole(scene_file: Path, path: Path, store: Path, times: dict[str, float]) -> None:
    """The product: read COGs, sharpen, write Zarr."""
    import decametric as dm

    with clock(times, "pipeline"):
        scene = dm.load(str(scene_file))
        dm.write(dm.sharpen(scene, dm.load_predictor(path)), str(store))


def main() -> None:
    """Run the three on the same pixels."""
    import decametric as dm
    from decametric.testing import synthetic_scene

    folder, _ = arguments()
    times: dict[str, float] = {}
    with clock(times, "scene made"):
        catalog = synthetic_scene(folder / "scene", size=SIZE, dates=1)
    path = preset(folder)
    parts = dm.load_predictor(path, consistency=False).parts
    arrays = [np.nan_to_num(a) for a in read(dm.load(str(catalog)), SIZE)]
    best = folder / "best-window.txt"
    edge = int(best.read_text()) if best.exists() else 1098
    edge = SIZE // round(SIZE / edge)  # whole windows: the bare networks run at their best
    bare(parts, arrays, edge, times)
    whole(catalog, path, folder / "out.zarr", times)
    ninth = [a[:, : SAMPLE * a.shape[1] // SIZE, : SAMPLE * a.shape[2] // SIZE] for a in arrays]
    classic(parts, ninth, times)
    done, net = times["pipeline"], times["bare 2x"] + times["bare 6x"]
    old = (times["classic 2x"] + times["classic 6x"]) * (SIZE / SAMPLE) ** 2
    lines = [
        f"## Pipeline, {SIZE} x {SIZE} pixels, dsen2 2x and 6x, float32",
        "",
        "| what | seconds | against bare |",
        "|---|---|---|",
        f"| bare networks, windows of {edge} pixels in memory | {net:.0f} | 1.00 |",
        f"| **pipeline: COG, sharpen, consistency, Zarr** | {done:.0f} | **{done / net:.3f}** |",
        f"| classic: {CLASSIC_TEXT} (a ninth of the scene, x 9) | {old:.0f} | {old / net:.2f} |",
    ]
    print(times, file=sys.stderr)
    finish({"report": lines, "times": times})


if __name__ == "__main__":
    main()
