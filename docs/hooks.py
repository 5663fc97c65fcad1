# ruff: noqa: INP001  (scripts of the site, no package)
"""What the site takes from the repository: its documents, the recipes, and the help of each verb.

The documents keep their names and places, so that their relative links lead where they lead in the
repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from mkdocs.structure.files import File

from decametric.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
TAKEN = ("[A-Z]*[A-Z].md", "LICENSE", "cluster/**/*")
"""Files of the repository that are part of the site; README.md is for the repository alone."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is taken and what is made."""
    for path in (path for pattern in TAKEN for path in sorted(ROOT.glob(pattern))):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and name != "README.md":
            files.append(File.generated(config, name, abs_src_path=str(path)))
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    return files


def command_line() -> str:
    """The reference of the command line: what ``--help`` prints, verb by verb."""
    parts = [
        "# Command line",
        "What `decametric --help` and `decametric VERB --help` print.",
    ]
    top = click.Context(cli, info_name="decametric", terminal_width=88, **cli.context_settings)
    for context in verbs(top):
        parts += [f"## {context.command_path}", f"```text\n{context.get_help()}\n```"]
    return "\n\n".join(parts) + "\n"


def verbs(context: click.Context) -> Iterator[click.Context]:
    """A command and all below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            yield from verbs(click.Context(command, parent=context, info_name=name))
