"""Bundles and presets: what is stored comes back, and what is damaged or foreign is refused."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest

import made_scenes as made
from decametric.bands import BANDS_10M, BANDS_20M, BANDS_60M, SHARPENED
from decametric.errors import BundleError, SceneError, UsageError
from decametric.superres import networks, presets
from decametric.superres.architecture import read_config
from decametric.superres.consistency import Consistent
from decametric.superres.inference import sharpen
from decametric.superres.predictor import Bicubic, Bilinear, Predictor, provenance, upsample
from decametric.superres.presets import (
    KerasPredictor,
    list_predictors,
    load_predictor,
    network_halo,
    open_network,
    read_card,
    save_bundle,
)


def inputs(edge=48, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(
        (0.4 * rng.random((count, edge // step, edge // step))).astype("float32")
        for count, step in ((4, 1), (6, 2), (2, 6))
    )


def small(folder, *, level="L1C", ratio=2, **facts):
    """A bundle that nobody else opens."""
    model = networks.dsen2(*presets.BANDS_OF_RATIO[ratio], blocks=1, features=4)
    return model, save_bundle(model, folder, name="small", ratio=ratio, level=level, **facts)


def edit_card(bundle, **fields):
    file = bundle / "card.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.fixture
def preset(tiny, tmp_path):
    """A copy of the tiny preset, to damage."""
    return shutil.copytree(tiny, tmp_path / "copied")


# --- round trip --------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [2, 6])
def test_a_saved_bundle_comes_back_as_the_same_function(tmp_path, ratio):
    facts = {"training": "noise", "scores": "none", "licence": "CC0-1.0"}
    model, card = small(tmp_path / "deep" / "bundle", ratio=ratio, **facts)
    folder = tmp_path / "deep" / "bundle"
    assert read_card(folder) == card
    assert (card.training, card.scores, card.licence) == ("noise", "none", "CC0-1.0")
    assert card.scaling == 0.2
    assert card.radius == 4
    predictor = KerasPredictor(folder, card)
    assert isinstance(predictor, Predictor)
    b10, b20, b60 = inputs()
    # By hand: upsample, divide by 0.2, channels last, run, multiply by 0.2.
    fine = [b10, upsample(b20, 2, "bilinear"), upsample(b60, 6, "bilinear")][: 2 + (ratio == 6)]
    fed = [np.moveaxis(bands / np.float32(0.2), 0, -1)[None] for bands in fine]
    expected = np.moveaxis(np.asarray(networks.run(model, fed))[0], -1, 0) * np.float32(0.2)
    result = predictor(b10, b20, b60 if ratio == 6 else b60[:0])
    np.testing.assert_array_equal(result, expected)
    assert result.shape == (len(predictor.bands_out), 48, 48)
    assert result.dtype == np.float32


def test_a_network_without_weights_returns_the_bilinear_bands(tmp_path):
    model, _ = small(tmp_path / "p" / "2x")
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    save_bundle(model, tmp_path / "p" / "2x", name="zero", ratio=2, level="L1C")
    (member,) = load_predictor(tmp_path / "p", consistency=False).parts
    b10, b20, b60 = inputs()
    expected = upsample(b20, 2, "bilinear")
    np.testing.assert_allclose(member(b10, b20, b60[:0]), expected, rtol=1e-6)


def test_no_bundle_tells_how_weights_were_drawn_which_an_older_keras_may_not_know(tmp_path):
    small(tmp_path / "new")
    for file in [tmp_path / "new" / "network.keras", *presets.SHIPPED.rglob("network.keras")]:
        layers = [layer["config"] for layer in read_config(file)["config"]["layers"]]
        drawn = [layer["kernel_initializer"] for layer in layers if "filters" in layer]
        assert len(drawn) >= 3
        assert {initializer["class_name"] for initializer in drawn} == {"Zeros"}


def test_a_preset_joins_both_ratios_under_its_folder_name(tiny):
    predictor = load_predictor(tiny)
    assert predictor.name == "tiny"
    assert predictor.level == "L1C"
    assert predictor.bands_in == BANDS_10M + BANDS_20M + BANDS_60M
    assert predictor.bands_out == SHARPENED
    assert all(isinstance(part, Consistent) for part in predictor.parts)
    facts = provenance(predictor)
    assert facts["name"] == "tiny"
    for part, ratio in zip(facts["parts"], (2, 6), strict=True):
        assert part["sha256"] == presets.digest(tiny / f"{ratio}x" / "network.keras")
        assert (part["ratio"], part["precision"]) == (ratio, "float32")
        assert "projection" in part["consistency"]
    json.dumps(facts)
    assert load_predictor(str(tiny)) == predictor


def test_without_consistency_the_networks_stand_alone(tiny):
    predictor = load_predictor(tiny, consistency=False)
    assert all(isinstance(part, KerasPredictor) for part in predictor.parts)
    assert predictor.halo < load_predictor(tiny).halo


def test_a_preset_of_one_ratio_sharpens_that_one(preset):
    shutil.rmtree(preset / "6x")
    assert load_predictor(preset).bands_out == BANDS_20M


def test_interpolation_goes_by_name():
    assert load_predictor("bicubic") == Bicubic()
    assert load_predictor("bilinear") == Bilinear()
    assert {"bicubic", "bilinear"} <= set(list_predictors())


def test_shipped_presets_go_by_name_before_paths(tiny, tmp_path, monkeypatch):
    shutil.copytree(tiny, tmp_path / "shipped" / "ours")
    shutil.copytree(tiny, tmp_path / "here" / "ours")
    monkeypatch.setattr(presets, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path / "here")
    (member, _) = load_predictor("ours", consistency=False).parts
    assert member.path == tmp_path / "shipped" / "ours" / "2x"
    (member, _) = load_predictor("./ours", consistency=False).parts
    assert member.path == tmp_path / "here" / "ours" / "2x"
    assert "L1C" in list_predictors()["ours"]
    with pytest.raises(BundleError, match="choose from bicubic, bilinear, ours"):
        load_predictor("theirs")


# --- halo ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("radius", "ratio", "halo"),
    [
        (14, 2, 18),
        (14, 6, 18),
        (6, 2, 12),
        (6, 6, 12),
        (66, 2, 72),
        (66, 6, 72),
        (1, 2, 6),
        (3, 6, 6),
    ],
)
def test_network_halo(radius, ratio, halo):
    assert network_halo(radius, ratio) == halo


@pytest.mark.parametrize("ratio", [2, 6])
@pytest.mark.parametrize("radius", range(1, 40))
def test_network_halo_holds_every_coarse_pixel_that_is_interpolated_from(radius, ratio):
    """By hand: the leftmost pixel seen from column 0 is `-radius`; which coarse ones make it?"""
    leftmost = (-radius + 0.5) / ratio - 0.5
    coarse_needed = -int(np.floor(leftmost))
    halo = network_halo(radius, ratio)
    assert halo % 6 == 0
    assert halo >= radius
    assert halo >= coarse_needed * ratio
    assert halo - 6 < max(radius, coarse_needed * ratio)


@pytest.mark.parametrize("ratio", [2, 6])
def test_nothing_beyond_the_halo_reaches_the_output(tiny, ratio):
    member = load_predictor(tiny, consistency=False).parts[ratio == 6]
    halo = member.halo
    b10, b20, b60 = inputs(2 * halo + 12)
    b60 = b60 if ratio == 6 else b60[:0]
    core = np.s_[:, halo:-halo, halo:-halo]
    wide = [
        np.pad(b, [(0, 0), (n, n), (n, n)], constant_values=0.9)
        for b, n in ((b10, 6), (b20, 3), (b60, 1))
    ]
    one, other = member(b10, b20, b60), member(*wide)[:, 6:-6, 6:-6]
    # Another shape may be added up in another order; what lies beyond would show a thousandfold.
    np.testing.assert_allclose(one[core], other[core], rtol=0, atol=1e-6)
    assert np.abs(one - other).max() > 1e-3


# --- workers ------------------------------------------------------------------------------------


def test_pickles_hold_no_weights_and_work_elsewhere(tiny):
    predictor = load_predictor(tiny)
    member = predictor.parts[0].predictor
    assert member.flops > 0
    assert member.features == 16
    data = pickle.dumps(predictor)
    assert len(data) < 5000 < (tiny / "2x" / "network.keras").stat().st_size
    again = pickle.loads(data)  # noqa: S301  (our own bytes)
    assert again == predictor
    np.testing.assert_array_equal(again(*inputs()), predictor(*inputs()))


def test_threads_that_need_a_network_at_once_open_it_once(tmp_path, monkeypatch):
    _, card = small(tmp_path)
    opened, load = [], networks.load
    monkeypatch.setattr(networks, "load", lambda file: opened.append(file) or load(file))
    with ThreadPoolExecutor(8) as pool:
        models = set(pool.map(lambda _: open_network(tmp_path, card.sha256), range(16)))
    assert len(models) == 1
    assert opened == [tmp_path / "network.keras"]


def test_threads_that_predict_at_once_get_what_one_alone_gets(tiny):
    predictor = load_predictor(tiny)
    scenes = [inputs(seed=seed) for seed in range(6)]
    alone = [predictor(*arrays) for arrays in scenes]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda arrays: predictor(*arrays), scenes))
    np.testing.assert_array_equal(alone, together)


# --- precision ----------------------------------------------------------------------------------


def test_bfloat16_runs_and_deviates_little(tiny):
    full, low = (load_predictor(tiny, precision=name) for name in ("float32", "bfloat16"))
    assert provenance(low)["parts"][0]["precision"] == "bfloat16"
    difference = np.abs(full(*inputs()) - low(*inputs()))
    # Measured: 0.8 DN at most, 0.17 DN root mean square.
    assert 0 < difference.max() < 5e-4
    assert np.sqrt((difference**2).mean()) < 1e-4


# --- what is refused ----------------------------------------------------------------------------


def test_another_digest_is_refused(preset):
    with (preset / "2x" / "network.keras").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(BundleError, match=r"network.keras has the SHA-256 .*its card states"):
        load_predictor(preset)


def test_another_digest_is_refused_on_the_worker_too(tmp_path):
    _, card = small(tmp_path)
    (tmp_path / "network.keras").write_bytes(b"changed after the predictor was made")
    with pytest.raises(BundleError, match="damaged or was changed"):
        KerasPredictor(tmp_path, card)(*inputs())


def test_a_missing_network_is_named(preset):
    (preset / "6x" / "network.keras").unlink()
    with pytest.raises(BundleError, match=r"6x/network.keras does not exist on this machine"):
        load_predictor(preset)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda card: card.unlink(),
        lambda card: card.write_text("{"),
        lambda card: card.write_text("[]"),
        lambda card: card.write_text(card.read_text().replace('"halo"', '"hole"')),
    ],
    ids=["missing", "no json", "no object", "unknown field"],
)
def test_a_bad_card_is_named(preset, spoil):
    spoil(preset / "2x" / "card.json")
    with pytest.raises(BundleError, match=r"2x/card.json is not the card of a bundle"):
        load_predictor(preset)


def test_an_unknown_name_lists_the_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"no predictor 'dsen3'; choose from bicubic, bilinear"):
        load_predictor("dsen3")


def test_a_folder_without_bundles_is_no_preset(tmp_path):
    with pytest.raises(BundleError, match="is not a preset"):
        load_predictor(tmp_path)


def test_networks_of_two_levels_are_not_joined(preset):
    edit_card(preset / "6x", level="L2A")
    with pytest.raises(BundleError, match=r"different levels \(L1C, L2A\)"):
        load_predictor(preset)


def test_unknown_levels_and_precisions_are_refused(tiny, tmp_path):
    with pytest.raises(UsageError, match="level='L1' is not a level"):
        small(tmp_path, level="L1")
    with pytest.raises(UsageError, match="precision='half' is unknown"):
        load_predictor(tiny, precision="half")


def bundle_of(file, folder):
    """A predictor of any file: its digest is right, only its content is not."""
    _, card = small(folder)
    shutil.copy(file, folder / "network.keras")
    return KerasPredictor(folder, replace(card, sha256=presets.digest(folder / "network.keras")))


def test_a_lambda_layer_is_refused(tmp_path):
    image = keras.Input((None, None, 4))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(
        BundleError, match=r"layer keras.layers.Lambda, which could run foreign code"
    ):
        bundle_of(tmp_path / "lambda.keras", tmp_path / "bundle")(*inputs())


def rewritten(file, target, change):
    """A copy of a `.keras` file with another config."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data.decode()) if name == "config.json" else data)
    return target


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            '"module": "keras.layers", "class_name": "Conv2D"',
            '"module": "os", "class_name": "Conv2D"',
        ),
        (
            '"module": "keras.layers", "class_name": "Conv2D"',
            '"module": "kerasevil.layers", "class_name": "Conv2D"',
        ),
        ('"class_name": "Functional"', '"class_name": "Sequential"'),
        ('"class_name": "Rescaling"', '"class_name": "TFSMLayer"'),
    ],
    ids=["os", "lookalike", "model", "unknown layer"],
)
def test_foreign_layers_are_refused(tiny, tmp_path, old, new):
    source = tiny / "2x" / "network.keras"
    with zipfile.ZipFile(source) as archive:
        assert old in archive.read("config.json").decode()
    file = rewritten(source, tmp_path / "foreign.keras", lambda text: text.replace(old, new, 1))
    with pytest.raises(BundleError, match="could run foreign code or whose reach is unknown"):
        bundle_of(file, tmp_path / "bundle")(*inputs())


