"""The site builds strictly, from the repository alone, and shows all that is public."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import griffe
import pytest

import decametric as dm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PUBLIC = {*dm.__all__, *dm.metrics.__all__} - {"metrics"}
FUNCTIONS = {
    name: found
    for module in (dm, dm.metrics)
    for name in module.__all__
    if inspect.isfunction(found := getattr(module, name))
    and len(inspect.signature(found).parameters) > 1
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    nowhere = "http://127.0.0.1:9"  # whoever asks the network is refused
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={
            **os.environ,
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "NO_MKDOCS_2_WARNING": "1",
            "PYTHONPATH": str(ROOT / "pipeline"),
        },
        check=True,
    )
    return folder


def test_every_public_name_is_described(site):
    pages = "".join(page.read_text() for page in (site / "reference").rglob("index.html"))
    assert set(re.findall(r'id="decametric[\w.]*\.(\w+)"', pages)) >= PUBLIC


def test_formulas_and_shared_parameters_of_metrics_are_there(site):
    page = (site / "reference" / "metrics" / "index.html").read_text()
    assert page.count("<math") > 20
    assert ":math:" not in page
    assert ".. math" not in page
    sections = page.split('<div class="doc doc-object doc-function">')[1:]
    assert len(sections) >= len(dm.metrics.REGISTRY)
    assert [section[:200] for section in sections if "keep_attrs</code>" not in section] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_describe_every_parameter(name):
    found = FUNCTIONS[name]
    described = [
        parameter.name
        for section in griffe.Docstring(inspect.getdoc(found)).parse("numpy")
        if section.kind is griffe.DocstringSectionKind.parameters
        for parameter in section.value
    ]
    assert sorted(described) == sorted(inspect.signature(found).parameters)


def test_pages_load_nothing_from_elsewhere(site):
    elsewhere = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert [page for page in pages if elsewhere.search(page.read_text())] == []


def test_documents_of_the_repository_are_part_of_the_site(site):
    for name in ("ARCHITECTURE", "BENCHMARKS", "CHANGELOG", "CONTRIBUTING", "cluster"):
        assert (site / name / "index.html").is_file()
    assert (site / "cluster" / "slurm" / "jobqueue.yaml").is_file()


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert {page for page in pages if f" {page}\n" not in navigation} == set()


def test_figures_are_made_by_their_script_and_used(tmp_path):
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    figures.draw(tmp_path, size=96)
    made = {path.name for path in tmp_path.glob("*.png")}
    committed = {path.name: path.stat().st_size for path in (DOCS / "figures").iterdir()}
    assert made == set(committed)
    assert max(committed.values()) < 200_000
    assert set(re.findall(r"figures/(\w+\.png)", (DOCS / "numbers.md").read_text())) == made
