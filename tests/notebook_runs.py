"""Runs the notebooks from top to bottom; ``python -m tests.notebook_runs`` stores their outputs.

The kernel is the Python that runs this, without a network: a connection to another machine raises.
What is stored depends neither on the machine nor on the time: no metadata of the execution.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from matplotlib import font_manager  # noqa: F401  (its first import tells of a cache; not in cells)
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

OFFLINE = """
import socket, sys

def refuse(event, args):
    if event == "socket.connect" and args[0].type == socket.SOCK_STREAM:
        host = args[1][0] if args[0].family != socket.AF_UNIX else "127."
        if not str(host).startswith(("127.", "::1", "localhost")):
            raise OSError(f"no network in notebooks: {host}")

sys.addaudithook(refuse)
"""
"""What every Python of a run, workers included, does first."""


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder, and return it with its outputs.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    (folder / "sitecustomize.py").write_text(OFFLINE)
    client = NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    nowhere = "http://127.0.0.1:9"
    client.execute(
        env={
            **{key: value for key, value in os.environ.items() if key != "MPLBACKEND"},
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "pipeline")]),
            "TMPDIR": str(folder),
            "DASK_LOGGING__DISTRIBUTED": "error",  # a busy machine is slow to end its workers
            "http_proxy": nowhere,  # for GDAL, which asks no Python
            "https_proxy": nowhere,
            "no_proxy": "127.0.0.1,localhost",
        }
    )
    return notebook


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Drop what an execution leaves in the metadata."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})


def main(names: list[str]) -> None:
    """Run the notebooks whose names hold one of `names`, or all, and store their outputs."""
    for path in NOTEBOOKS:
        if names and not any(name in path.name for name in names):
            continue
        with TemporaryDirectory() as folder:
            notebook = run(path, Path(folder))
        normalise(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201  (its report)


if __name__ == "__main__":
    main(sys.argv[1:])
