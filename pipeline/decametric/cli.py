"""The command line: verbs only, each a thin call of what the library does.

Nothing heavy is imported at the top, so that ``decametric --help`` answers at once. Results go to
standard output, everything else to standard error. Exit codes: 0 done, 1 the work failed, 2 wrong
usage, 130 stopped by the user.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from decametric import __version__, console, options

if TYPE_CHECKING:
    import pystac


@click.group(
    cls=console.Verbs,
    epilog=options.example("decametric demo", "decametric sharpen catalog.json -o out.zarr"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
def cli() -> None:
    """Every Sentinel-2 band at ten metres.

    ITEMS is a STAC item, item collection, static catalog or collection (path or URL), a .SAFE
    folder or zip, or - for standard input.
    """


@cli.command(
    epilog=options.example(
        "decametric search --bbox 11.2 46.4 11.4 46.6 --datetime 2024-07 --max-cloud 20",
        "decametric search --bbox 11.2 46.4 11.4 46.6 --datetime 2024-07-28 --json > found.json",
        "decametric sharpen found.json -o bolzano.zarr --bbox 11.2 46.4 11.4 46.6",
    )
)
@options.bbox
@click.option("--intersects", type=click.File(), help="Area as a GeoJSON file.")
@click.option("--datetime", help="Time or period, 2024-07 or 2024-07-01/2024-07-15.")
@click.option("--catalog", default="earth-search", show_default=True, help="Name or URL.")
@click.option("--collection", help="Collection.  [default: that of the catalog and level]")
@click.option("--level", type=click.Choice(["L1C", "L2A"]), default="L2A", show_default=True)
@click.option("--max-cloud", type=float, help="Most clouds, in per cent.")
@click.option("--max-items", type=click.IntRange(1), help="Most items.")
@options.common
def search(*, as_json: bool, intersects: Any, **query: Any) -> None:  # noqa: ANN401
    """Find scenes in a STAC catalog.

    With --json the found items can be piped into the other verbs, which take - for them.
    """
    import json

    from decametric.scenes.catalogs import search as find

    if intersects is not None:
        query["intersects"] = json.load(intersects)
    items = find(**query)
    if as_json:
        features = [item.to_dict(transform_hrefs=False) for item in items]
        console.show_json({"type": "FeatureCollection", "features": features})
        return
    rows = [(i.id, i.datetime, i.properties.get("eo:cloud_cover", "")) for i in items]
    console.show_table(("item", "time", "clouds %"), rows)


@cli.command(
    epilog=options.example("decametric explain catalog.json --predictor bicubic --chunk 1830")
)
@options.order
def explain(items: str, *, as_json: bool, **wishes: Any) -> None:  # noqa: ANN401
    """Tell what sharpening would cost: blocks, tasks, bytes, memory. Nothing is computed."""
    from dataclasses import asdict

    from decametric.runs.scene import by_tile

    order = options.read_order(wishes)
    plans = {name: order.explain(group) for name, group in by_tile(_read(items)).items()}
    if as_json:
        console.show_json({str(name): asdict(plan) for name, plan in plans.items()})
        return
    for plan in plans.values():
        click.echo(str(plan))


@cli.command(
    epilog=options.example(
        "decametric sharpen catalog.json -o out.zarr",
        "decametric sharpen S2A_MSIL2A_20240514.SAFE -o out.zarr --bands B11,B12 --workers 4",
        "decametric sharpen found.json -o s3://bucket/out.zarr --cluster slurm.yaml --in-flight 4",
    )
)
@options.order
@options.series
@options.cluster
def sharpen(items: str, *, as_json: bool, output: str, dry_run: bool, **rest: Any) -> None:  # noqa: ANN401
    """Raise every band of scenes to 10 m and write them to a Zarr store.

    Each tile becomes a group of the store, each day a step of its time; any number of both. A run
    that was stopped goes on where it was when the same command is given again. A scene that fails
    is reported at the end and does not stop the others.
    """
    from decametric.runs.plans import plan_series
    from decametric.runs.report import HEADER, PLAN_HEADER
    from decametric.runs.scene import DEFAULT_PREDICTOR

    if rest["predictor"] is None:
        console.note(f"No --predictor given: {DEFAULT_PREDICTOR} interpolation, no network.")
    where = options.where(rest)
    how = {key: rest.pop(key) for key in ("in_flight", "retries", "overwrite")}
    how["resources"] = options.read_resources(rest.pop("resources"))
    order = options.read_order(rest)
    found = _read(items)
    if dry_run:
        plans = plan_series(found, output, order)
        if as_json:
            console.show_json({"store": output, "scenes": [plan.as_json() for plan in plans]})
        else:
            console.show_table(PLAN_HEADER, [plan.row() for plan in plans])
        return
    report = _run(found, output, order, where, how)
    if as_json:
        console.show_json({"store": output, **report.as_json()})
    else:
        console.show_table(HEADER, report.rows())
        click.echo(report.summary)
    if not report.ok:
        sys.exit(1)


def _run(
    items: list[pystac.Item],
    output: str,
    order: Any,  # noqa: ANN401  (its module is heavy)
    where: dict[str, Any],
    how: dict[str, Any],
) -> Any:  # noqa: ANN401
    """Run a series on the cluster that was asked for, with a progress bar."""
    from decametric.runs.clients import client
    from decametric.runs.series import run_series
    from decametric.scenes.items import tile
    from decametric.superres.presets import INTERPOLATIONS

    wishes = {name: getattr(order, name) for name in order.__dataclass_fields__}
    tiles = {tile(item) or "?" for item in items}
    label = next(iter(tiles)) if len(tiles) == 1 else f"{len(tiles)} tiles"
    state = [0, 0]

    def progress(*counts: int) -> None:
        state[:] = counts

    try:
        with (
            client(**where, network=str(order.predictor) not in INTERPOLATIONS),
            console.progress_bar(label, lambda: (state[0], state[1])),
        ):
            return run_series(items, output, **wishes, **how, progress=progress)
    except KeyboardInterrupt:
        console.note("Stopped; give the same command again to go on where it stopped.")
        sys.exit(console.INTERRUPTED)


@cli.command(
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
    scenes = [load(group, **area) for group in by_tile(_read(items)).values()]
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


@cli.command(
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


@cli.command(
    epilog=options.example(
        "decametric train train.json --validation held-out.json --ratio 2 --level L1C -o mine/2x",
        "decametric train catalog.json --config fast-l1c-2x -o mine/2x --resume",
        "decametric train mine.json --validation other.json --fine-tune fast-l2a --ratio 6 "
        "--level L2A -o ours/6x",
    )
)
@click.argument("items", required=False)
@click.option("--validation", metavar="ITEMS", help="Items to choose on, of other places.")
@click.option("--config", metavar="FILE|NAME", help="Recipe; options given here go first.")
@click.option("--network", help="dsen2, vdsen2, aesr or fast.  [default: dsen2]")
@click.option("--ratio", type=click.Choice(["2", "6"]), help="2: 20 m bands; 6: 60 m bands.")
@click.option("--level", type=click.Choice(["L1C", "L2A"]), help="Level of the scenes.")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder of the bundle.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs at most.")
@click.option("--resume", is_flag=True, help="Go on where a run in the folder stopped.")
@click.option("--fine-tune", metavar="PRESET", help="Start from these weights.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done; read no pixel.")
@options.cluster
@options.common
def train(
    items: str | None,
    *,
    validation: str | None,
    config: str | None,
    output: str,
    resume: bool,
    fine_tune: str | None,
    dry_run: bool,
    as_json: bool,
    **rest: Any,  # noqa: ANN401
) -> None:
    """Train a network on scenes, choose it on others, and save it as a bundle.

    Every scene is made coarser (Wald's protocol), so that its own bands are the truth. Without
    ITEMS the products that the recipe names are searched for.
    """
    from dataclasses import asdict

    from decametric.runs.clients import client
    from decametric.training import recipe as recipes

    where = options.where(rest)
    if rest["ratio"] is not None:
        rest["ratio"] = int(rest["ratio"])
    recipe = recipes.open_recipe(config, **{k: v for k, v in rest.items() if v is not None})
    scenes = None if items is None else _read(items)
    held_out = None if validation is None else _read(validation)
    if dry_run:
        plan = recipes.plan(recipe, scenes, held_out)
        if as_json:
            console.show_json(plan)
        else:
            console.show_table(("what", "value"), recipes.rows(plan))
        return
    with client(**where):
        card = recipes.follow(
            recipe,
            scenes,
            held_out,
            output,
            resume=resume,
            fine_tune=fine_tune,
            tell=lambda epoch: console.note(str(epoch)),
        )
    if as_json:
        console.show_json(asdict(card))
    else:
        click.echo(f"{output}: {card.name}, {card.ratio}x for {card.level}, {card.sha256[:12]}")


@cli.group(epilog=options.example("decametric models list"))
def models() -> None:
    """List, show and import networks."""


@models.command("list", epilog=options.example("decametric models list"))
@options.common
def models_list(*, as_json: bool) -> None:
    """List what --predictor takes by name."""
    from decametric.superres.presets import list_predictors

    known = list_predictors()
    if as_json:
        console.show_json(known)
    else:
        console.show_table(("name", "what it is"), known.items())


@models.command("show", epilog=options.example("decametric models show bicubic"))
@click.argument("name")
@options.common
def models_show(name: str, *, as_json: bool) -> None:
    """Show the cards of a preset, by name or path."""
    from dataclasses import asdict

    from decametric.superres.presets import INTERPOLATIONS, load_predictor, preset_folder, read_card

    predictor = load_predictor(name)
    facts = {"name": name, "halo": predictor.halo, "bands_out": list(predictor.bands_out)}
    folders = [] if name in INTERPOLATIONS else sorted(preset_folder(name).glob("[26]x"))
    cards = [asdict(read_card(folder)) for folder in folders]
    if as_json:
        console.show_json({**facts, "bundles": cards})
        return
    for card in cards or [{**facts, "about": "interpolation, no weights"}]:
        console.show_table(("field", "value"), [(k, v) for k, v in card.items() if v != ""])


@models.command(
    "import",
    epilog=options.example(
        "decametric models import net_2x.hdf5 net_6x.hdf5 -o my-preset --level L1C"
    ),
)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="DIR", help="Preset folder to make.")
@click.option("--level", required=True, type=click.Choice(["L1C", "L2A"]))
@options.common
def models_import(files: tuple[str, ...], *, output: str, level: str, as_json: bool) -> None:
    """Convert published Keras 2 weights (HDF5) of the DSen2 family to a preset."""
    from dataclasses import asdict

    from decametric.superres.legacy import import_preset

    cards = import_preset(files, output, level=level)
    if as_json:
        console.show_json({"preset": output, "bundles": [asdict(card) for card in cards]})
        return
    for card in cards:
        click.echo(f"{output}/{card.ratio}x: {card.name} for {card.level}, halo {card.halo}")


@cli.command(epilog=options.example("decametric demo -o demo"))
@click.option("-o", "--output", default="demo", show_default=True, metavar="DIR")
@click.option("--size", type=int, default=1800, show_default=True, help="Edge in 10 m pixels.")
@options.common
def demo(*, output: str, size: int, as_json: bool) -> None:
    """Make a synthetic scene, sharpen it, score it, draw it."""
    from decametric.demo import run

    result = run(output, size=size, say=console.note)
    if as_json:
        console.show_json(result.as_json())
        return
    console.show_table(*result.table())
    for label, path in result.places().items():
        click.echo(f"{label}: {path}")


@cli.command(epilog=options.example("decametric versions --json"))
@options.common
def versions(*, as_json: bool) -> None:
    """Show versions, for bug reports."""
    from decametric.versions import show_versions

    found = show_versions()
    if as_json:
        console.show_json(found)
    else:
        console.show_table(("library", "version"), found.items())


def _read(items: str) -> list[pystac.Item]:
    """Items of a path, a URL, or standard input."""
    from decametric.scenes.sources import read_items

    return read_items(sys.stdin if items == "-" else items)


def main() -> NoReturn:
    """Entry point of the command ``decametric``."""
    cli.main(prog_name="decametric")
