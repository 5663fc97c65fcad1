"""Verbs that judge results: ``assess``, ``compare``, ``preview``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from decametric import console, options

if TYPE_CHECKING:
    import xarray as xr


@click.command(
    epilog=options.example(
        "decametric assess catalog.json --predictor bicubic",
        "decametric assess catalog.json --predictor ./ours --predictor ./theirs --report scores",
    )
)
@options.assessment
@options.cluster
def assess(items: str, *, as_json: bool, report: str | None, any_level: bool, **rest: Any) -> None:  # noqa: ANN401
    """Score predictors on scenes by Wald's protocol; no ground truth is needed.

    The scene is made coarser, sharpened back and compared with the bands that were measured.
    Bilinear and bicubic interpolation stand beside. Each date of a tile is scored by itself.
    """
    from decametric.evaluation.assess import METRICS, named
    from decametric.evaluation.page import write_report
    from decametric.evaluation.report import document, lines, score
    from decametric.runs.clients import client
    from decametric.runs.scene import by_tile
    from decametric.scenes.items import level
    from decametric.scenes.reader import load
    from decametric.superres.presets import predictor_for

    where = options.where(rest)
    area = {key: rest[key] for key in ("bbox", "chunk", "offset")}
    network = {key: rest[key] for key in ("precision", "orientations")}
    given = options.read_items(items)
    levels = [level(item) for item in given]
    names = rest["predictors"] or [None]
    known = named([predictor_for(levels, name, **network) for name in names])
    how = {"full_resolution": rest["full_resolution"], "any_level": any_level}
    how["metrics"] = rest["metrics"] or METRICS
    scenes = [load(group, **area) for group in by_tile(given).values()]
    total = sum(len(scene.attrs["provenance"]["scenes"]) for scene in scenes)
    found: list[Any] = []
    with client(**where):
        with console.progress_bar("assess", lambda: (len(found), total)):
            for scene in scenes:
                found.extend(score(scene, known, **how))
        page = report and write_report(report, found, known, any_level=any_level)
    if as_json:
        console.show_json(document(found, known))
        return
    for each in found:
        console.show_table(*lines(each))
    if page:
        click.echo(f"report: {page}")


@click.command(
    epilog=options.example(
        "decametric compare truth.tif result.tif --data-range 10000",
        "decametric compare photos scaled --metric ssim --metric psnr --json",
    )
)
@click.argument("reference", type=options.PATH)
@click.argument("test", type=options.PATH)
@options.metric
@click.option("--data-range", metavar="SPAN", help="Span of possible values; uint8 needs none.")
@click.option("--ratio", type=float, help="Coarse pixel size over fine pixel size, for ergas.")
@click.option(
    "--mask", metavar="RASTER", type=options.PATH, help="Only pixels count where it is not 0."
)
@options.common
def compare(reference: str, test: str, *, as_json: bool, **how: Any) -> None:  # noqa: ANN401
    """Compare two rasters, or the files of two folders by their names.

    Rasters are GeoTIFF, PNG, JPEG or groups of a Zarr store. Every band is compared by itself, with
    the one of the same name where both have the same names. Scale and offset are applied. Pixels
    without data do not count.
    """
    from decametric.evaluation.compare import compare, document, lines, pairs

    todo = pairs(reference, test)
    found: dict[str, Any] = {}
    with console.progress_bar("compare", lambda: (len(found), len(todo))):
        for name, first, second in todo:
            found[name] = compare(first, second, **how)
    if as_json:
        console.show_json(document(reference, test, found))
        return
    for name, scores in found.items():
        console.show_table(*lines(name, scores))


@click.command(
    epilog=options.example(
        "decametric preview out.zarr -o picture.png",
        "decametric preview out.zarr -o picture.png --compare catalog.json --at 11.3 46.5",
    )
)
@click.argument("store", type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=options.PATH,
    help="Picture: .png, .pdf, .svg.",
)
@click.option(
    "--bands", default="B12,B8A,B05", show_default=True, help="Drawn as red, green and blue."
)
@click.option("--tile", help="Tile of the store, where it has several.")
@click.option("--time", metavar="DATE", help="2024-07-28.  [default: the first]")
@click.option(
    "--compare", metavar="ITEMS", type=options.PATH, help="Items to draw beside, interpolated."
)
@click.option("--at", nargs=2, type=float, metavar="LON LAT", help="Centre of the detail.")
@click.option("--size", type=int, default=120, show_default=True, help="Edge of the detail.")
@options.common
def preview(
    store: str,
    *,
    output: str,
    bands: str,
    tile: str | None,
    time: str | None,
    compare: str | None,
    as_json: bool,
    **where: Any,  # noqa: ANN401
) -> None:
    """Draw a detail of a store, pixel by pixel, beside a small map.

    With --compare, what interpolation makes of the items stands beside, with the same colours.
    """
    from decametric.evaluation.panels import save
    from decametric.evaluation.preview import preview as draw
    from decametric.store.reading import open_series

    series = open_series(store, tile)
    drawn = bands.split(",")
    scene = None if compare is None else _scene_of(series, compare, drawn)
    figure = draw(series, drawn, compare=scene, time=time or 0, **where)
    save(figure, output)
    if as_json:
        titles = [axis.get_title() for axis in figure.axes]
        console.show_json({"picture": output, "tile": series.attrs.get("tile"), "drawn": titles})
    else:
        click.echo(f"picture: {output}")


def _scene_of(series: xr.Dataset, items: str, bands: list[str]) -> xr.DataTree:
    """Bands of the scene of the items that are of the tile of a series."""
    from decametric.errors import UsageError
    from decametric.runs.scene import by_tile
    from decametric.scenes.radiometry import STATED
    from decametric.scenes.reader import load

    tiles, wanted = by_tile(options.read_items(items)), series.attrs.get("tile")
    if wanted not in tiles:
        message = f"{items} has no item of tile {wanted}; give those that were sharpened."
        raise UsageError(message)
    # What had to be stated when they were sharpened need not be stated again.
    offsets = {
        offset
        for scene in series.attrs["provenance"]["scenes"]
        for offset, rule in zip(scene.get("offset", ()), scene.get("rule", ()), strict=True)
        if rule == STATED
    }
    return load(tiles[wanted], bands=bands, offset=max(offsets, default=None))
