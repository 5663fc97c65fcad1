"""The command line: verbs only, each a thin call of what the library does.

Nothing heavy is imported at the top, so that ``decametric --help`` answers at once. Results go to
standard output, everything else to standard error. Exit codes: 0 done, 1 the work failed, 2 wrong
usage, 130 stopped by the user.
"""

from __future__ import annotations

import sys
import time
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
    )
)
@options.order
@click.option("-o", "--output", required=True, metavar="STORE", help="Path or URL of the Zarr.")
@click.option("--overwrite", is_flag=True, help="Replace the tile where the store has it.")
@options.cluster
def sharpen(items: str, *, as_json: bool, output: str, overwrite: bool, **rest: Any) -> None:  # noqa: ANN401
    """Raise every band of a scene to 10 m and write it to a Zarr store.

    Each tile becomes a group of the store, each day a step of its time. A run that was stopped
    goes on where it was when the same command is given again.
    """
    from decametric.runs.clients import client
    from decametric.runs.scene import DEFAULT_PREDICTOR, by_tile

    where = {key: rest.pop(key) for key in ("workers", "scheduler", "scheduler_file")}
    if rest["predictor"] is None:
        console.note(f"No --predictor given: {DEFAULT_PREDICTOR} interpolation, no network.")
    order = options.read_order(rest)
    groups = by_tile(_read(items))
    try:
        with client(**where):
            reports = [_write(order, each, output, overwrite=overwrite) for each in groups.values()]
    except KeyboardInterrupt:
        console.note("Stopped; give the same command again to go on where it stopped.")
        sys.exit(console.INTERRUPTED)
    if as_json:
        console.show_json({"store": output, "tiles": reports})
        return
    header = ("group", "dates", "bands", "blocks written", "kept", "seconds")
    console.show_table(header, [_row(report) for report in reports])


@cli.command(epilog=options.example("decametric assess catalog.json --predictor bicubic"))
@options.order
@options.cluster
def assess(items: str, *, as_json: bool, **rest: Any) -> None:  # noqa: ANN401
    """Score a predictor on a scene by Wald's protocol; no ground truth is needed.

    The scene is made coarser, sharpened back and compared with the bands that were measured.
    Bilinear and bicubic interpolation stand beside.
    """
    from decametric.evaluation.assess import assess as score
    from decametric.evaluation.report import rows
    from decametric.runs.clients import client
    from decametric.runs.scene import by_tile

    where = {key: rest.pop(key) for key in ("workers", "scheduler", "scheduler_file")}
    order = options.read_order(rest)
    found: dict[str, list[dict[str, Any]]] = {}
    with client(**where):
        for group in by_tile(_read(items)).values():
            predictor = order.open_predictor()
            scene = order.open_scene(group, predictor)
            found[scene.attrs["tile"]] = rows(score(scene, predictor, any_level=order.any_level))
    if as_json:
        console.show_json(found)
        return
    for tile, lines in found.items():
        values = [tuple(line.values()) for line in lines]
        console.show_table(tuple(lines[0]), values, f"{tile}: RMSE in DN by Wald's protocol")


def _write(order: Any, items: list[pystac.Item], output: str, *, overwrite: bool) -> dict[str, Any]:  # noqa: ANN401
    """Sharpen and store one tile; what was done, ready for JSON."""
    from decametric.store.zarr import progress, write

    started = time.monotonic()
    dataset = order.sharpen(items)
    tile = str(dataset.attrs["tile"])
    with console.progress_bar(tile, lambda: progress(output, tile)):
        done = write(dataset, output, overwrite=overwrite)
    return {
        "tile": tile,
        "path": done.path,
        "times": [scene["time"] for scene in dataset.attrs["provenance"]["scenes"]],
        "bands": [str(name) for name in dataset.data_vars],
        "predictor": dataset.attrs["provenance"]["predictor"],
        "blocks_written": done.blocks_written,
        "blocks_skipped": done.blocks_skipped,
        "seconds": round(time.monotonic() - started, 3),
    }


def _row(report: dict[str, Any]) -> tuple[object, ...]:
    """One line of the table that `sharpen` ends with."""
    counts = (len(report["times"]), " ".join(report["bands"]))
    blocks = (report["blocks_written"], report["blocks_skipped"])
    return (report["path"], *counts, *blocks, report["seconds"])


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
