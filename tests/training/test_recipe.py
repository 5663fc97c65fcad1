"""Recipes: they parse, pick what they mean, never see a test item, and find products anew."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise

import pystac
import pytest

import made_scenes as made
from decametric.errors import SceneError, UsageError
from decametric.scenes.reader import TWELVE
from decametric.scenes.sources import read_items
from decametric.superres import presets
from decametric.superres.presets import read_card
from decametric.training import recipe as recipes
from decametric.training.config import Recipe, Sampling, Selection, TrainConfig, read_recipe
from decametric.training.places import tile_centre

SHIPPED = sorted(file.stem for file in recipes.RECIPES.glob("*.toml"))
TINY = TrainConfig(ratio=2, level="L1C", network="fast", blocks=1, features=4, batch=8, epochs=1)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_what_their_names_say(name):
    if name.startswith("full"):
        config = recipes.open_recipe(name, ratio=6).config
        assert (config.level.lower(), config.ratio) == (name[-3:], 6)
    else:
        config = recipes.open_recipe(name).config
        assert config.bundle_name == name
    assert config.network == {"full": "dsen2"}.get(name.split("-")[0], name.split("-")[0])


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.startswith("full")])
def test_shipped_presets_are_made_of_the_right_splits(name, shared_data):
    items = read_items(shared_data / "stac" / "catalog.json")
    training, validation = recipes.sides(recipes.open_recipe(name), items, None)
    assert {item.properties["split"] for item in training} == {"train"}
    assert {item.properties["split"] for item in validation} == {"validation"}
    assert (len(training), len(validation)) == (29, 4)


@pytest.mark.parametrize(
    "bundle", sorted(presets.SHIPPED.glob("*/[26]x")), ids=lambda b: f"{b.parent.name}-{b.name}"
)
def test_shipped_networks_were_trained_by_their_recipes(bundle):
    told = read_card(bundle).training
    recipe = recipes.open_recipe(f"{bundle.parent.name}-{bundle.name}")
    settings = asdict(recipe.config)
    assert {key: told[key] for key in settings} == settings
    cut = json.loads(json.dumps({"ratio": settings["ratio"], **asdict(recipe.sampling)}))
    assert told["patches"] == cut
    assert told["start"].split()[0] == recipe.start


def test_a_recipe_is_followed_to_a_bundle(places, tmp_path):
    items = [*places[0], *places[1]]
    chosen = Selection(training=("*33UUB*",), validation=("*31TCJ*",))
    recipe = Recipe(
        config=TINY, items=chosen, sampling=Sampling(size=24, count=8),
        choosing=Sampling(size=24, count=4),
    )  # fmt: skip
    plan = recipes.plan(recipe, items, None)
    assert plan["training"] == [item.id for item in places[0]]
    assert (plan["patches"], plan["patches_validation"]) == (16, 4)
    card = recipes.follow(recipe, items, None, tmp_path / "2x")
    assert card == read_card(tmp_path / "2x")
    tuned = replace(recipe, config=replace(TINY, seed=1))
    recipes.follow(tuned, places[0], places[1], tmp_path / "tuned", fine_tune=tmp_path)


def test_a_recipe_without_its_teacher_is_refused_before_patches_are_built(places, tmp_path):
    recipe = Recipe(config=replace(TINY, teachers=2))
    with pytest.raises(UsageError, match="teachers=2 needs a start, which is the teacher"):
        recipes.follow(recipe, places[0], places[1], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_recipe_for_either_ratio_must_be_told_which():
    with pytest.raises(UsageError, match=r"full-l1c\.toml: missing 'ratio'; state it"):
        recipes.open_recipe("full-l1c")
    assert recipes.open_recipe("full-l1c", ratio=6).config.ratio == 6


def test_a_recipe_may_start_from_another_which_is_followed_once(places, tmp_path):
    first = tmp_path / "first.toml"
    first.write_text(made.tiny_recipe(name="beginner", epochs=3))
    small = Sampling(size=24, count=8)
    recipe = Recipe(
        config=replace(TINY, epochs=2), start=str(first), sampling=small, choosing=small
    )
    told = []
    assert recipes.epochs(recipe, tmp_path / "2x") == 5
    card = recipes.follow(
        recipe, *places, tmp_path / "2x", tell=lambda epoch: told.append(epoch.epoch)
    )
    start = read_card(tmp_path / "2x" / "run" / "start")
    assert told == [1, 2, 3, 1, 2]
    assert start.training["start"] is None
    assert card.training["start"] == f"beginner {start.sha256[:12]}"
    assert recipes.epochs(recipe, tmp_path / "2x") == 2
    recipes.follow(recipe, *places, tmp_path / "2x", resume=True, tell=told.append)
    assert len(told) == 5
    assert recipes.plan(recipe, *places)["start"] == str(first)


def test_a_chain_that_was_stopped_in_its_first_recipe_goes_on_there(places, tmp_path):
    files = [tmp_path / f"{n}.toml" for n in range(3)]
    files[0].write_text(made.tiny_recipe(epochs=3, steps=1))
    for before, file in pairwise(files):
        file.write_text(made.tiny_recipe(start=str(before), epochs=1, steps=1))
    recipe, told = read_recipe(files[-1]), []

    def stop(epoch):
        told.append(epoch.epoch)
        if told == [1, 2]:
            raise KeyboardInterrupt

    assert not recipes.begun(tmp_path / "2x")
    with pytest.raises(KeyboardInterrupt):
        recipes.follow(recipe, *places, tmp_path / "2x", tell=stop)
    assert recipes.begun(tmp_path / "2x")
    recipes.follow(recipe, *places, tmp_path / "2x", resume=True, tell=stop)
    assert told == [1, 2, 3, 1, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('epochs = "10"', r"run\.toml: epochs='10' must be of the type int"),
        ('loss = "l7"', r"run\.toml: loss='l7' must be one of l1, l2, rmse, log"),
        ('[items]\ntraining = "oscd-*"', r"run\.toml, table items: training='oscd-\*' must be"),
        ("[sampling]\ncount = 0", r"run\.toml, table sampling: count=0 must be at least 1"),
        ("start = 3", "start=3 must be"),
    ],
)
def test_a_recipe_with_a_wrong_value_is_refused_before_any_work(tmp_path, text, words):
    file = tmp_path / "run.toml"
    file.write_text(f'ratio = 2\nlevel = "L2A"\n{text}\n')
    with pytest.raises(UsageError, match=words):
        read_recipe(file)


def test_bundles_are_found_by_name_folder_or_preset(tmp_path):
    (tmp_path / "mine" / "2x").mkdir(parents=True)
    assert recipes.bundle_of(tmp_path / "mine", 2) == tmp_path / "mine" / "2x"
    card = (presets.SHIPPED / "fast-l1c" / "2x" / "card.json").read_text()
    (tmp_path / "mine" / "2x" / "card.json").write_text(card)
    assert recipes.bundle_of(tmp_path / "mine" / "2x", 2) == tmp_path / "mine" / "2x"
    with pytest.raises(UsageError, match=r"has the ratio 2, the training 6; .* --ratio 2"):
        recipes.bundle_of(tmp_path / "mine" / "2x", 6)


PRODUCTS = {
    "training": "S2A_MSIL1C_20170515T162341_N0205_R040_T17TLH_20170515T163103",
    "validation": "S2A_MSIL1C_20170521T045701_N0205_R119_T45RTL_20170521T051027",
}


@pytest.fixture
def standing_in(position_item):
    """Two products of the full-scale recipe under the names of another processing."""
    names = {
        17: "S2A_MSIL1C_20170515T162341_N0500_R040_T17TLH_20230914T000000",
        45: "S2A_MSIL1C_20170521T045701_N0500_R119_T45RTL_20230914T000000",
    }
    return [
        position_item.write(
            name, epsg=32600 + zone, shape=(24, 24), when=f"{name[11:15]}-05-20T05:00:00Z",
            s2__product_type="S2MSI1C", bands=TWELVE,
        )
        for zone, name in names.items()
    ]  # fmt: skip


def test_products_are_found_where_they_were_processed_anew(standing_in):
    chosen = Selection(training=(PRODUCTS["training"],), validation=(PRODUCTS["validation"],))
    training, validation = recipes.sides(Recipe(config=TINY, items=chosen), standing_in, None)
    assert [item.id for item in (*training, *validation)] == [item.id for item in standing_in]


def test_the_full_scale_recipe_runs_on_a_catalog_in_place_of_the_archive(
    standing_in, tmp_path, monkeypatch
):
    """Every product of the recipe is asked for by place and day; two are in this catalog."""
    full = recipes.open_recipe("full-l1c", ratio=2)
    assert set(PRODUCTS.values()) < {*full.items.training, *full.items.validation}
    asked = []

    def search(*, bbox, datetime, catalog, level):
        asked.append((round(bbox[0]), round(bbox[1]), datetime, catalog, level))
        return [item for item in standing_in if datetime.replace("-", "") in item.id]

    monkeypatch.setattr(recipes, "search", search)
    short = Selection(
        training=(PRODUCTS["training"],), validation=(PRODUCTS["validation"],),
        catalog=full.items.catalog,
    )  # fmt: skip
    few = Sampling(size=24, count=8, max_cloud=1)  # pixels that tell their place are bright
    small = Recipe(config=TINY, items=short, sampling=few, choosing=few)
    assert recipes.follow(small, None, None, tmp_path).ratio == 2
    assert asked == [
        (-83, 43, "2017-05-15", "earth-search", "L1C"),
        (84, 28, "2017-05-21", "earth-search", "L1C"),
    ]
    with pytest.raises(SceneError, match="No item is S2A_MSIL1C_"):
        recipes.plan(full, None, None)


@pytest.mark.parametrize("level", ["l1c", "l2a"])
def test_the_full_scale_recipe_names_tiles_on_one_side_only(level):
    chosen = recipes.open_recipe(f"full-{level}", ratio=2).items
    tiles = [
        {recipes._PRODUCT.fullmatch(name)["tile"] for name in side}
        for side in (chosen.training, chosen.validation)
    ]
    assert not tiles[0] & tiles[1]
    assert len(tiles[0]) == 44
    assert len(tiles[1]) == 14


def test_what_is_missing_is_named(places):
    with pytest.raises(SceneError, match=r"No item is nowhere-\*; give the items"):
        recipes.plan(Recipe(config=TINY, items=Selection(training=("nowhere-*",))), places[0], None)
    with pytest.raises(UsageError, match=r"\* can only be picked from items"):
        recipes.plan(Recipe(config=TINY), None, None)
    with pytest.raises(UsageError, match="both are of tile 33UUB"):
        recipes.plan(Recipe(config=TINY), places[0], places[0])
    with pytest.raises(UsageError, match="Say which ratio and level"):
        recipes.open_recipe(None)
    with pytest.raises(UsageError, match=r"no recipe 'best'; choose from .*fast-l1c-2x"):
        recipes.open_recipe("best")


def test_unknown_settings_are_named(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('ratio = 2\nlevel = "L1C"\nlearing_rate = 1\n')
    with pytest.raises(UsageError, match=r"run.toml: learing_rate is no setting; choose from"):
        read_recipe(file)
    file.write_text('ratio = 2\nlevel = "L1C"\n[sampling]\nsice = 3\n')
    with pytest.raises(UsageError, match="table sampling: sice is no setting"):
        read_recipe(file)
    file.write_text("ratio = 2\n")
    with pytest.raises(UsageError, match=r"run.toml: .*missing .*'level'"):
        read_recipe(file)
    file.write_text("ratio = \n")
    with pytest.raises(UsageError, match="not a readable TOML file"):
        read_recipe(file)
    file.write_text('ratio = 2\nlevel = "L1C"\nepochs = 5\n[choosing]\nscales = [1, 2]\n')
    recipe = read_recipe(file, epochs=7)
    assert (recipe.config.epochs, recipe.choosing.scales) == (7, (1, 2))


def test_tiles_lie_where_the_real_items_are(shared_data):
    catalog = pystac.Catalog.from_file(str(shared_data / "stac" / "catalog.json"))
    found = 0
    for item in catalog.get_items(recursive=True):
        if name := recipes.tile(item):
            west, south, east, north = item.bbox
            place = tile_centre(name)
            # A tile measures 110 km; 70 km from its centre are at most 1.6 degrees of longitude
            # at 66 degrees north.
            assert abs(place.lat - (south + north) / 2) < 0.65
            assert abs(place.lon - (west + east) / 2) < 1.6
            found += 1
    assert found > 30
    with pytest.raises(UsageError, match="'33IUB' is not a tile"):
        tile_centre("33IUB")
