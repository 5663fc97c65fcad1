"""Verbs from scenes to a store: ``search``, ``explain``, ``sharpen``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from decametric import console, options
from decametric.cli import files

if TYPE_CHECKING:
    from typing import IO

    import pystac


@click.command(
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
    from decametric.scenes.catalogs import search as find

    if intersects is not None:
        query["intersects"] = _shape(intersects)
    items = find(**query)
    if as_json:
        features = [item.to_dict(transform_hrefs=False) for item in items]
        console.show_json({"type": "FeatureCollection", "features": features})
        return
    rows = [(i.id, i.datetime, i.properties.get("eo:cloud_cover", "")) for i in items]
    console.show_table(("item", "time", "clouds %"), rows)


def _shape(file: IO[str]) -> dict[str, Any]:
    """The GeoJSON in a file."""
    import json

    try:
        document = json.load(file)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        message = (
            f"--intersects {file.name} is no GeoJSON; give a geometry or a feature collection."
        )
        raise click.UsageError(message)
    return document


@click.command(
    epilog=options.example("decametric explain catalog.json --predictor bicubic --chunk 1830")
)
@options.order
def explain(items: str, *, as_json: bool, **wishes: Any) -> None:  # noqa: ANN401
    """Tell what sharpening would cost: blocks, tasks, bytes, memory. Nothing is computed."""
    from dataclasses import asdict, replace

    from decametric.errors import UsageError
    from decametric.runs.scene import by_tile

    given = options.read_items(items)
    order = options.read_order(wishes)
    order = replace(order, predictor=order.open_predictor(given))
    plans, refused = {}, dict[str, UsageError]()
    for name, group in by_tile(given).items():
        try:
            plans[name] = order.explain(group)
        except UsageError as error:  # the area may touch some of the tiles only
            refused[name] = error
    if not plans:
        raise next(iter(refused.values()))
    if as_json:
        console.show_json({name: asdict(plan) for name, plan in plans.items()})
    else:
        click.echo("\n".join(str(plan) for plan in plans.values()))
    for name, why in refused.items():
        console.note(f"{name}: {why}")


@click.command(
    epilog=options.example(
        "decametric sharpen catalog.json -o out.zarr",
        "decametric sharpen S2A_MSIL2A_20240514.SAFE -o out.zarr --bands B11,B12 --workers 4",
        "decametric sharpen S2A_MSIL2A_20240514.zip -o out.zarr --bands B11 --export cogs",
        "decametric sharpen found.json -o s3://bucket/out.zarr --cluster slurm.yaml --in-flight 4",
    )
)
@options.order
@options.series
@options.cluster
def sharpen(
    items: str,
    *,
    as_json: bool,
    output: str,
    dry_run: bool,
    export: str | None,
    **rest: Any,  # noqa: ANN401
) -> None:
    """Raise every band of scenes to 10 m and write them to a Zarr store.

    Each tile becomes a group of the store, each day a step of its time; any number of both. A run
    that was stopped goes on where it was when the same command is given again. A scene that fails
    is reported at the end and does not stop the others.
    """
    from decametric.runs.plans import plan_series
    from decametric.runs.report import HEADER, PLAN_HEADER

    where = options.where(rest)
    how = {key: rest.pop(key) for key in ("in_flight", "retries", "overwrite", "multiscale")}
    how["resources"] = options.read_resources(rest.pop("resources"))
    order = options.read_order(rest)
    found = options.read_items(items)
    if export is not None:
        files.check(export)
    if dry_run:
        plans = plan_series(found, output, order)
        if as_json:
            console.show_json({"store": output, "scenes": [plan.as_json() for plan in plans]})
        else:
            console.show_table(PLAN_HEADER, [plan.row() for plan in plans])
        return
    report = _run(found, output, order, where, how)
    written: dict[str, list[str]] = {}
    try:
        written = files.of_report(report, output, export, overwrite=how["overwrite"])
    finally:
        # What was sharpened is told even if its export failed.
        if as_json:
            console.show_json({"store": output, **report.as_json(), **written})
        else:
            console.show_table(HEADER, report.rows())
            click.echo(report.summary)
            click.echo("".join(f"{path}\n" for path in written.get("files", ())), nl=False)
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
    name = next(iter(tiles)) if len(tiles) == 1 else f"{len(tiles)} tiles"
    state: list[int] = [0, 0]
    ended: list[Any] = []

    def progress(*counts: int) -> None:
        state[:] = counts

    def label() -> str:
        return f"{name}, scenes done: {len(ended)}, blocks:"

    try:
        with (
            client(**where, network=str(order.predictor) not in INTERPOLATIONS),
            console.progress_bar(label, lambda: (state[0], state[1])),
        ):
            how |= {"progress": progress, "tell": ended.append}
            return run_series(items, output, **wishes, **how)
    except KeyboardInterrupt:
        again = "without --overwrite" if how["overwrite"] else "again"
        console.note(f"Stopped; give the same command {again} to go on where it stopped.")
        sys.exit(console.INTERRUPTED)
