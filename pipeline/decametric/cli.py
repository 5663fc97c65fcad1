"""The command line: verbs only, each a thin call of what the library does.

Nothing heavy is imported at the top, so that ``decametric --help`` answers at once. Results go to
standard output, everything else to standard error. Exit codes: 0 done, 1 the work failed, 2 wrong
usage, 130 stopped by the user.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from decametric import console

if TYPE_CHECKING:
    from collections.abc import Callable

    import pystac

    Function = TypeVar("Function", bound=Callable[..., Any])


def _options(*made: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several options as one decorator."""

    def decorate(function: Function) -> Function:
        for option in reversed(made):
            function = option(function)
        return function

    return decorate


def _example(*lines: str) -> str:
    r"""The end of a help text; \b keeps click from wrapping it."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


_common = _options(
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else."),
    click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
)
_bbox = click.option(
    "--bbox", nargs=4, type=float, metavar="W S E N", help="Area of interest in degrees."
)
_order = _options(
    click.argument("items"),
    _bbox,
    click.option("--predictor", metavar="NAME|PATH", help="See `models list`.  [default: bicubic]"),
    click.option("--bands", metavar="B11,B12", help="Bands of the result.  [default: all]"),
    click.option("--chunk", type=int, default=1098, show_default=True, help="Edge of a block."),
    click.option("--window", type=int, default=1098, show_default=True, help="Largest window."),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Arithmetic of networks.",
    ),
    click.option("--offset", type=int, help="Radiometric offset, where an item leaves it open."),
    click.option("--any-level", is_flag=True, help="Take a scene of another level, too."),
    _common,
)
_cluster = _options(
    click.option("--workers", type=click.IntRange(1), help="Start worker processes here."),
    click.option("--scheduler", metavar="ADDRESS", help="Use a running Dask cluster."),
    click.option("--scheduler-file", metavar="FILE", help="Use the cluster of this file."),
)


@click.group(
    cls=console.Verbs,
    epilog=_example("decametric demo", "decametric sharpen catalog.json -o out.zarr"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="decametric")
def cli() -> None:
    """Every Sentinel-2 band at ten metres.

    ITEMS is a STAC item, item collection, static catalog or collection (path or URL), a .SAFE
    folder or zip, or - for standard input.
    """


@cli.command(
    epilog=_example(
        "decametric search --bbox 11.2 46.4 11.4 46.6 --datetime 2024-07 --max-cloud 20",
        "decametric search --bbox 11.2 46.4 11.4 46.6 --datetime 2024-07-28 --json > found.json",
        "decametric sharpen found.json -o bolzano.zarr --bbox 11.2 46.4 11.4 46.6",
    )
)
@_bbox
@click.option("--intersects", type=click.File(), help="Area as a GeoJSON file.")
@click.option("--datetime", help="Time or period, 2024-07 or 2024-07-01/2024-07-15.")
@click.option("--catalog", default="earth-search", show_default=True, help="Name or URL.")
@click.option("--collection", help="Collection.  [default: that of the catalog and level]")
@click.option("--level", type=click.Choice(["L1C", "L2A"]), default="L2A", show_default=True)
@click.option("--max-cloud", type=float, help="Most clouds, in per cent.")
@click.option("--max-items", type=click.IntRange(1), help="Most items.")
@_common
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


@cli.command(epilog=_example("decametric explain catalog.json --predictor bicubic --chunk 1830"))
@_order
def explain(items: str, *, as_json: bool, **wishes: Any) -> None:  # noqa: ANN401
    """Tell what sharpening would cost: blocks, tasks, bytes, memory. Nothing is computed."""
    from dataclasses import asdict

    from decametric.runs.scene import by_tile

    order = _ordered(wishes)
    plans = {name: order.explain(group) for name, group in by_tile(_read(items)).items()}
    if as_json:
        console.show_json({str(name): asdict(plan) for name, plan in plans.items()})
        return
    for plan in plans.values():
        click.echo(str(plan))


@cli.command(
    epilog=_example(
        "decametric sharpen catalog.json -o out.zarr",
        "decametric sharpen S2A_MSIL2A_20240514.SAFE -o out.zarr --bands B11,B12 --workers 4",
    )
)
@_order
@click.option("-o", "--output", required=True, metavar="STORE", help="Path or URL of the Zarr.")
@click.option("--overwrite", is_flag=True, help="Replace the tile where the store has it.")
@_cluster
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
    order = _ordered(rest)
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


@cli.command(epilog=_example("decametric assess catalog.json --predictor bicubic"))
@_order
@_cluster
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
    order = _ordered(rest)
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


@cli.group(epilog=_example("decametric models list"))
def models() -> None:
    """List, show and import networks."""


@models.command("list", epilog=_example("decametric models list"))
@_common
def models_list(*, as_json: bool) -> None:
    """List what --predictor takes by name."""
    from decametric.superres.presets import list_predictors

    known = list_predictors()
    if as_json:
        console.show_json(known)
    else:
        console.show_table(("name", "what it is"), known.items())


@models.command("show", epilog=_example("decametric models show bicubic"))
@click.argument("name")
@_common
def models_show(name: str, *, as_json: bool) -> None:
    """Show the cards of a preset, by name or path."""
    from decametric.superres.predictor import provenance
    from decametric.superres.presets import load_predictor

    predictor = load_predictor(name)
    facts = {
        **provenance(predictor),
        "level": getattr(predictor, "level", None),
        "bands_in": list(predictor.bands_in),
        "bands_out": list(predictor.bands_out),
        "halo": predictor.halo,
    }
    if as_json:
        console.show_json(facts)
    else:
        console.show_table(("field", "value"), facts.items())


@models.command(
    "import",
    epilog=_example("decametric models import net_2x.hdf5 net_6x.hdf5 -o my-preset --level L1C"),
)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="DIR", help="Preset folder to make.")
@click.option("--level", required=True, type=click.Choice(["L1C", "L2A"]))
@_common
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


@cli.command(epilog=_example("decametric demo -o demo"))
@click.option("-o", "--output", default="demo", show_default=True, metavar="DIR")
@click.option("--size", type=int, default=1800, show_default=True, help="Edge in 10 m pixels.")
@_common
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


@cli.command(epilog=_example("decametric versions --json"))
@_common
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


def _ordered(wishes: dict[str, Any]) -> Any:  # noqa: ANN401  (its module is heavy)
    """The order that the options add up to; an option that was not given keeps its default."""
    from decametric.bands import band_name
    from decametric.runs.scene import Order

    given = {key: value for key, value in wishes.items() if value is not None}
    if bands := given.get("bands"):
        names = [part.strip() for part in bands.split(",")]
        given["bands"] = tuple(n if n == "SCL" else band_name(n) for n in names)
    return Order(**given)


def main() -> NoReturn:
    """Entry point of the command ``decametric``."""
    cli.main(prog_name="decametric")
