"""What the command line shows: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from decametric.errors import DecametricError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

INTERRUPTED = 130
"""Exit code of a run that Ctrl-C stopped (128 + SIGINT)."""

POLL_SECONDS = 0.5
"""How often a progress bar looks."""


def show_json(document: object) -> None:
    """One JSON document, and nothing else, on standard output."""
    click.echo(json.dumps(document, indent=2, default=str, allow_nan=False))


def note(text: str) -> None:
    """A line for the person at the terminal, out of the way of results."""
    # Not by click, which would find its way around the stream that a bar puts here to draw lines
    # above itself.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def show_table(header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table: drawn on a terminal, separated by tabs in a pipe."""
    if not sys.stdout.isatty():
        for row in (header, *rows):
            click.echo("\t".join(map(str, row)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a nested document says, as rows of a table; what says nothing is left out."""
    rows = []
    for key, value in document.items():
        if isinstance(value, dict):
            rows += [(f"{key}.{name}", text) for name, text in facts(value)]
        elif value and isinstance(value, list | tuple):
            count = f"{len(value)}: " if len(value) > 1 else ""
            rows.append((key, count + ", ".join(map(str, value))))
        elif value not in (None, "", [], ()):
            rows.append((key, f"{value:.6g}" if isinstance(value, float) else str(value)))
    return rows


@contextmanager
def progress_bar(
    label: str | Callable[[], str], state: Callable[[], tuple[int, int]]
) -> Iterator[None]:
    """Show how far the work in the block is: on a terminal only, never in a pipe.

    Parameters
    ----------
    label : str or callable
        What is worked on, or tells it at any time.
    state : callable
        Tells (done, total) at any time, from another thread; (0, 0) while nothing is known.
    """
    if not sys.stderr.isatty():
        yield
        return
    told = label if callable(label) else lambda: label
    with _drawn(told()) as (bar, task):
        stop = threading.Event()
        looks = (bar, task, told, state, stop)
        watcher = threading.Thread(target=_watch, args=looks, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


@contextmanager
def _drawn(label: str) -> Iterator[tuple[Any, Any]]:
    """A bar on standard error, and the one task in it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # The time that remains is told from the last hour: a block or an epoch may take minutes.
    with Progress(
        *columns, Elapsed(), Remaining(), console=Console(stderr=True), speed_estimate_period=3600
    ) as bar:
        yield bar, bar.add_task(label, total=None)


def _watch(
    bar: Any,  # noqa: ANN401  (rich is imported only where a bar is drawn)
    task: Any,  # noqa: ANN401
    label: Callable[[], str],
    state: Callable[[], tuple[int, int]],
    stop: threading.Event,
) -> None:
    """Look at the state until told to stop, and once more then."""
    while True:
        stopping = stop.wait(POLL_SECONDS)
        done, total = _quiet(state)
        if total:
            bar.update(task, completed=done, total=total, description=label())
        if stopping:
            return


def _quiet(state: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """The state, or nothing: a bar must never break the work that it shows."""
    try:
        return state()
    except Exception:  # noqa: BLE001  (see above; the work itself reports what is wrong)
        return 0, 0


class Verbs(click.Group):
    """A group of verbs that says what went wrong in one sentence."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]  # noqa: ANN401
        """Run a command line and leave with its exit code."""
        words = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in words
        extra["standalone_mode"] = False
        # Around the report too: what it lets go of (coroutines that a signal broke off) may warn.
        with warnings.catch_warnings():
            if not debug:
                _hush()
            try:
                code = super().main(words, **extra)
            except BaseException as error:  # noqa: BLE001  (this is the outermost frame)
                if debug and not isinstance(error, (click.ClickException, SystemExit)):
                    traceback.print_exception(error)
                code = _report(error)
        sys.exit(code if isinstance(code, int) else 0)


def _hush() -> None:
    """Silence the libraries: what they greet, warn of and log is for developers."""
    # Read when TensorFlow and Dask are imported, by worker processes too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    # When a run is stopped, tasks are abandoned on purpose; asyncio laments each.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


def _report(error: BaseException) -> int:
    """Say what went wrong on standard error, and return the exit code."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case BrokenPipeError():
            # The reader of our output is gone; nothing may be flushed to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        case click.ClickException():
            note(f"Error: {error.format_message()}{_help_of(error)}")
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            note("Stopped.")
            return INTERRUPTED
        case DecametricError():
            note(f"Error: {error}")
            return 2 if isinstance(error, UsageError) else 1
    kind = type(error).__name__
    note(f"Error: unexpected {kind}: {error} (run again with --debug and report it).")
    return 1


def _help_of(error: click.ClickException) -> str:
    """Where to read how a verb is used, if that is what was wrong."""
    context = getattr(error, "ctx", None)
    return f" See {context.command_path} --help." if context is not None else ""
