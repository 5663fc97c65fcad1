"""The trade-off of window and halo: nanoseconds for a delivered pixel, by window edge."""

from __future__ import annotations

import time

import numpy as np
from tests.benchmarks.common import arguments, finish, preset

EDGES = (96, 186, 366, 546, 732, 1098, 1650)
HALO = 18  # of the bare network: radius 14 and the upsampling


def main() -> None:
    """Time one forward pass of the 2x network at every window edge."""
    from decametric.superres.networks import run
    from decametric.superres.presets import load_predictor, open_network

    part = load_predictor(preset(arguments()[0]), consistency=False).parts[0]
    model = open_network(part.path, part.card.sha256)
    lines = [
        "## Window of the predictor",
        "",
        "One forward pass of dsen2 2x (6 blocks, 128 features, float32), halo 18:",
        "",
        "| window (10 m pixels) | ns per computed pixel | ns per delivered pixel |",
        "|---|---|---|",
    ]
    cost = {}
    for edge in EDGES:
        full = edge + 2 * HALO
        inputs = [np.random.default_rng(0).random((1, full, full, n), np.float32) for n in (4, 6)]
        run(model, inputs)
        repeats = max(1, 600**2 // edge**2)
        start = time.perf_counter()
        for _ in range(repeats):
            run(model, inputs)
        seconds = (time.perf_counter() - start) / repeats
        cost[edge] = seconds / edge**2 * 1e9
        lines.append(f"| {edge} | {seconds / full**2 * 1e9:.0f} | {cost[edge]:.0f} |")
    best = min(cost, key=cost.get)
    finish({"report": lines, "best": best})
    (arguments()[0] / "best-window.txt").write_text(str(best))


if __name__ == "__main__":
    main()
