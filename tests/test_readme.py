"""What the documents promise is true.

Every line of a ``bash`` block that begins with ``decametric`` must parse. The ``python`` blocks of
a page are run one after the other in an empty folder that holds the scene of ``decametric demo``,
unless they begin with the comment ``# Needs ...``; so are the other command lines of the tutorial.
A ``text`` block that follows is what was printed, but for the width of its gaps.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from textwrap import dedent

import click
import pytest
from click.testing import CliRunner

import decametric as dm
from decametric.cli import cli
from decametric.testing import synthetic_scene

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
TUTORIAL = "docs/tutorial.md"
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def blocks(page):
    """Language and text of every block of code."""
    found = FENCE.findall((ROOT / page).read_text())
    return [(language, dedent(text)) for _, language, text in found]


def commands(text):
    """Command lines of ours in a block, without pipes, redirections and variables."""
    whole = text.replace("\\\n", " ")
    parts = [part.strip() for line in whole.splitlines() for part in re.split(r" [|>] ", line)]
    return [re.sub(r"^[A-Z_]+=\S+ ", "", part) for part in parts if "decametric " in part]


def words(line):
    """Arguments of a command line; None if it is of another program."""
    name, *rest = shlex.split(line, comments=True) or [""]
    return rest if name == "decametric" else None


COMMANDS = sorted(
    {
        line
        for page in PAGES
        for language, text in blocks(page)
        if language == "bash"
        for line in commands(text)
        if words(line) is not None
    }
)
RUNNABLE = [page for page in PAGES if any(language == "python" for language, _ in blocks(page))]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The scene that ``decametric demo --size 180`` makes."""
    folder = tmp_path_factory.mktemp("demo")
    synthetic_scene(folder / "scene", size=180)
    return folder


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_parses(line):
    arguments = words(line)
    command = cli
    while isinstance(command, click.Group) and not arguments[0].startswith("-"):
        command = command.commands[arguments.pop(0)]
    if "--help" not in arguments:
        command.make_context(line, arguments)


def test_there_are_commands_and_code_to_test():
    assert len(COMMANDS) >= 30
    assert len(RUNNABLE) >= 5
    assert sum(language == "python" for language, _ in blocks("README.md")) == 1


@pytest.mark.parametrize("page", RUNNABLE)
def test_python_blocks_run_and_print_what_is_shown(page, scene, tmp_path, monkeypatch, capsys):
    shutil.copytree(scene, tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    names, printed = {}, None
    for language, text in blocks(page):
        if language == "text" and printed is not None:
            assert text.split() == printed.split()
        printed = None
        if language == "python" and not text.startswith("# Needs "):
            exec(compile(text, page, "exec"), names)  # noqa: S102  (our own document)
            printed = capsys.readouterr().out
        elif language == "bash" and page == TUTORIAL:
            printed = "".join(run(line) for line in commands(text))
    if page == "README.md":
        assert list((tmp_path / "demo" / "ten.zarr" / "33UUB").rglob("B11"))


def run(line):
    """What a command line prints."""
    if words(line)[0] == "demo":  # see test_demo.py
        return ""
    result = CliRunner().invoke(cli, words(line))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("page", RUNNABLE)
def test_python_blocks_use_public_names_only(page):
    code = "".join(text for language, text in blocks(page) if language == "python")
    assert set(re.findall(r"\bdm\.(\w+)", code)) <= set(dm.__all__)
    assert set(re.findall(r"\bdm\.metrics\.(\w+)", code)) <= set(dm.metrics.__all__)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_picture_is_small():
    assert 10_000 < (ROOT / "docs" / "demo.png").stat().st_size < 1_000_000


def test_make_targets_named_in_the_documents_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {t for n in DOCUMENTS for t in re.findall(r"`?make ([a-z]+)\b", (ROOT / n).read_text())}
    assert {"demo", "test", "bench", "lint", "constraints", "docs"} <= targets
    assert named & {"demo", "test", "lint", "bench", "constraints", "clean", "docs"} <= targets


def rows(name):
    """Cells of all tables of a document."""
    lines = (ROOT / name).read_text().splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]


@pytest.fixture(scope="module")
def rmse():
    """Of an item, ratio and predictor, whose name is without the level, as MODELS.md has it."""
    return {
        (r[0], r[1], re.sub("-l[12][ac]", "", r[2])): r[3] for r in rows("MODELS.md") if len(r) > 8
    }


def test_scores_are_those_of_models_md(rmse):
    shown = [row for row in rows("README.md") if "`" in row[0] and len(row) == 7]
    assert len(shown) >= 4
    for row in shown:
        item = row[0].split("`")[1]
        keys = [(item, ratio, who) for ratio in ("2x", "6x") for who in ("bicubic", "aesr", "fast")]
        assert row[1:] == [rmse[key] for key in keys]


@pytest.mark.parametrize(("first", "name"), [("1", "fast"), ("4,", "fast, 4 orientations")])
def test_what_orientations_gain_is_that_of_models_md(rmse, first, name):
    (row,) = (r for r in rows("docs/howto/predictors.md") if r[0].split()[0] == first)
    items = "S2A_33UUB_20170527_L1C_malmo", "S2B_43RCP_20200813_L2A_ssl4eo"
    assert row[1:3] == [
        ", ".join(rmse[item, ratio, name] for ratio in ("2x", "6x")) for item in items
    ]
