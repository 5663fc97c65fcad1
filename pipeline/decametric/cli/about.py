"""Verbs about the package itself: ``demo``, ``versions``."""

from __future__ import annotations

import click

from decametric import console, options


@click.command(epilog=options.example("decametric demo -o demo"))
@click.option("-o", "--output", default="demo", show_default=True, metavar="DIR")
@click.option("--size", type=int, default=1200, show_default=True, help="Edge in 10 m pixels.")
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


@click.command(epilog=options.example("decametric versions --json"))
@options.common
def versions(*, as_json: bool) -> None:
    """Show versions, for bug reports."""
    from decametric.versions import show_versions

    found = show_versions()
    if as_json:
        console.show_json(found)
    else:
        console.show_table(("library", "version"), found.items())
