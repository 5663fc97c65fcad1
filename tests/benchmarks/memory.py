"""Peak memory of one worker process, for a scene and for one eleven times as large."""

from __future__ import annotations

import resource

from tests.benchmarks.common import arguments, clock, finish, preset

SIZES = (3294, 10980)


def peak() -> float:
    """Peak resident memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def pixels(block_id: tuple[int, int, int], edge: int, band: int):
    """One block of one band: cheap, so that the pipeline is measured and not the land."""
    import numpy as np

    rows = np.arange(edge, dtype=np.float32)[:, None] + block_id[1] * edge
    cols = np.arange(edge, dtype=np.float32)[None] + block_id[2] * edge
    return ((7 * rows + 3 * cols + band) % 4001 * np.float32(1e-4))[None]


def scene(size: int):
    """A lazy scene with one task for each band and block, as a read from files has."""
    import dask.array as da
    import numpy as np
    import xarray as xr
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    from decametric.bands import NETWORK_BANDS, group
    from decametric.grid import nested

    boxes = nested(GeoBox((size // 6,) * 2, Affine(60, 0, 3e5, 0, -60, 6.2e6), "EPSG:32633"))
    children = {}
    for resolution, bands in NETWORK_BANDS.items():
        edge = 1098 * 10 // resolution
        chunks = ((1,), (edge,) * (size // 1098), (edge,) * (size // 1098))
        coords = {"time": np.array(["2024-06-01"], "M8[ns]"), **xr_coords(boxes[resolution])}
        data = {
            band: (
                ("time", "y", "x"),
                da.map_blocks(pixels, edge=edge, band=n, chunks=chunks, dtype=np.float32),
            )
            for n, band in enumerate(bands)
        }
        children[group(resolution)] = xr.Dataset(data, coords)
    provenance = {"scenes": [{"time": "2024-06-01T00:00:00Z"}]}
    attrs = {"level": "L2A", "tile": "33UUB", "provenance": provenance}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **children})


def main() -> None:
    """Run each size on a fresh worker of two threads."""
    from dask.distributed import Client, LocalCluster

    import decametric as dm

    folder, _ = arguments()
    path = preset(folder, "tiny", blocks=1, features=8)
    found, times = {}, {}
    for size in SIZES:
        with (
            LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
            Client(cluster) as client,
            clock(times, f"{size}"),
        ):
            ten = dm.sharpen(scene(size), dm.load_predictor(path))
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
