"""Options that several verbs share, and what they add up to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

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
    click.option("--offset", type=int, help="Radiometric offset, where an item leaves it open."),
    click.option("--any-level", is_flag=True, help="Take a scene of another level, too."),
    common,
)
order = several(
    click.argument("items"),
    bbox,
    click.option("--predictor", metavar="NAME|PATH", help="See `models list`.  [default: bicubic]"),
    click.option("--bands", metavar="B11,B12", help="Bands of the result.  [default: all]"),
    click.option("--window", type=int, default=1098, show_default=True, help="Largest window."),
    _scene,
)
metric = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="rmse, ssim, sam, ...; may be repeated.",
)
assessment = several(
    click.argument("items"),
    bbox,
    click.option(
        "--predictor",
        "predictors",
        multiple=True,
        default=["bicubic"],
        metavar="NAME|PATH",
        help="See `models list`; may be repeated.  [default: bicubic]",
    ),
    metric,
    click.option("--full-resolution", is_flag=True, help="Judge the 10 m result itself, too."),
    click.option("--report", metavar="DIR", help="Write a page with tables and pictures there."),
    _scene,
)
cluster = several(
    click.option("--workers", type=click.IntRange(1), help="Start worker processes here."),
    click.option("--scheduler", metavar="ADDRESS", help="Use a running Dask cluster."),
    click.option("--scheduler-file", metavar="FILE", help="Use the cluster of this file."),
    click.option("--gpus", is_flag=True, help="Start a worker process for each GPU here."),
    click.option("--cluster", metavar="FILE", help="Start the cluster of a Dask configuration."),
)
_CLUSTER = ("workers", "scheduler", "scheduler_file", "gpus", "cluster")
series = several(
    click.option("-o", "--output", required=True, metavar="STORE", help="Path or URL of the Zarr."),
    click.option("--overwrite", is_flag=True, help="Replace the tiles where the store has them."),
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


def read_order(wishes: dict[str, Any]) -> Any:  # noqa: ANN401  (its module is heavy)
    """The order that the options add up to; an option that was not given keeps its default."""
    from decametric.bands import band_name
    from decametric.runs.scene import Order

    given = {key: value for key, value in wishes.items() if value is not None}
    if bands := given.get("bands"):
        names = [part.strip() for part in bands.split(",")]
        given["bands"] = tuple(n if n == "SCL" else band_name(n) for n in names)
    return Order(**given)


def read_items(items: str) -> list[pystac.Item]:
    """Items of a path, a URL, or standard input."""
    from decametric.scenes import sources

    return sources.read_items(sys.stdin if items == "-" else items)
