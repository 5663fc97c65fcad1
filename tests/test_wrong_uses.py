"""Wrong uses of the command line: each ends with one sentence that names it and the way out."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

from decametric.cli import cli
from decametric.superres.presets import SHIPPED
from decametric.testing import synthetic_scene

ZIP = "S2B_MSIL2A_20240514T102031_N0510_R065_T33UUB_20240514T120000.SAFE.zip"

WORK, USAGE = 1, 2
"""Exit codes: the work failed, the use is wrong."""

SHARPEN = "sharpen {catalog} -o {out} --predictor bicubic"
TRAIN = "train {l1c} --ratio 6 --level L1C -o {out}"

# What is typed, the exit code, the value that is named, and the way out.
USES = {
    "a band that does not exist": ("explain {catalog} --bands B13", USAGE, "'B13'", "choose from"),
    "a band that is not measured at the ground": (
        "explain {catalog} --predictor bicubic --bands B10",
        WORK,
        "B10",
        "leave them out",
    ),
    "a file that is not there": ("explain {no}", WORK, "{no}", "give a STAC"),
    "a search that found nothing": ("explain {empty}", WORK, "{empty}", "search for a larger area"),
    "a JSON file that is not STAC": ("explain {json}", WORK, "{json}", "give an item"),
    "a text file": ("explain {text}", WORK, "{text}", "give a STAC"),
    "a damaged zip": ("explain {zip}", WORK, ZIP, "download the product again"),
    "a network for another level": (
        "sharpen {catalog} -o {out} --predictor fast-l1c",
        WORK,
        "L2A",
        "--any-level",
    ),
    "a preset that does not exist": (
        "sharpen {catalog} -o {out} --predictor dsen3",
        WORK,
        "'dsen3'",
        "choose from",
    ),
    "a bbox that is turned around": (
        "explain {catalog} --bbox 11.9 55.9 11.8 55.8",
        USAGE,
        "11.9",
        "west, south, east, north",
    ),
    "a bbox in another country": (
        "explain {catalog} --bbox 1 1 2 2",
        USAGE,
        "1.0",
        "which covers",
    ),
    "a window of no whole 60 m pixels": (
        "explain {catalog} --window 100",
        USAGE,
        "window=100",
        "use 96",
    ),
    "a chunk of no whole 60 m pixels": (
        "explain {catalog} --chunk 100",
        USAGE,
        "chunk=100",
        "use 96",
    ),
    "a store of another configuration": (
        "sharpen {catalog} -o {store} --predictor bilinear --bands B11",
        WORK,
        "bilinear",
        "--overwrite",
    ),
    "an output below a file": (
        "sharpen {catalog} -o {text}/out.zarr --predictor bicubic",
        WORK,
        "{text}/out.zarr",
        "mend that",
    ),
    "a package that is not installed": (
        "sharpen {catalog} -o gs://bucket/out.zarr --predictor bicubic",
        WORK,
        "gs://bucket/out.zarr",
        "install gcsfs",
    ),
    "a data range that is no number": (
        "compare {a} {b} --data-range nan --metric psnr",
        USAGE,
        "'nan'",
        "give the span",
    ),
    "a data range that is no span": (
        "compare {a} {b} --data-range wide --metric psnr",
        USAGE,
        "'wide'",
        "give the span",
    ),
    "rasters of different grids": (
        "compare {a} {moved} --data-range 1",
        USAGE,
        "{moved}",
        "cut or warp",
    ),
    "rasters of different sizes": (
        "compare {a} {large} --data-range 1",
        USAGE,
        "{large}",
        "one grid",
    ),
    "a metric that does not exist": (
        "assess {catalog} --predictor bicubic --metric rmsd",
        USAGE,
        "'rmsd'",
        "choose from",
    ),
    "training and validation at one place": (
        "train {l1c} --validation {l1c} --ratio 2 --level L1C -o {out}",
        USAGE,
        "33UUB",
        "leave one of them out",
    ),
    "weights of another ratio": (
        TRAIN + " --validation {far} --fine-tune {bundle}",
        USAGE,
        "{bundle}",
        "--ratio 2",
    ),
    "a recipe that does not exist": (
        "train {l1c} --config slow -o {out}",
        USAGE,
        "'slow'",
        "choose from",
    ),
    "resources that are no amounts": (
        SHARPEN + " --resources GPU",
        USAGE,
        "'GPU'",
        "of the form GPU=1",
    ),
    "a scheduler that does not answer": (
        SHARPEN + " --scheduler tcp://127.0.0.1:9",
        WORK,
        "tcp://127.0.0.1:9",
        "start one",
    ),
    "two clusters at once": (
        SHARPEN + " --workers 2 --scheduler tcp://127.0.0.1:9",
        USAGE,
        "--scheduler",
        "one of",
    ),
    "a picture of a store that is none": (
        "preview {text} -o {out}.png",
        WORK,
        "{text}",
        "give another path",
    ),
    "a tile that the store does not have": (
        "preview {store} -o {out}.png --tile 01ABC",
        USAGE,
        "01ABC",
        "choose from 33UUB",
    ),
    "a picture of no known format": (
        "preview {store} -o {out}.doc --bands B11",
        USAGE,
        "{out}.doc",
        r"\.png",
    ),
    "an option that does not exist": (
        "explain {catalog} --tiles 3",
        USAGE,
        "--tiles",
        "See .*explain --help",
    ),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the wrong uses are about, by name."""
    folder = tmp_path_factory.mktemp("wrong")
    paths = {
        name: folder / file
        for name, file in {
            "no": "no/such.json", "empty": "empty.json", "json": "other.json", "text": "words.txt",
            "zip": ZIP,
            "a": "a.tif", "b": "b.tif", "moved": "moved.tif", "large": "large.tif",
        }.items()
    }  # fmt: skip
    paths["empty"].write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    paths["json"].write_text('{"name": "not STAC"}')
    paths["text"].write_text("nothing but words")
    paths["zip"].write_bytes(b"PK\x03\x04 and then nothing")
    for name, west, edge in (("a", 0, 8), ("b", 0, 8), ("moved", 5, 8), ("large", 0, 9)):
        raster(paths[name], west, edge)
    paths["catalog"] = synthetic_scene(folder / "l2a", size=60, dates=1)
    paths["l1c"] = synthetic_scene(folder / "l1c", size=60, dates=1, level="L1C")
    paths["far"] = synthetic_scene(
        folder / "far", size=60, dates=1, level="L1C", tile="31TCJ", origin=(300000, 4900020),
        epsg=32631,
    )  # fmt: skip
    paths["store"] = folder / "store.zarr"
    paths["bundle"] = SHIPPED / "fast-l1c" / "2x"
    words = ["sharpen", paths["catalog"], "-o", paths["store"], "--predictor", "bicubic"]
    assert run(*words, "--bands", "B11").exit_code == 0
    return paths


def raster(path, west, edge):
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": "EPSG:32633"}
    with rasterio.open(
        path, "w", width=edge, height=edge, transform=Affine(10, 0, west, 0, -10, 0), **profile
    ) as file:
        file.write(np.zeros((1, edge, edge), np.float32))


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.mark.parametrize("use", USES)
def test_a_wrong_use_ends_with_one_sentence(use, places, tmp_path, monkeypatch):
    monkeypatch.setattr("decametric.runs.clients.CONNECT_TIMEOUT", 0.2)
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as if it were not installed
    line, code, value, way = USES[use]
    known = {**places, "out": tmp_path / "out"}
    result = run(*(word.format(**known) for word in line.split()))
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    (said,) = result.stderr.splitlines()
    # A capital letter begins it, or the very thing that is wrong: a path, an option, a word.
    assert re.match(r"Error: ([A-Z]|'|/|--|\w+=|gs:|S2)", said)
    assert said.endswith(".")
    assert not re.search(r"Traceback|unexpected|Error\(|Exception| object at |<class", said)
    assert value.format(**known) in said
    assert re.search(way, said)
    assert not (tmp_path / "out").exists()
