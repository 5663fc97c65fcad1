"""The command line: verbs only, each a thin call of what the library does.

Nothing heavy is imported at the top, so that ``decametric --help`` answers at once. Results go to
standard output, everything else to standard error. Exit codes: 0 done, 1 the work failed, 2 wrong
usage, 130 stopped by the user.
"""

from __future__ import annotations

from typing import NoReturn

import click

from decametric import __version__, console, options
from decametric.cli import about, files, networks, quality, scenes

COMPLETION = """

\b
Completion with the tab key: a line for ~/.bashrc, for zsh and fish likewise:
  eval "$(_DECAMETRIC_COMPLETE=bash_source decametric)"
"""


@click.group(
    cls=console.Verbs,
    epilog=options.example("decametric demo", "decametric sharpen catalog.json -o out.zarr")
    + COMPLETION,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
def cli() -> None:
    """Every Sentinel-2 band at ten metres.

    ITEMS is a STAC item, item collection, static catalog or collection (path or URL), a .SAFE
    folder or zip, an EOPF product (.zarr or .zarr.zip), or - for standard input.
    """


for verb in (
    scenes.search,
    scenes.explain,
    scenes.sharpen,
    quality.assess,
    quality.compare,
    files.export,
    quality.preview,
    networks.train,
    networks.models,
    about.demo,
    about.versions,
):
    cli.add_command(verb)


def main() -> NoReturn:
    """Entry point of the command ``decametric``."""
    cli.main(prog_name="decametric")
