"""What the documents promise is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import decametric as dm
from decametric.cli import cli
from decametric.testing import synthetic_scene

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.partition(" > ")[0]
    for block in blocks("bash")
    for line in block.splitlines()
    if line.startswith("decametric ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_parses(line):
    words = shlex.split(line, comments=True)[1:]
    command = cli
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


def test_there_are_commands_and_code_to_test():
    assert len(COMMANDS) >= 5
    assert len(blocks("python")) == 1


def test_the_python_block_runs(tmp_path, monkeypatch, capsys):
    synthetic_scene(tmp_path / "demo" / "scene", size=120)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  (our own document)
    assert (tmp_path / "ten.zarr" / "33UUB" / "B11").is_dir()
    assert "bicubic" in capsys.readouterr().out


def test_the_python_block_uses_public_names_only():
    (code,) = blocks("python")
    assert set(re.findall(r"\bdm\.(\w+)", code)) <= set(dm.__all__)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_picture_is_small():
    assert 10_000 < (ROOT / "docs" / "demo.png").stat().st_size < 1_000_000


def test_make_targets_named_in_the_documents_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {t for n in DOCUMENTS for t in re.findall(r"`?make ([a-z]+)\b", (ROOT / n).read_text())}
    assert {"demo", "test", "bench", "lint", "constraints"} <= targets
    assert named & {"demo", "test", "lint", "bench", "constraints", "clean"} <= targets
