"""The command line as a user meets it: exit codes, sentences, clean output."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pystac
import pytest
import xarray as xr
from click.testing import CliRunner

import made_scenes as made
from decametric import console
from decametric.cli import cli
from decametric.testing import synthetic_scene


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return str(synthetic_scene(tmp_path_factory.mktemp("scene"), size=120))


@pytest.fixture
def one_item(catalog):
    return next(Path(catalog).parent.glob("*/*.json"))


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def process(*words, **options):
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    source = str(Path(__file__).parents[1] / "pipeline")
    return subprocess.run(
        [sys.executable, "-m", "decametric", *map(str, words)],
        check=False,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": source},
        **options,
    )


def commands(group=cli, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_verb_has_help_with_an_example(path):
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert "Example:\n    decametric " + " ".join(path) in result.stdout


def test_every_example_parses():
    for path, command in commands():
        for line in command.epilog.splitlines()[2:]:
            words = line.partition(">")[0].split()[1:]
            verb = cli
            while isinstance(verb, click.Group):
                verb = verb.commands[words.pop(0)]
            assert verb.make_context(path[-1], words).command is verb


def test_sharpen_writes_every_band_and_goes_on(catalog, tmp_path):
    first = run("sharpen", catalog, "-o", tmp_path / "o.zarr", "--json")
    assert (first.exit_code, first.stderr) == (0, "")
    (tile,) = json.loads(first.stdout)["tiles"]
    assert (tile["tile"], tile["blocks_written"], tile["blocks_skipped"]) == ("33UUB", 2, 0)
    assert tile["predictor"]["name"] == "fast-l2a"  # the preset of the level
    stored = xr.open_zarr(tmp_path / "o.zarr", group="33UUB")
    assert dict(stored.sizes) == {"time": 2, "y": 120, "x": 120}
    assert set(stored.data_vars) == set(tile["bands"])
    assert len(tile["bands"]) == 13

    again = run("sharpen", catalog, "-o", tmp_path / "o.zarr", "--json")
    (tile,) = json.loads(again.stdout)["tiles"]
    assert (tile["blocks_written"], tile["blocks_skipped"]) == (0, 2)


def test_bands_area_and_chunk_reach_the_result(catalog, tmp_path):
    bbox = (11.802, 55.897, 11.808, 55.902)
    result = run(
        "sharpen", catalog, "-o", tmp_path / "o.zarr", "--bands", "swir16,B2,SCL",
        "--chunk", 36, "--bbox", *bbox, "--predictor", "bilinear",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    stored = xr.open_zarr(tmp_path / "o.zarr", group="33UUB")
    assert set(stored.data_vars) == {"B11", "B02", "SCL"}
    assert stored.sizes["x"] < 120
    assert stored["B11"].chunks[-1][0] == 36


def test_items_come_from_standard_input(catalog, tmp_path):
    item = json.loads(next(Path(catalog).parent.glob("*/*.json")).read_text())
    folder = Path(catalog).parent / item["id"]
    for asset in item["assets"].values():
        asset["href"] = str(folder / asset["href"])
    item["links"] = []
    result = process(
        "sharpen", "-", "-o", tmp_path / "o.zarr", "--bands", "B11", "--json",
        input=json.dumps({"type": "FeatureCollection", "features": [item]}),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["tiles"][0]["bands"] == ["B11"]


def test_explain_computes_nothing_and_tells_the_size(catalog):
    result = run("explain", catalog, "--json", "--chunk", "60")
    (plan,) = json.loads(result.stdout).values()
    assert plan["dates"] == 2
    assert plan["shape"] == [120, 120]
    assert run("explain", catalog).stdout.startswith("predictor")


def test_explain_leaves_out_tiles_beside_the_area(position_item, tmp_path):
    items = [
        position_item.write(f"S2A_{tile}_20240701_0_L2A", epsg=epsg, bands=["B11"])
        for tile, epsg in (("33UUB", 32633), ("32UUB", 32632))
    ]
    path = tmp_path / "items.json"
    items = [item.make_asset_hrefs_absolute() for item in items]
    pystac.ItemCollection(items).save_object(str(path))
    how = ("--predictor", "bicubic", "--bands", "B11", "--json", "--bbox")
    result = run("explain", path, *how, 11, 54, 13, 56)
    assert result.exit_code == 0, result.stderr
    assert list(json.loads(result.stdout)) == ["33UUB"]
    assert "32UUB: The area" in result.stderr
    nowhere = run("explain", path, *how, 0, 0, 1, 1)
    assert nowhere.exit_code == 2
    assert "lies outside" in nowhere.stderr


def test_explain_refuses_levels_that_no_default_fits_as_sharpen_does(position_item, tmp_path):
    how = {"bands": ["B02", "B11"], "shape": (12, 12)}
    items = [
        position_item.write("S2A_33UUB_20240701_0_L2A", **how),
        position_item.write("S2A_32UUB_20240701_0_L1C", epsg=32632, **how),
    ]
    path = tmp_path / "items.json"
    items = [item.make_asset_hrefs_absolute() for item in items]
    pystac.ItemCollection(items).save_object(str(path))
    told = [run("explain", path), run("sharpen", path, "-o", tmp_path / "out.zarr")]
    assert [result.exit_code for result in told] == [2, 2]
    assert told[0].stderr == told[1].stderr


def test_items_of_no_tile_are_told_apart_by_their_corners(position_item, tmp_path):
    how = {"s2__product_type": "S2MSI2A", "bands": ["B02", "B11"], "shape": (12, 12)}
    places = [
        position_item.write(f"place-{n}", corner=(300000 + n * 6000, 6200040), **how)
        for n in range(2)
    ]
    path, store = tmp_path / "items.json", tmp_path / "out.zarr"
    pystac.ItemCollection([p.make_asset_hrefs_absolute() for p in places]).save_object(str(path))
    words = ("--predictor", "bicubic", "--bands", "B02,B11")
    names = [f"EPSG32633_{300000 + n * 6000}_6200040" for n in range(2)]
    assert list(json.loads(run("explain", path, *words, "--json").stdout)) == names
    assert run("sharpen", path, "-o", store, *words).exit_code == 0
    where = ("--compare", path, "--tile", names[1], "--bands", "B11", "--size", 36)
    drawn = run("preview", store, "-o", tmp_path / "p.png", *where)
    assert drawn.exit_code == 0, drawn.stderr


def test_what_was_stated_to_sharpen_need_not_be_stated_to_compare(position_item, tmp_path):
    item = position_item.write(bands=["B04", "B11"], offset=None, shape=(12, 12))
    store, picture = tmp_path / "out.zarr", tmp_path / "p.png"
    words = ("--predictor", "bicubic", "--bands", "B04,B11")
    assert run("sharpen", item.self_href, "-o", store, *words).exit_code == 1
    assert run("sharpen", item.self_href, "-o", store, *words, "--offset=-1000").exit_code == 0
    drawn = run("preview", store, "-o", picture, "--compare", item.self_href, "--bands", "B11",
                "--size", 36)  # fmt: skip
    assert drawn.exit_code == 0, drawn.stderr


@pytest.mark.parametrize("text", ["no JSON", "[1]"])
def test_a_shape_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "field.geojson"
    path.write_text(text)
    result = run("search", "--intersects", path)
    assert result.exit_code == 2
    assert f"{path} is no GeoJSON" in result.stderr


def test_the_mean_over_orientations_costs_their_number(catalog):
    plans = [
        next(iter(json.loads(run("explain", catalog, "--json", *words).stdout).values()))
        for words in ((), ("--orientations", "4"))
    ]
    assert plans[1]["flops"] == 4 * plans[0]["flops"] > 0
    assert plans[1] == plans[0] | {key: plans[1][key] for key in ("flops", "predictor")}


def test_assess_scores_each_date_beside_interpolation(catalog):
    words = ("--predictor", "bicubic", "--metric", "rmse", "--metric", "ergas")
    result = run("assess", catalog, *words, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert list(found) == ["items", "protocol", "scores"]
    assert len(found["items"]) == len(set(found["items"])) == 2
    rows = [row for row in found["scores"] if row["metric"] == "rmse" and row["band"] != "mean"]
    assert {row["item"] for row in rows} == set(found["items"])
    bands = ["B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09"]
    for item in found["items"]:
        for predictor in ("bilinear", "bicubic"):
            part = [r for r in rows if (r["item"], r["predictor"]) == (item, predictor)]
            assert [row["band"] for row in part] == bands
            assert all(row["value"] > 0 and row["unit"] == "DN" for row in part)


def test_assess_shows_one_table_for_each_item(catalog):
    words = ("--predictor", "bicubic", "--metric", "rmse", "--metric", "cc")
    result = run("assess", catalog, *words)
    assert result.exit_code == 0, result.stderr
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0] == ["item", "ratio", "metric", "unit", "bilinear", "bicubic"]
    assert len({line[0] for line in lines if line[1:3] == ["2x", "rmse"]}) == 2


def test_assess_takes_several_predictors_and_writes_a_page(one_item, tmp_path):
    preset = made.save_preset(tmp_path / "ours", level="L2A")
    words = ("--predictor", preset, "--predictor", "bicubic", "--metric", "rmse")
    area = ("--bbox", 11.802, 55.897, 11.808, 55.902)
    result = run("assess", one_item, *words, *area, "--report", tmp_path / "page", "--json")
    assert result.exit_code == 0, result.stderr
    names = [each["name"] for each in json.loads(result.stdout)["protocol"]["predictors"]]
    assert names == ["bilinear", "bicubic", "ours"]
    assert "ours" in (tmp_path / "page" / "index.html").read_text()
    assert json.loads((tmp_path / "page" / "scores.json").read_text()) == json.loads(result.stdout)


def test_assess_judges_the_result_at_full_resolution_on_demand(one_item):
    result = run("assess", one_item, "--metric", "rmse", "--full-resolution", "--json")
    assert result.exit_code == 0, result.stderr
    metrics = {row["metric"] for row in json.loads(result.stdout)["scores"]}
    assert {"rmse", "qnr", "hqnr", "consistency_rmse", "consistency_bias", "d_rho"} <= metrics


def test_models_are_listed_and_shown():
    assert {"bicubic", "bilinear"} <= set(json.loads(run("models", "list", "--json").stdout))
    assert json.loads(run("models", "show", "bicubic", "--json").stdout)["name"] == "bicubic"
    assert "bicubic" in run("models", "list").stdout


def test_a_card_is_shown_line_by_line():
    cards = json.loads(run("models", "show", "fast-l1c", "--json").stdout)["bundles"]
    shown = run("models", "show", "fast-l1c").stdout.splitlines()
    for card in cards:
        assert f"sha256\t{card['sha256']}" in shown
        assert f"training.patches.size\t{card['training']['patches']['size']}" in shown
        assert f"scores.rmse_dn.{card['bands_out'][0]}" in {line.split("\t")[0] for line in shown}
        assert f"bands_out\t{len(card['bands_out'])}: {', '.join(card['bands_out'])}" in shown
    assert not [line for line in shown if "{" in line or line.endswith(("\t", "\tNone"))]


def test_versions_name_what_is_installed():
    found = json.loads(run("versions", "--json").stdout)
    assert found["xarray"] == xr.__version__
    assert "." in found["gdal"]


BAD = [
    (["frobnicate"], 2, "frobnicate"),
    (["sharpen"], 2, "ITEMS"),
    (["sharpen", "CATALOG"], 2, "--output"),
    (["sharpen", "CATALOG", "-o", "OUT", "--chunk", "100"], 2, "chunk=100"),
    (["sharpen", "CATALOG", "-o", "OUT", "--window", "100"], 2, "100"),
    (["sharpen", "CATALOG", "-o", "OUT", "--bands", "B13"], 2, "B13"),
    (["sharpen", "CATALOG", "-o", "OUT", "--bands", "B10"], 1, "B10"),
    (["sharpen", "CATALOG", "-o", "OUT", "--precision", "half"], 2, "half"),
    (["sharpen", "CATALOG", "-o", "OUT", "--orientations", "3"], 2, "'3' is not one of"),
    (["sharpen", "CATALOG", "-o", "OUT", "--bbox", "0", "0", "1", "1"], 2, "outside"),
    (["sharpen", "CATALOG", "-o", "OUT", "--workers", "2", "--scheduler", "x:1"], 2, "--workers"),
    (["sharpen", "no/such.json", "-o", "OUT"], 1, "no/such.json"),
    (["sharpen", "CATALOG", "-o", "OUT", "--predictor", "dsen3"], 1, "dsen3"),
    (["assess", "CATALOG", "--metric", "rmsd"], 2, "rmsd"),
    (["assess", "CATALOG", "--predictor", "dsen3"], 1, "dsen3"),
    (["models", "show", "dsen3"], 1, "dsen3"),
    (["models", "import", "no.hdf5", "-o", "OUT", "--level", "L1C"], 1, "no.hdf5"),
]


@pytest.mark.parametrize(("words", "code", "named"), BAD, ids=[" ".join(bad[0]) for bad in BAD])
def test_bad_input_ends_with_one_sentence_that_names_it(words, code, named, catalog, tmp_path):
    places = {"CATALOG": catalog, "OUT": tmp_path / "o.zarr"}
    result = run(*(places.get(word, word) for word in words))
    errors = result.stderr.splitlines()
    assert result.exit_code == code, result.stderr
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert errors[0].endswith(".")
    assert "unexpected" not in errors[0]
    assert named in errors[0]
    assert result.stdout == ""
    assert not (tmp_path / "o.zarr").exists()


def test_a_store_of_another_configuration_is_refused_unless_overwritten(catalog, tmp_path):
    order = ["sharpen", catalog, "-o", tmp_path / "o.zarr", "--bands", "B11", "--predictor"]
    assert run(*order, "bicubic").exit_code == 0
    refused = run(*order, "bilinear")
    assert refused.exit_code == 1
    assert "bicubic" in refused.stderr
    assert run(*order, "bilinear", "--overwrite").exit_code == 0


def test_a_traceback_shows_only_on_demand(tmp_path):
    words = ("sharpen", "no/such.json", "-o", tmp_path / "o.zarr")
    quiet, loud = run(*words), run(*words, "--debug")
    assert (quiet.exit_code, loud.exit_code) == (1, 1)
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_a_bug_is_reported_as_one(catalog, monkeypatch):
    monkeypatch.setattr("decametric.scenes.sources.read_items", lambda _: 1 / 0)
    result = run("explain", catalog)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: unexpected ZeroDivisionError")


def test_an_interrupted_run_says_how_to_go_on(catalog, tmp_path, monkeypatch):
    def stopped(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("decametric.runs.series.run_series", stopped)
    result = run("sharpen", catalog, "-o", tmp_path / "o.zarr")
    assert result.exit_code == console.INTERRUPTED
    assert "same command again to go on" in result.stderr
    # With --overwrite it would begin anew.
    result = run("sharpen", catalog, "-o", tmp_path / "o.zarr", "--overwrite")
    assert "same command without --overwrite to go on" in result.stderr


def test_in_a_pipe_there_is_json_and_no_bar(catalog, tmp_path):
    words = ("sharpen", catalog, "-o", tmp_path / "o.zarr", "--predictor", "bicubic", "--json")
    result = process(*words)
    assert json.loads(result.stdout)["tiles"]
    assert result.stderr == ""


def read_all(terminal):
    """Everything that is written to a terminal until its other end is closed."""
    shown = b""
    with contextlib.suppress(OSError):  # that is how Linux says that nobody writes any more
        while part := os.read(terminal, 4096):
            shown += part
    return shown.decode()


def test_on_a_terminal_there_is_a_bar(catalog, tmp_path):
    ours, theirs = os.openpty()
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read_all, ours)  # a terminal that is not read makes the writer wait
        result = process("sharpen", catalog, "-o", tmp_path / "o.zarr", "--json", stderr=theirs)
        os.close(theirs)
        shown = reading.result()
    os.close(ours)
    assert json.loads(result.stdout)["tiles"]
    assert "33UUB" in shown
    assert "2/2" in shown


def test_local_workers_compute_the_same_numbers(catalog, tmp_path):
    words = ["sharpen", catalog, "--bands", "B11,B01", "--predictor", "bicubic", "--json", "-o"]
    here = run(*words, tmp_path / "here.zarr")
    there = process(*words, tmp_path / "there.zarr", "--workers", 1)
    assert (here.exit_code, there.returncode) == (0, 0), there.stderr
    stored = [xr.open_zarr(tmp_path / n, group="33UUB").load() for n in ("here.zarr", "there.zarr")]
    assert stored[0].identical(stored[1])


def test_a_scheduler_that_does_not_answer_is_named(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr("decametric.runs.clients.CONNECT_TIMEOUT", 0.2)
    result = run("sharpen", catalog, "-o", tmp_path / "o.zarr", "--scheduler", "tcp://127.0.0.1:9")
    assert result.exit_code == 1
    assert "tcp://127.0.0.1:9" in result.stderr
