"""The notebooks run from top to bottom without a network, and what is stored of them is clean."""

from __future__ import annotations

import ast
import inspect
import re

import nbformat
import pytest

import decametric as dm
from notebook_runs import METADATA, NOTEBOOKS, ROOT, normalise, run

NAMES = [path.stem for path in NOTEBOOKS]
LARGEST = 600_000
"""Bytes of a notebook with its pictures."""

PLACES = re.compile(
    r"(?<![\w./:])/(home|root|tmp|work|Users|opt|usr|mnt|var)/|[A-Z]:\\\\|(tcp|inproc)://|localhost|127\.0"
)
"""Paths and hosts of the machine that made an output."""


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def told(notebook):
    """Every output of a notebook as text, pictures left out."""
    for cell in code(notebook):
        for output in cell.outputs:
            yield output.get("text", "")
            data = output.get("data", {})
            yield from (str(value) for kind, value in data.items() if kind != "image/png")


def noise(notebook):
    """Errors, and what libraries told of themselves."""
    return [
        output
        for cell in code(notebook)
        for output in cell.outputs
        if output.output_type == "error"
        or output.get("name") == "stderr"
        or re.search(r"warning|\r|\x1b", output.get("text", ""), re.IGNORECASE)
    ]


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_five():
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_runs_from_top_to_bottom(path, tmp_path):
    made = run(path, tmp_path)
    assert noise(made) == []
    assert [text for text in told(made) if PLACES.search(text)] == []
    # What is stored was made by these cells: the same kinds of outputs, one by one.
    stored = nbformat.read(path, as_version=4)
    assert [kinds(cell) for cell in code(stored)] == [kinds(cell) for cell in code(made)]


def kinds(cell):
    """What a cell puts out, printed lines taken together."""
    return sorted({tuple(sorted(o.get("data", {"text": ""}))) for o in cell.outputs})


def test_stored_outputs_are_clean(notebook):
    assert noise(notebook) == []
    assert [text for text in told(notebook) if PLACES.search(text)] == []
    assert any("image/png" in o.get("data", {}) for c in code(notebook) for o in c.outputs) or (
        "cluster" in notebook.cells[0].source
    )


def test_metadata_tell_nothing_of_the_execution(notebook):
    assert notebook.metadata == METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert [cell.execution_count for cell in code(notebook)] == list(
        range(1, 1 + len(code(notebook)))
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_is_small(path):
    assert 5_000 < path.stat().st_size < LARGEST


def test_one_cell_switches_to_a_live_catalog(notebook):
    sources = [cell.source for cell in code(notebook)]
    assert sources[0].startswith("LIVE = False")
    (branch,) = [source for source in sources if "if LIVE:" in source]
    (choice,) = [node for node in ast.parse(branch).body if isinstance(node, ast.If)]
    # It cannot run here, but its searches fit, and both ways leave the same names behind.
    for call in searches(choice.body):
        given = {keyword.arg for keyword in call.keywords if keyword.arg}
        inspect.signature(dm.search).bind(**dict.fromkeys(given))
    assert searches(choice.body)
    assert not searches(choice.orelse)
    assert bound(choice.body) - {"when"} == bound(choice.orelse) - {"place"}


def searches(body):
    return [
        node
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "dm.search"
    ]


def bound(body):
    return {
        node.id
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def test_only_public_names_of_the_package_are_called(notebook):
    used = {name for cell in code(notebook) for name in re.findall(r"\bdm\.(\w+)", cell.source)}
    assert used
    assert used <= set(dm.__all__)


def test_code_that_is_only_shown_is_python(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for text in re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL):
                ast.parse(text)


def test_links_lead_somewhere(notebook):
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    links = [link for text in texts for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)]
    assert [link for link in links if not (ROOT / "notebooks" / link).exists()] == []


def test_normalising_drops_what_an_execution_leaves():
    cell = nbformat.v4.new_code_cell("1", metadata={"execution": {"iopub.status.busy": "now"}})
    cell.outputs = [nbformat.v4.new_output("execute_result", metadata={"x": 1}, execution_count=1)]
    given = nbformat.v4.new_notebook(
        cells=[cell], metadata={"kernelspec": {"name": "other", "display_name": "Other"}}
    )
    normalise(given)
    assert given.metadata == METADATA
    assert (cell.metadata, cell.outputs[0].metadata) == ({}, {})


def test_a_notebook_reaches_no_other_machine(tmp_path):
    cell = nbformat.v4.new_code_cell(
        "import socket\n"
        "try:\n"
        "    socket.create_connection(('192.0.2.1', 80), timeout=5)\n"
        "except OSError as error:\n"
        "    print(error)"
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    (output,) = run(tmp_path / "n.ipynb", tmp_path).cells[0].outputs
    assert output.text == "no network in notebooks: 192.0.2.1\n"
