"""Verbs that measure: ``assess``, ``compare``."""

from __future__ import annotations

from typing import Any

import click

from decametric import console, options


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
    from decametric.scenes.reader import load
    from decametric.superres.presets import load_predictor

    where = options.where(rest)
    precision, area = rest["precision"], {key: rest[key] for key in ("bbox", "chunk", "offset")}
    known = named([load_predictor(name, precision=precision) for name in rest["predictors"]])
    how = {"full_resolution": rest["full_resolution"], "any_level": any_level}
    how["metrics"] = rest["metrics"] or METRICS
    scenes = [load(group, **area) for group in by_tile(options.read_items(items)).values()]
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
@click.argument("reference")
@click.argument("test")
@options.metric
@click.option("--data-range", metavar="SPAN", help="Span of possible values; uint8 needs none.")
@click.option("--ratio", type=float, help="Coarse pixel size over fine pixel size, for ergas.")
@click.option("--mask", metavar="RASTER", help="Only pixels count where it is not 0.")
@options.common
def compare(reference: str, test: str, *, as_json: bool, **how: Any) -> None:  # noqa: ANN401
    """Compare two rasters, or the files of two folders by their names.

    Rasters are GeoTIFF, PNG, JPEG or groups of a Zarr store. Every band is compared by itself.
    Pixels without data do not count.
    """
    from decametric.evaluation.compare import compare_all, document, lines

    found = compare_all(reference, test, **how)
    if as_json:
        console.show_json(document(reference, test, found))
        return
    for name, scores in found.items():
        console.show_table(*lines(name, scores))
