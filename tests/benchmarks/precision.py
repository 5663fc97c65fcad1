"""bfloat16 against float32: time of a forward pass, and how far the results lie apart."""

from __future__ import annotations

import numpy as np
from tests.benchmarks.common import arguments, clock, finish, preset

SIZE = 1098


def main() -> None:
    """Sharpen one synthetic window in both."""
    import decametric as dm
    from decametric.testing import lazy_scene

    path = preset(arguments()[0])
    scene = lazy_scene(SIZE).map_over_datasets(lambda ds: ds.compute())
    times: dict[str, float] = {}
    results = {}
    for precision in ("float32", "bfloat16"):
        predictor = dm.load_predictor(path, precision=precision)
        bands = list(predictor.bands_out)
        with clock(times, precision):
            results[precision] = dm.sharpen(scene, predictor, bands=bands).to_array().compute()
    gap = np.abs(results["bfloat16"] - results["float32"]).values * 1e4
    ratio = times["bfloat16"] / times["float32"]
    mean, tail, most = np.nanmean(gap), np.nanpercentile(gap, 99.9), np.nanmax(gap)
    lines = [
        f"## bfloat16 against float32 (dsen2 2x and 6x, {SIZE} x {SIZE}, consistency on)",
        "",
        f"Time: {ratio:.2f} of float32, opening the networks included.",
        f"Deviation: mean {mean:.3f} DN, 99.9th percentile {tail:.2f} DN, largest {most:.2f} DN.",
        "Random weights make corrections as large as the signal; trained ones deviate less.",
    ]
    finish({"report": lines})


if __name__ == "__main__":
    main()
