"""Scores of one lazily generated tile: seconds, peak memory and blocks read, as JSON."""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time

EDGE, CHUNK = 10980, 1098
PIXEL = ("rmse", "mae", "bias", "psnr", "sre", "cc")

READS = itertools.count()
"""Counts the blocks that are made; `next` is safe among threads."""


def land(block_id: tuple[int, int], noise: float):
    """One block of reflectance: waves and noise, the latter its own for the test image."""
    import numpy as np

    next(READS)
    rows, columns = (
        np.arange(CHUNK, dtype="float32") + np.float32(CHUNK * place) for place in block_id
    )
    waves = 0.2 + 0.08 * np.sin(columns / 9)[None] * np.cos(rows / 7)[:, None]
    random = np.random.default_rng([*block_id, int(noise * 1e4)])
    return waves + np.float32(noise) * random.standard_normal(waves.shape, dtype="float32")


def image(noise: float):
    """A lazy band."""
    import dask.array as da
    import xarray as xr

    chunks = ((CHUNK,) * (EDGE // CHUNK),) * 2
    meta = {"dtype": "float32", "chunks": chunks}
    return xr.DataArray(da.map_blocks(land, noise=noise, **meta), dims=("y", "x"))


def main() -> None:
    """Score the tile with the set of metrics that is named on the command line."""
    import dask

    from decametric.metrics import scores

    wanted = PIXEL if sys.argv[1] == "pixel" else None
    found = scores(image(0.002), image(0.004), wanted, data_range="reflectance")
    before = next(READS)  # Dask calls a function once or not at all to learn what it returns
    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=2):
        values = found.compute()
    seconds = time.perf_counter() - start
    facts = {
        "metrics": ", ".join(map(str, values)),
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "reads": next(READS) - before - 1,
        "values": {str(name): float(value) for name, value in values.items()},
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
