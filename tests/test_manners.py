"""The command line at a terminal: what it draws, completes, and does when it is stopped."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from threading import Thread

import click
import pytest
import xarray as xr
from click.testing import CliRunner

import made_scenes as made
from decametric import options
from decametric.cli import cli
from decametric.console import INTERRUPTED, Verbs
from decametric.metrics import REGISTRY
from decametric.superres.presets import list_predictors
from decametric.testing import synthetic_scene
from decametric.training.recipe import RECIPES
from decametric.training.state import State

SOURCE = Path(__file__).parents[1] / "pipeline"
COLOUR = re.compile(r"\x1b\[[\d;]*3[0-8][\d;]*m")
PATIENCE = 300
"""Seconds until a process that says nothing is taken to hang."""


STARTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from decametric.cli import main
main()
"""
"""The command line, which hears Ctrl-C even where the tests run in the background of a shell."""


class Terminal:
    """A process of the command line whose output and errors go to a terminal."""

    def __init__(self, *words, **environment):
        mine, its = os.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTED, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=its,
            stderr=its,
            env={
                **{key: value for key, value in os.environ.items() if key != "NO_COLOR"},
                "PYTHONPATH": str(SOURCE),
                "TERM": "xterm-256color",
                "COLUMNS": "100",
                **environment,
            },
        )
        os.close(its)
        # Somebody must read all the time: a full terminal makes the writer wait.
        self._reader = Thread(target=self._read, args=(mine,), daemon=True)
        self._reader.start()

    def _read(self, terminal):
        try:
            while part := os.read(terminal, 4096):
                self.shown += part.decode(errors="replace")
        except OSError:  # that is how Linux says that nobody writes any more
            os.close(terminal)

    def wait_for(self, pattern):
        """Wait until what fits a pattern is shown."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.shown):
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < end, self.shown
            time.sleep(0.02)

    def end(self):
        """Exit code, when everything has been read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@pytest.fixture
