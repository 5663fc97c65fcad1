"""Speed of the metrics against image-similarity-measures, and memory on a whole tile.

The previous package needs libraries of its own time: make it an environment
(image-similarity-measures 0.3.6, numpy < 2, scikit-image 0.20) and name its Python in
PREVIOUS_PYTHON. Without it only our own seconds are told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.benchmarks.common import arguments, finish

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (4, 1000, 1000)
L = 10000
METRICS = ("rmse", "psnr", "ssim", "uiq", "fsim", "sre", "sam", "issm")
GOALS = {"uiq": 200, "fsim": 8}
"""How many times faster it must be."""

REPEATS = 3

PREVIOUS = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from image_similarity_measures.quality_metrics import metric_functions
x, y = (np.ascontiguousarray(np.load(path).transpose(1, 2, 0)) for path in sys.argv[1:3])
seconds = {}
for name in sys.argv[3:]:
    start, used = time.perf_counter(), time.process_time()
    metric_functions[name](x, y)
    seconds[name] = min(time.perf_counter() - start, time.process_time() - used)
print(json.dumps(seconds))
"""
"""One run of each metric; most take long, and none keeps anything from one run to the next. They
have one thread: what they used of the processor is what they take on an idle machine."""


def write_pair(folder: Path) -> list[Path]:
    """Bands of smooth land, and the same with noise, float32."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    random = np.random.RandomState(7)
    land = [2000 + 3000 * gaussian_filter(random.standard_normal(SHAPE[1:]), 2) for _ in range(4)]
    x = np.stack(land).clip(1, L)
    y = (x + 40 * random.standard_normal(SHAPE)).clip(1, L)
    paths = [folder / "reference.npy", folder / "test.npy"]
    for path, values in zip(paths, (x, y), strict=True):
        np.save(path, values.astype("float32"))
    return paths


def ours(paths: list[Path]) -> dict[str, tuple[float, float]]:
    """Wall-clock and processor seconds of the best of a few runs, NumPy in and NumPy out."""
    import dask
    import numpy as np
    import xarray as xr

    from decametric import metrics

    x, y = (xr.DataArray(np.load(path), dims=("band", "y", "x")) for path in paths)
    seconds = {}
    with dask.config.set(num_workers=2):
        for name in METRICS:
            needs = {"data_range": L} if name in {"psnr", "ssim", "fsim", "issm"} else {}
            runs = []
            for _ in range(REPEATS):
                start, used = time.perf_counter(), time.process_time()
                getattr(metrics, name)(x, y, **needs)
                runs.append((time.perf_counter() - start, time.process_time() - used))
            seconds[name] = min(runs)
    return seconds


def previous(paths: list[Path]) -> dict[str, float]:
    """Seconds of the previous package, empty if there is none."""
    python = os.environ.get("PREVIOUS_PYTHON")
    if python is None:
        print("PREVIOUS_PYTHON is not set: no comparison with the previous package.", flush=True)
        return {}
    command = [python, "-c", PREVIOUS, *map(str, paths), *METRICS]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tile() -> dict[str, dict]:
    """Seconds and peak memory on a tile, each set of metrics in a process of its own."""
    found = {}
    for name in ("pixel", "default"):
        command = [sys.executable, "-m", "tests.benchmarks.tile", name]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = json.loads(run.stdout)
        print(f"  {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def table(now: dict[str, tuple[float, float]], before: dict[str, float]) -> list[str]:
    """The comparison as lines."""
    lines = [
        "| metric | seconds | of the processor | image-similarity-measures | times faster | goal |",
        "|---|---|---|---|---|---|",
    ]
    for name, (seconds, used) in now.items():
        ratio = f"{before[name] / seconds:.1f}" if name in before else ""
        then = f"{before[name]:.2f}" if name in before else ""
        goal = GOALS.get(name, "")
        lines.append(f"| {name} | {seconds:.2f} | {used:.2f} | {then} | {ratio} | {goal} |")
    return lines


def main() -> None:
    """Score a tile, then compare both packages on one pair."""
    folder, _ = arguments()
    # First, while this process is small: a child begins with the peak of its parent.
    tiles = tile()
    paths = write_pair(folder)
    lines = [
        "## Metrics",
        "",
        "1000 x 1000 pixels, 4 bands, float32, in memory; two threads, wall-clock, best of three.",
        "The previous package has one thread, and is charged the processor time at most.",
        "",
        *table(ours(paths), previous(paths)),
        "",
        "A band of 10980 x 10980 pixels, float32, generated in chunks of 1098; two threads:",
        "",
        "| metrics | minutes | peak GiB | blocks read, of 200 |",
        "|---|---|---|---|",
        *(
            f"| {facts['metrics']} | {facts['seconds'] / 60:.1f} | {facts['peak']:.2f} "
            f"| {facts['reads']} |"
            for facts in tiles.values()
        ),
    ]
    finish({"report": lines})


if __name__ == "__main__":
    main()
