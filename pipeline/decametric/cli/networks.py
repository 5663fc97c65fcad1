"""Verbs about networks: ``train``, ``models``."""

from __future__ import annotations

import sys
from typing import Any

import click

from decametric import console, options


@click.command(
    epilog=options.example(
        "decametric train train.json --validation held-out.json --ratio 2 --level L1C -o mine/2x",
        "decametric train catalog.json --config my-recipe.toml -o mine/2x --resume",
        "decametric train mine.json --validation other.json --fine-tune fast-l2a --ratio 6 "
        "--level L2A -o ours/6x",
    )
)
@click.argument("items", required=False, type=options.PATH)
@click.option(
    "--validation", metavar="ITEMS", type=options.PATH, help="Items to choose on, of other places."
)
@click.option(
    "--config",
    metavar="FILE|NAME",
    shell_complete=options.names_or_files(options.recipe_names),
    help="Recipe; options given here go first.",
)
@click.option("--network", help="dsen2, vdsen2, aesr or fast.  [default: dsen2]")
@click.option("--ratio", type=click.Choice(["2", "6"]), help="2: 20 m bands; 6: 60 m bands.")
@click.option("--level", type=click.Choice(["L1C", "L2A"]), help="Level of the scenes.")
@click.option(
    "-o", "--output", required=True, metavar="DIR", type=options.PATH, help="Folder of the bundle."
)
@click.option("--epochs", type=click.IntRange(1), help="Epochs at most.")
@click.option("--resume", is_flag=True, help="Go on where a run in the folder stopped.")
@click.option(
    "--fine-tune",
    metavar="PRESET",
    shell_complete=options.names_or_files(options.predictor_names),
    help="Start from these weights.",
)
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
    scenes = None if items is None else options.read_items(items)
    held_out = None if validation is None else options.read_items(validation)
    if dry_run:
        plan = recipes.plan(recipe, scenes, held_out, fine_tune=fine_tune)
        if as_json:
            console.show_json(plan)
        else:
            console.show_table(("what", "value"), console.facts(plan))
        return
    total = recipe.config.epochs if fine_tune else recipes.epochs(recipe, output)
    before, last = 0, 0  # epochs of the recipe that it starts from, and of the present one

    def tell(epoch: Any) -> None:  # noqa: ANN401  (its module is heavy)
        nonlocal before, last
        before += last if epoch.epoch <= last else 0
        last = epoch.epoch
        console.note(str(epoch))

    order: dict[str, Any] = {"resume": resume, "fine_tune": fine_tune, "tell": tell}
    bar = console.progress_bar("train, epochs:", lambda: (before + last, total))
    try:
        with client(**where), bar:
            card = recipes.follow(recipe, scenes, held_out, output, **order)
    except KeyboardInterrupt:
        begun = recipes.begun(output)
        again = "with --resume to go on after its last epoch" if begun else "again to go on"
        console.note(f"Stopped; give the same command {again}.")
        sys.exit(console.INTERRUPTED)
    if as_json:
        console.show_json(asdict(card))
    else:
        click.echo(f"{output}: {card.name}, {card.ratio}x for {card.level}, {card.sha256[:12]}")


@click.group(epilog=options.example("decametric models list"))
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
@click.argument("name", shell_complete=options.names_or_files(options.predictor_names))
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
        card.get("scores", {}).pop("items", None)  # long; in the JSON
        console.show_table(("field", "value"), console.facts(card))


@models.command(
    "import",
    epilog=options.example(
        "decametric models import net_2x.hdf5 net_6x.hdf5 -o my-preset --level L1C"
    ),
)
@click.argument("files", nargs=-1, required=True, type=options.PATH)
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
