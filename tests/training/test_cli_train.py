"""`decametric train` as a user meets it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import made_scenes as made
from decametric.bands import BANDS_20M
from decametric.cli import cli
from decametric.superres.presets import load_predictor


def run(*words):
    return CliRunner().invoke(cli, ["train", *map(str, words)])


@pytest.fixture
def catalogs(places, tmp_path):
    """Files of items to learn from and to choose on, and of a recipe."""
    files = []
    for name, items in zip(("training", "validation"), places, strict=True):
        file = tmp_path / f"{name}.json"
        features = [item.to_dict(transform_hrefs=False) for item in items]
        for feature, item in zip(features, items, strict=True):
            for asset in feature["assets"].values():
                asset["href"] = item.get_self_href().rsplit("/", 1)[0] + "/" + asset["href"]
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        files.append(file)
    recipe = tmp_path / "run.toml"
    recipe.write_text(made.tiny_recipe(epochs=2, steps=1))
    return *files, recipe


def test_a_dry_run_tells_and_makes_nothing(catalogs, tmp_path):
    training, validation, recipe = catalogs
    words = (training, "--validation", validation, "--config", recipe, "-o", tmp_path / "out")
    result = run(*words, "--dry-run", "--json", "--epochs", 5)
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert len(plan["training"]) == 2
    assert (plan["patches"], plan["patches_validation"]) == (16, 4)
    assert plan["config"]["epochs"] == 5
    assert not (tmp_path / "out").exists()
    table = run(*words, "--dry-run")
    assert "patches" in table.stdout
    assert "fast" in table.stdout


def test_a_dry_run_of_a_fine_tuning_tells_its_start(catalogs, tmp_path):
    training, validation, recipe = catalogs
    words = (training, "--validation", validation, "--config", recipe, "-o", tmp_path / "out")
    result = run(*words, "--fine-tune", "fast-l1c", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["start"] == "fast-l1c"
    assert "network" not in plan["config"]
    wrong = run(*words, "--fine-tune", "no-such", "--dry-run")
    assert wrong.exit_code != 0
    assert "no-such" in wrong.stderr


def test_a_run_makes_a_bundle_and_resumes(catalogs, tmp_path):
    training, validation, recipe = catalogs
    words = (training, "--validation", validation, "--config", recipe, "-o", tmp_path / "mine/2x")
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert (card["name"], card["ratio"], card["level"]) == ("fast-l1c-2x", 2, "L1C")
    assert "epoch 2" in result.stderr
    assert load_predictor(tmp_path / "mine").bands_out == BANDS_20M
    again = run(*words)
    assert again.exit_code == 2
    assert "holds a training already" in again.stderr
    assert run(*words, "--resume").exit_code == 0


def test_what_is_wrong_is_said(catalogs, tmp_path):
    training, validation, _ = catalogs
    leak = run(training, "--validation", training, "--ratio", 2, "--level", "L1C", "-o", tmp_path)
    assert "both are of tile 33UUB" in leak.stderr
    vague = run(training, "--validation", validation, "-o", tmp_path)
    assert "Say which ratio and level" in vague.stderr
