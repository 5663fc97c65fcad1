"""Dask tasks for an output block, from COG to Zarr."""

from __future__ import annotations

from tests.benchmarks.common import arguments, finish, preset


def main() -> None:
    """Count them for a real file scene and for a whole tile."""
    import decametric as dm
    from decametric.testing import lazy_scene, synthetic_scene

    folder, _ = arguments()
    path = preset(folder, "tiny", blocks=1, features=8)
    catalog = synthetic_scene(folder / "small", size=600, dates=1)
    scene = dm.load(str(catalog), chunk=60)
    files = dm.explain(scene, dm.load_predictor(path), window=60)
    tile = dm.explain(lazy_scene(10980), dm.load_predictor(path))
    lines = [
        "## Dask tasks for an output block",
        "",
        f"COGs to Zarr, 10 x 10 blocks, 12 bands and SCL: {files.tasks_per_block:.1f}.",
        f"A whole tile, generated: {tile.tasks_per_block:.1f} ({tile.blocks} blocks).",
    ]
    finish({"report": lines})


if __name__ == "__main__":
    main()
