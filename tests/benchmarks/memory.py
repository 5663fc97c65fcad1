"""Peak memory of one worker process, for a scene and for one eleven times as large."""

from __future__ import annotations

import resource

from tests.benchmarks.common import arguments, clock, finish, preset

SIZES = (3294, 10980)


def peak() -> float:
    """Peak resident memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Run each size on a fresh worker of two threads."""
    import decametric as dm
    from dask.distributed import Client, LocalCluster
    from decametric.testing import lazy_scene

    folder, _ = arguments()
    path = preset(folder, "tiny", blocks=1, features=8)
    found, times = {}, {}
    for size in SIZES:
        with (
            LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
            Client(cluster) as client,
            clock(times, f"{size}"),
        ):
            ten = dm.sharpen(lazy_scene(size), dm.load_predictor(path))
            dm.write(ten, str(folder / f"{size}.zarr"))
            found[size] = max(client.run(peak).values())
    small, large = (found[size] for size in SIZES)
    lines = [
        "## Memory of a worker (two threads, chunk 1098, a tiny network)",
        "",
        "| scene | peak GiB | minutes |",
        "|---|---|---|",
        *(f"| {s} x {s} | {found[s]:.2f} | {times[str(s)] / 60:.1f} |" for s in SIZES),
        "",
        f"Ratio {large / small:.2f}.",
    ]
    finish({"report": lines})


if __name__ == "__main__":
    main()
