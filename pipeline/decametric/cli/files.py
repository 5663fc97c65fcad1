"""Verbs from a store to files: ``export``."""

from __future__ import annotations

from typing import Any

import click

from decametric import console, options


@click.command(
    epilog=options.example(
        "decametric export out.zarr cogs",
        "decametric export out.zarr cogs --bands B04,B11 --tile 33UUB --time 2024-07 --stacked",
    )
)
@click.argument("store", type=options.PATH)
@click.argument("directory", type=options.PATH)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["cog"]),
    default="cog",
    show_default=True,
    help="Cloud optimised GeoTIFF.",
)
@click.option("--bands", metavar="B04,B11", help="Bands to write.  [default: all]")
@click.option("--tile", metavar="33UUB", help="Tile to write.  [default: all]")
@click.option("--time", metavar="DATE|PERIOD", help="2024-07-28, 2024-07, 2024-06/2024-07-15.")
@click.option("--stacked", is_flag=True, help="All bands of a date in one file.")
@click.option("--overwrite", is_flag=True, help="Write again what is there.")
@options.common
def export(store: str, directory: str, *, as_json: bool, kind: str, **how: Any) -> None:  # noqa: ANN401
    """Write the dates of a store as files that QGIS and every GIS open.

    One file for each tile, date and band, with the integers of the store, their scale and offset,
    and overviews. What is there already is kept.
    """
    how["bands"] = options.read_bands(how["bands"])
    paths = _exported(store, directory, **how)
    if as_json:
        console.show_json({"store": store, "format": kind, "files": paths})
    else:
        click.echo("\n".join(paths))


def check(directory: str) -> None:
    """Refuse what cannot be the folder of the files, before the work."""
    from decametric.store.export import local_folder

    local_folder(directory)


def of_report(
    report: Any,  # noqa: ANN401  (its module is heavy)
    store: str,
    directory: str | None,
    *,
    overwrite: bool,
) -> dict[str, list[str]]:
    """Export the dates that a run finished, if a directory is given: what JSON tells of it."""
    if directory is None:
        return {}
    scenes = [scene for scene in report.scenes if scene.state != "failed"]
    paths: list[str] = []
    for scene in scenes:
        where = {"tile": scene.tile, "time": scene.time[:10]}
        paths += _exported(store, directory, **where, overwrite=overwrite)
    return {"files": paths}


def _exported(store: str, directory: str, **how: Any) -> list[str]:  # noqa: ANN401
    """Write the files, with a progress bar."""
    from decametric.store.export import export as write

    state = [0, 0]

    def progress(*counts: int) -> None:
        state[:] = counts

    with console.progress_bar("export", lambda: (state[0], state[1])):
        return [str(path) for path in write(store, directory, **how, progress=progress)]