def terminal():
    """Starts command lines at a terminal; what hangs is killed at the end."""
    started = []

    def start(*words, **environment):
        started.append(Terminal(*words, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return synthetic_scene(tmp_path_factory.mktemp("scene"), size=240)


def sharpen(catalog, store, chunk):
    return [*("sharpen", catalog, "-o", store, "--predictor", "bicubic"),
            *("--chunk", chunk, "--window", chunk, "--bands", "B11")]  # fmt: skip


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


# === At a terminal ===


def test_the_bar_tells_scenes_blocks_and_time(catalog, tmp_path, terminal):
    shell = terminal(*sharpen(catalog, tmp_path / "o.zarr", 60))
    assert shell.end() == 0, shell.shown
    assert "33UUB, scenes done: 2, blocks:" in shell.shown
    assert "32/32" in shell.shown
    assert re.search(r"\d:\d\d:\d\d\S* \S*\d:\d\d:\d\d", shell.shown)  # elapsed, remaining
    assert COLOUR.search(shell.shown)


def test_colours_are_off_when_asked(catalog, tmp_path, terminal):
    shell = terminal(*sharpen(catalog, tmp_path / "o.zarr", 120), NO_COLOR="1")
    assert shell.end() == 0, shell.shown
    assert "8/8" in shell.shown
    assert not COLOUR.search(shell.shown)


def test_a_dumb_terminal_gets_plain_text(terminal):
    shell = terminal("models", "list", TERM="dumb")
    assert shell.end() == 0, shell.shown
    assert "bicubic" in shell.shown
    assert "\x1b" not in shell.shown


# === Ctrl-C ===


def test_ctrl_c_stops_sharpening_and_the_same_command_goes_on(catalog, tmp_path, terminal):
    words = sharpen(catalog, tmp_path / "o.zarr", 24)
    shell = terminal(*words)
    shell.wait_for(r"\D[1-9]\d*/200")
    shell.process.send_signal(signal.SIGINT)
    assert shell.end() == INTERRUPTED, shell.shown
    assert shell.shown.rstrip().endswith(
        "Stopped; give the same command again to go on where it stopped."
    )
    assert "Traceback" not in shell.shown
    assert list((tmp_path / "o.zarr").glob("*.lease")) == []
    (tile,) = json.loads(run(*words, "--json").stdout)["tiles"]
    assert tile["blocks_skipped"] > 0
    assert tile["blocks_written"] + tile["blocks_skipped"] == 200
    assert xr.open_zarr(tmp_path / "o.zarr", group="33UUB").attrs["complete"]


def test_ctrl_c_stops_training_after_its_last_epoch(tmp_path, terminal):
    here = synthetic_scene(tmp_path / "here", size=120, dates=1, level="L1C")
    there = synthetic_scene(
        tmp_path / "there", size=120, dates=1, level="L1C", seed=5, tile="31TCJ",
        origin=(300000, 4900020), epsg=32631,
    )  # fmt: skip
    (tmp_path / "recipe.toml").write_text(made.tiny_recipe(epochs=9999, steps=1))
    words = ["train", here, "--validation", there, "--config", tmp_path / "recipe.toml"]
    shell = terminal(*words, "-o", tmp_path / "out")
    shell.wait_for("epoch 2 ")
    shell.process.send_signal(signal.SIGINT)
    assert shell.end() == INTERRUPTED, shell.shown
    assert shell.shown.rstrip().endswith(
        "Stopped; give the same command with --resume to go on after its last epoch."
    )
    assert "Traceback" not in shell.shown
    state = State.load(tmp_path / "out" / "run" / "state.npz")
    assert len(state.history) >= 2
    assert f"/{9999}" in shell.shown


def test_what_ctrl_c_broke_off_is_not_lamented():
    verbs = Verbs()

    @verbs.command()
    def read():
        broken_off = asyncio.sleep(0)  # as a read of Zarr that was never awaited
        raise KeyboardInterrupt(str(bool(broken_off)))

    with warnings.catch_warnings(record=True) as lamented:
        warnings.simplefilter("always")
        assert CliRunner().invoke(verbs, ["read"]).exit_code == INTERRUPTED
    assert lamented == []


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("scenes.catalogs.search", ["search", "--datetime", "2024"]),
        ("evaluation.report.score", ["assess", "CATALOG"]),
        ("evaluation.compare.compare", ["compare", "a", "b"]),
        ("demo.run", ["demo"]),
        ("training.recipe.follow", ["train", "CATALOG", "--config", "fast-l1c-2x", "-o", "OUT"]),
    ],
)
def test_ctrl_c_is_one_line_in_every_long_verb(function, words, catalog, tmp_path, monkeypatch):
    def stopped(*_given, **_options):
        raise KeyboardInterrupt

    importlib.import_module(f"decametric.{function.rpartition('.')[0]}")
    monkeypatch.setattr(f"decametric.{function}", stopped)
    places = {"CATALOG": catalog, "OUT": tmp_path / "out"}
    result = run(*(places.get(word, word) for word in words))
    assert (result.exit_code, result.stdout) == (INTERRUPTED, "")
    assert re.fullmatch(r"Stopped.*\.", result.stderr.strip())


# === Words ===


def complete(*words):
    """What bash would offer for the last of the words."""
    line = " ".join(("decametric", *words))
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "decametric"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "_DECAMETRIC_COMPLETE": "bash_complete"}
        | asked,
    )
    assert not re.search(r"\b(numpy|xarray|dask|rich|keras)\b", done.stderr)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sha",), ["plain,sharpen"]),
        (("sharpen", "--pred"), ["plain,--predictor"]),
        (("sharpen", "--predictor", "bi"), ["plain,bicubic", "plain,bilinear"]),
        (("sharpen", "--predictor", "./mi"), ["file,./mi"]),
        (("assess", "--metric", "ms"), ["plain,ms_ssim"]),
        (("train", "--config", "full-l1"), ["plain,full-l1c"]),
        (("sharpen", "cat"), ["file,cat"]),
    ],
    ids=" ".join,
)
def test_the_shell_completes_verbs_options_names_and_files(words, offered):
    assert complete(*words) == offered


def test_what_is_completed_is_what_there_is():
    assert set(options.METRICS) == set(REGISTRY)
    assert set(options.predictor_names()) == set(list_predictors())
    assert options.recipe_names() == sorted(file.stem for file in RECIPES.glob("*.toml"))


def test_every_verb_with_a_result_has_json():
    for path, command in verbs(cli):
        names = {name for parameter in command.params for name in parameter.opts}
        assert {"--json", "--debug"} <= names, path


def verbs(group):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command)
        else:
            yield name, command
