"""The shape of the house: what imports what, what is public, what is shipped."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import decametric as dm
from decametric.testing import lazy_scene

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow", "keras", "xarray", "dask", "rasterio", "zarr", "numpy", "rich", "pystac")


def fresh(code):
    """Output of a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_imports_go_one_way():
    # In a process of its own: import-linter silences the loggers of the one it runs in.
    config = str(ROOT / "pyproject.toml")
    lint = f"print(lint_imports(config_filename={config!r}, no_cache=True))"
    assert fresh(f"from importlinter.cli import lint_imports; {lint}").split()[-1] == "0"


@pytest.mark.parametrize("line", ["import decametric", "import decametric.cli"])
def test_importing_loads_nothing_heavy(line):
    loaded = fresh(f"{line}, sys\nimport sys\nprint(*sys.modules)").split()
    assert "decametric" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_interpolation_needs_no_tensorflow():
    code = (
        "import decametric as dm, sys\n"
        "from decametric.testing import lazy_scene\n"
        "dm.sharpen(lazy_scene(12), 'bicubic').compute()\n"
        "print(*sys.modules)"
    )
    assert [name for name in ("tensorflow", "keras") if name in fresh(code).split()] == []


def test_public_names_are_sorted_and_listed():
    assert dm.__all__ == sorted(dm.__all__)
    assert set(dm.__all__) <= set(dir(dm))


@pytest.mark.parametrize("name", dm.__all__)
def test_public_names_are_there_and_documented(name):
    assert inspect.getdoc(getattr(dm, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sharpness'"):
        _ = dm.sharpness


def test_the_version_is_stated_once_and_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == dm.__version__


def test_the_wheel_holds_the_package_and_its_types(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    names = zipfile.ZipFile(wheel).namelist()
    assert {"decametric/__init__.py", "decametric/py.typed", "decametric/cli/__init__.py"} <= set(
        names
    )
    assert not [name for name in names if name.startswith(("pipeline", "tests"))]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_the_pins_name_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+]+", pin)] == []
    assert any(pin.startswith("tensorflow==") for pin in pins)


def test_a_lazy_scene_is_what_sharpen_takes():
    result = dm.sharpen(lazy_scene(120, chunk=60), "bilinear", bands=["B11"])
    assert result["B11"].data.chunks[1:] == ((60, 60), (60, 60))