@pytest.mark.parametrize("content", [b"", b"no zip", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_keras_file_is_refused(tmp_path, content):
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(BundleError, match="is not a Keras 3 model file"):
        bundle_of(tmp_path / "odd", tmp_path / "bundle")(*inputs())


@pytest.mark.parametrize("config", ["[]", "{}", '{"config": {"layers": 3}}', '{"config": 1}'])
def test_an_odd_config_is_refused(tiny, tmp_path, config):
    file = rewritten(tiny / "2x" / "network.keras", tmp_path / "odd.keras", lambda _: config)
    with pytest.raises(BundleError):
        bundle_of(file, tmp_path / "bundle")(*inputs())


def test_a_huge_config_is_not_opened(tiny, tmp_path):
    file = rewritten(
        tiny / "2x" / "network.keras", tmp_path / "odd.keras", lambda text: text + " " * 10_000_001
    )
    with pytest.raises(BundleError, match="implausibly large"):
        bundle_of(file, tmp_path / "bundle")(*inputs())


def test_a_model_that_does_not_open_is_named(tiny, tmp_path):
    """Every layer is known, but the weights are those of another network."""
    file = rewritten(
        tiny / "2x" / "network.keras",
        tmp_path / "odd.keras",
        lambda text: text.replace('"filters": 16', '"filters": 17'),
    )
    with pytest.raises(BundleError, match="could not be opened as a Keras model"):
        bundle_of(file, tmp_path / "bundle")(*inputs())


# --- levels -------------------------------------------------------------------------------------


def test_a_scene_of_another_level_is_refused_unless_told_otherwise(tiny):
    scene = made.scene_of(made.random_bands(36, 36), 36, level="L2A")
    with pytest.raises(
        SceneError, match=r"scene is L2A, but tiny was trained on L1C.*any_level=True"
    ):
        sharpen(scene, tiny)
    with pytest.raises(SceneError, match="any_level"):
        sharpen(scene, load_predictor(tiny).parts[0])
    assert "B11" in sharpen(scene, tiny, any_level=True)
    assert "B11" in sharpen(made.scene_of(made.random_bands(36, 36), 36), tiny)
