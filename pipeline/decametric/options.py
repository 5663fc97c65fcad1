"""Options that several verbs share, and what they add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

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
order = several(
    click.argument("items"),
    bbox,
    click.option("--predictor", metavar="NAME|PATH", help="See `models list`.  [default: bicubic]"),
    click.option("--bands", metavar="B11,B12", help="Bands of the result.  [default: all]"),
    click.option("--chunk", type=int, help="Edge of a block.  [default: equal, at most 1098]"),
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
    common,
)
cluster = several(
    click.option("--workers", type=click.IntRange(1), help="Start worker processes here."),
    click.option("--scheduler", metavar="ADDRESS", help="Use a running Dask cluster."),
    click.option("--scheduler-file", metavar="FILE", help="Use the cluster of this file."),
)


def read_order(wishes: dict[str, Any]) -> Any:  # noqa: ANN401  (its module is heavy)
    """The order that the options add up to; an option that was not given keeps its default."""
    from decametric.bands import band_name
    from decametric.runs.scene import Order

    given = {key: value for key, value in wishes.items() if value is not None}
    if bands := given.get("bands"):
        names = [part.strip() for part in bands.split(",")]
        given["bands"] = tuple(n if n == "SCL" else band_name(n) for n in names)
    return Order(**given)
