"""Options that several verbs share, and what they add up to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pystac

    Function = TypeVar("Function", bound=Callable[..., Any])


def several(*made: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several options as one decorator."""

    def decorate(function: Function) -> Function:
        for option in reversed(made):
            function = option(function)
        return function

    return decorate


def example(*lines: str) -> str:
    r"""The end of a help text; \b keeps click from wrapping it."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


PATH = click.Path()
"""A path or a URL; shells complete it by the names of files."""

METRICS = (
    *("rmse", "mae", "bias", "psnr", "sre", "cc", "ssim", "fsim", "uiq", "scc", "ms_ssim"),
    *("vif", "issm", "sam", "ergas", "q2n", "rase"),
)
"""What --metric takes, so that a shell need not wait for the metrics to be imported."""


def names_or_files(names: Callable[[], Iterable[str]]) -> Callable[..., list[CompletionItem]]:
    """What a shell offers: the names that begin so; where there is none, files and folders."""

    def complete(_context: object, _parameter: object, begun: str) -> list[CompletionItem]:
        fitting = [CompletionItem(name) for name in names() if name.startswith(begun)]
        return fitting or [CompletionItem(begun, type="file")]

    return complete


def predictor_names() -> list[str]:
    """What --predictor takes by name, told without opening a network."""
    shipped = Path(__file__).parent / "superres" / "shipped"
    return ["bicubic", "bilinear", *sorted(folder.name for folder in shipped.glob("*/"))]


def recipe_names() -> list[str]:
    """What --config takes by name."""
    recipes = Path(__file__).parent / "training" / "recipes"
    return sorted(file.stem for file in recipes.glob("*.toml"))


common = several(
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else."),
    click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
)
bbox = click.option(
    "--bbox", nargs=4, type=float, metavar="W S E N", help="Area of interest in degrees."
)
_scene = several(
    click.option("--chunk", type=int, help="Edge of a block.  [default: equal, at most 1098]"),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Arithmetic of networks.",
    ),
    click.option(
        "--orientations",
        type=click.Choice([1, 2, 4, 8]),
        default=1,
        show_default=True,
        help="Mean of networks over so many turned inputs: less error, so many times the cost.",
    ),
    click.option("--offset", type=int, help="Radiometric offset, where an item leaves it open."),
    click.option("--any-level", is_flag=True, help="Take a scene of another level, too."),
    common,
)
order = several(
    click.argument("items", type=PATH),
    bbox,
    click.option(
        "--predictor",
        metavar="NAME|PATH",
        shell_complete=names_or_files(predictor_names),
        help="See `models list`.  [default: the preset of the level]",
    ),
    click.option("--bands", metavar="B11,B12", help="Bands of the result.  [default: all]"),
    click.option("--window", type=int, default=1098, show_default=True, help="Largest window."),
    _scene,
)
metric = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    shell_complete=names_or_files(lambda: METRICS),
    help="rmse, ssim, sam, ...; may be repeated.",
)
assessment = several(
    click.argument("items", type=PATH),
    bbox,
    click.option(
        "--predictor",
        "predictors",
        multiple=True,
        metavar="NAME|PATH",
        shell_complete=names_or_files(predictor_names),
        help="See `models list`; may be repeated.  [default: the preset of the level]",
    ),
    metric,
    click.option("--full-resolution", is_flag=True, help="Judge the 10 m result itself, too."),
    click.option(
        "--report", metavar="DIR", type=PATH, help="Write a page with tables and pictures there."
    ),
    _scene,
)
cluster = several(
    click.option("--workers", type=click.IntRange(1), help="Start worker processes here."),
    click.option("--scheduler", metavar="ADDRESS", help="Use a running Dask cluster."),
    click.option(
        "--scheduler-file", metavar="FILE", type=PATH, help="Use the cluster of this file."
    ),
    click.option("--gpus", is_flag=True, help="Start a worker process for each GPU here."),
    click.option(
        "--cluster", metavar="FILE", type=PATH, help="Start the cluster of a Dask configuration."
    ),
)
_CLUSTER = ("workers", "scheduler", "scheduler_file", "gpus", "cluster")
series = several(
    click.option(
        "-o", "--output", required=True, metavar="STORE", type=PATH, help="Path or URL of the Zarr."
    ),
    click.option("--overwrite", is_flag=True, help="Replace the tiles where the store has them."),
    click.option("--multiscale", is_flag=True, help="Add coarser levels, for viewers."),
    click.option("--export", metavar="DIR", type=PATH, help="Write the dates as COGs there, too."),
    click.option("--dry-run", is_flag=True, help="Tell what would be done; read no pixel."),
    click.option(
        "--in-flight",
        type=click.IntRange(1),
        default=2,
        show_default=True,
        help="Scenes at a time on a cluster.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0),
        default=2,
        show_default=True,
        help="How often what fails is tried again.",
    ),
    click.option(
        "--resources", metavar="GPU=1", help="What a worker must declare to run the network."
    ),
)


def where(given: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `cluster` out of all that were given."""
    return {key: given.pop(key) for key in _CLUSTER}


def read_resources(text: str | None) -> dict[str, float] | None:
    """``"GPU=1"`` as Dask has it; several are separated by blanks or commas."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.replace(",", " ").split()]
    try:
        return {name: float(amount) for name, _, amount in pairs}
    except ValueError:
        message = f"--resources {text!r} is not of the form GPU=1."
        raise click.UsageError(message) from None


def read_bands(text: str | None) -> tuple[str, ...] | None:
    """``"B11,b12"`` as names of bands."""
    from decametric.bands import band_name

    if not text:
        return None
    names = [part.strip() for part in text.split(",")]
    return tuple(name if name == "SCL" else band_name(name) for name in names)


def read_order(wishes: dict[str, Any]) -> Any:  # noqa: ANN401  (its module is heavy)
    """The order that the options add up to; an option that was not given keeps its default."""
    from decametric.runs.scene import Order

    given = {key: value for key, value in wishes.items() if value is not None}
    if "bands" in given:
        given["bands"] = read_bands(given["bands"])
    return Order(**given)


def read_items(items: str) -> list[pystac.Item]:
    """Items of a path, a URL, or standard input."""
    from decametric.scenes import sources

    return sources.read_items(sys.stdin if items == "-" else items)
