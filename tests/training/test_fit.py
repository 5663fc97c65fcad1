"""A tiny training learns, goes on exactly where it stopped, and says in its card what it was."""

from __future__ import annotations

import contextlib
import csv
import math
import signal
from dataclasses import replace
from typing import get_args, get_type_hints

import keras
import numpy as np
import pytest

from decametric.bands import BANDS_20M
from decametric.degradation import degrade
from decametric.errors import UsageError
from decametric.scenes.reader import load
from decametric.superres import networks
from decametric.superres.inference import sharpen
from decametric.superres.presets import load_predictor, read_card
from decametric.training import fit
from decametric.training.config import Sampling, TrainConfig
from decametric.training.fit import train
from decametric.training.history import Epoch, plateau
from decametric.training.state import State

TINY = TrainConfig(
    ratio=2, level="L1C", network="fast", blocks=1, features=16, batch=8, steps=12, epochs=12,
    learning_rate=3e-3, brightness=0.1,
)  # fmt: skip
SHORT = replace(TINY, features=4, steps=2, epochs=3)


def run(patch_sets, folder, config, **options):
    return train(patch_sets[0], config, validation=patch_sets[1], output=folder, **options)


@pytest.fixture(scope="module")
def trained(patch_sets, tmp_path_factory):
    """Folder of a preset with a trained tiny network, the card, and the epochs."""
    folder, epochs = tmp_path_factory.mktemp("trained"), []
    card = run(patch_sets, folder / "2x", TINY, tell=epochs.append)
    return folder, card, epochs


def test_a_tiny_run_lowers_the_loss_and_beats_bicubic(trained):
    _, _, epochs = trained
    assert len(epochs) == TINY.epochs
    assert epochs[-1].loss < 0.7 * epochs[0].loss
    assert epochs[-1].rmse < 0.8 * epochs[-1].bicubic
    # Against the other country's bicubic in each band, too.
    assert all(epochs[-1].bands[band] < rmse for band, rmse in epochs[-1].bands_bicubic.items())


def test_the_bundle_predicts_as_well_as_the_log_says(trained, places):
    folder, _, epochs = trained
    scene = load(places[1])
    coarse = degrade(scene, 2)
    errors = {}
    for name in (folder, "bicubic"):
        made = sharpen(coarse, load_predictor(name), bands=BANDS_20M)
        gaps = [(made[b].values - scene["r20m"][b].values) ** 2 for b in BANDS_20M]
        errors[name] = np.mean([1e4 * np.sqrt(np.nanmean(gap)) for gap in gaps])
    best = min(epochs, key=lambda epoch: epoch.rmse)
    # The log is of patches: a sample, and they have edges.
    assert errors[folder] == pytest.approx(best.rmse, rel=0.25)
    assert errors["bicubic"] == pytest.approx(best.bicubic, rel=0.25)
    assert errors[folder] < 0.85 * errors["bicubic"]


def test_the_card_tells_every_number(trained, places):
    _, card, epochs = trained
    told = card.training
    assert {key: told[key] for key in ("batch", "epochs", "brightness", "seed")} == {
        "batch": 8, "epochs": 12, "brightness": 0.1, "seed": 0,
    }  # fmt: skip
    assert told["items"] == sorted(item.id for item in places[0])
    assert {key: told["patches"][key] for key in ("ratio", "size", "count")} == {
        "ratio": 2, "size": 24, "count": 48,
    }  # fmt: skip
    scores = card.scores
    assert scores["validation"] == [places[1][0].id]
    assert scores["rmse_dn"] == min(epochs, key=lambda epoch: epoch.rmse).bands
    assert "Copernicus" in card.licence
    assert (card.ratio, card.level, card.name) == (2, "L1C", "fast-l1c-2x")


def test_the_log_has_a_line_for_each_epoch(trained):
    folder, _, epochs = trained
    with (folder / "2x" / "run" / "log.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["rmse"]) for line in lines] == [epoch.rmse for epoch in epochs]
    assert [float(line["B11_bicubic"]) for line in lines] == pytest.approx(
        [epoch.bands_bicubic["B11"] for epoch in epochs]
    )


class StoppedError(Exception):
    """As if the machine had gone away."""


def stop_after(number):
    def tell(epoch):
        if epoch.epoch == number:
            raise StoppedError

    return tell


def test_a_resumed_run_is_the_undisturbed_one(patch_sets, tmp_path):
    config = replace(SHORT, average=0.5)
    whole = run(patch_sets, tmp_path / "whole", config)
    with pytest.raises(StoppedError):
        run(patch_sets, tmp_path / "parts", config, tell=stop_after(2))
    parts = run(patch_sets, tmp_path / "parts", config, resume=True)
    states = [State.load(tmp_path / name / "run" / "state.npz") for name in ("whole", "parts")]
    assert states[0].history == states[1].history
    for kind in ("weights", "kept", "optimizer"):
        for one, other in zip(*(getattr(state, kind) for state in states), strict=True):
            np.testing.assert_array_equal(one, other)
    assert parts == whole  # the digest of the file, too


def test_resuming_before_the_first_epoch_begins_anew(patch_sets, tmp_path, monkeypatch):
    monkeypatch.setattr(fit._Run, "epoch", lambda *_: (_ for _ in ()).throw(StoppedError))
    with pytest.raises(StoppedError):
        run(patch_sets, tmp_path, SHORT)
    monkeypatch.undo()
    assert run(patch_sets, tmp_path, SHORT, resume=True).name == "fast-l1c-2x"


def test_another_run_in_the_folder_is_never_overwritten(patch_sets, tmp_path):
    config = replace(SHORT, epochs=1)
    run(patch_sets, tmp_path, config)
    with pytest.raises(UsageError, match="holds a training already"):
        run(patch_sets, tmp_path, config)
    with pytest.raises(UsageError, match="no training with these settings"):
        run(patch_sets, tmp_path, replace(config, seed=1), resume=True)


def test_fine_tuning_starts_from_the_bundle(trained, patch_sets, tmp_path):
    folder, _, epochs = trained
    gentle = replace(TINY, epochs=1, steps=1, learning_rate=1e-6)
    card = run(patch_sets, tmp_path / "tuned", gentle, fine_tune=folder / "2x")
    start = read_card(folder / "2x")
    assert card.training["start"] == f"{start.name} {start.sha256[:12]}"
    tuned = card.scores["rmse_dn"]
    best = min(epochs, key=lambda epoch: epoch.rmse)
    for band, rmse in best.bands.items():
        assert tuned[band] == pytest.approx(rmse, rel=1e-2)
    six = replace(gentle, ratio=6)
    with pytest.raises(UsageError, match="holds patches of ratio 2, the training is for 6"):
        run(patch_sets, tmp_path / "six", six, fine_tune=folder / "2x")


def test_a_network_is_tuned_with_the_exposure_that_it_was_trained_with(patch_sets, tmp_path):
    config = replace(SHORT, features=16, steps=12, epochs=2, context=2)
    start = run(patch_sets, tmp_path / "start", config)
    gentle = replace(config, epochs=1, steps=1, learning_rate=1e-6)
    found = {
        context: run(
            patch_sets,
            tmp_path / f"{context}",
            replace(gentle, context=context),
            fine_tune=tmp_path / "start",
        )
        for context in (None, 0)
    }
    assert [card.context for card in (start, *found.values())] == [2, 2, 0]


def test_the_average_takes_the_place_of_the_weights(patch_sets, tmp_path):
    weights = []
    for number, options in enumerate(({"steps": 1}, {"steps": 2}, {"steps": 2, "average": 0.9})):
        run(
            patch_sets,
            tmp_path / str(number),
            replace(SHORT, epochs=1, schedule="plateau", **options),
        )
        model = keras.models.load_model(tmp_path / str(number) / "network.keras")
        weights.append(model.get_weights())
    for first, second, averaged in zip(*weights, strict=True):
        # The average begins with the weights after the first step.
        np.testing.assert_allclose(averaged, 0.9 * first + 0.1 * second, atol=1e-6)


def test_low_precision_trains_float32_weights(patch_sets, tmp_path):
    card = run(patch_sets, tmp_path / "2x", replace(SHORT, precision="bfloat16", project=True))
    model = keras.models.load_model(tmp_path / "2x" / "network.keras")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert card.scores["rmse_dn"]["B05"] < 1e4


def test_float16_bundles_are_half_as_large_and_predict_the_same(trained, patch_sets, tmp_path):
    folder, card, _ = trained
    small = run(patch_sets, tmp_path / "small" / "2x", replace(TINY, storage="float16"))
    assert small.sha256 != card.sha256
    plain = tmp_path / "plain.keras"
    keras.models.load_model(folder / "2x" / "network.keras").save(plain)
    files = tmp_path / "small" / "2x" / "network.keras", folder / "2x" / "network.keras", plain
    sizes = [file.stat().st_size for file in files]
    assert sizes[0] < 0.6 * sizes[2]
    assert sizes[0] < 0.7 * sizes[1] < 0.7 * sizes[2]
    rng = np.random.default_rng(0)
    shapes = ((4, 60, 60), (6, 30, 30), (0, 10, 10))
    given = [rng.uniform(0, 0.5, shape).astype("f4") for shape in shapes]
    made = [load_predictor(f)(*given) for f in (folder, tmp_path / "small")]
    assert not np.array_equal(made[1], made[0])
    np.testing.assert_allclose(made[1], made[0], atol=2e-4)  # two digital numbers, at random input


def history(*rmse):
    return [Epoch(n + 1, 0.0, 0.0, value, 0.0, {}, {}) for n, value in enumerate(rmse)]


def test_the_plateau_halves_the_rate_after_epochs_without_progress():
    config = TrainConfig(ratio=2, level="L1C", schedule="plateau", plateau=2, floor=0.2)
    rates = [plateau(config, history(*[5, 4, 4, 4, 3, 3, 3, 3, 3, 3][:n])) for n in range(11)]
    assert [round(rate / config.learning_rate, 3) for rate in rates] == [
        1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2,
    ]  # fmt: skip


def test_a_run_stops_early_when_nothing_improves(patch_sets, tmp_path, monkeypatch):
    values = iter([9.0, 8.0, 8.5, 8.2, 1.0])
    monkeypatch.setattr(fit, "validate", lambda *_: ({"B05": next(values)}, {"B05": 1.0}))
    epochs = []
    run(patch_sets, tmp_path, replace(SHORT, steps=1, epochs=9, patience=2), tell=epochs.append)
    assert [epoch.rmse for epoch in epochs] == [9.0, 8.0, 8.5, 8.2]


def test_the_logs_can_be_read_by_tensorboard(trained):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder, _, epochs = trained
    events = accumulator.EventAccumulator(str(folder / "2x" / "run" / "tensorboard")).Reload()
    # By step: a tiny run writes several files in one second, which are read in any order.
    found = [e.value for e in sorted(events.Scalars("rmse/B11"), key=lambda event: event.step)]
    assert found == pytest.approx([epoch.bands["B11"] for epoch in epochs])


def test_what_cannot_be_trained_is_said(patch_sets, tmp_path):
    with pytest.raises(UsageError, match="An epoch of 99 steps of 8 patches does not fit the 96"):
        run(patch_sets, tmp_path, replace(SHORT, steps=99))


def test_every_network_can_be_chosen():
    assert set(get_args(get_type_hints(TrainConfig)["network"])) == set(networks.NETWORKS)


WRONG = {
    "network": ("unet", "one of dsen2, vdsen2, aesr, fast"),
    "ratio": (3, "one of 2, 6"),
    "loss": ("mse", "one of l1, l2, rmse, log"),
    "optimizer": ("sgd", "one of adamw, nadam"),
    "batch": (0, "at least 1"),
    "steps": (-1, "at least 1"),
    "epochs": (2.5, "of the type int"),
    "patience": (True, r"of the type int \| None"),
    "learning_rate": (0, "above 0"),
    "clip": (math.nan, "of the type float"),
    "average": (1.5, "from 0 to 1"),
    "orientations": ("no", "of the type bool"),
    "seed": (-1, "at least 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_no_training_can_have_are_refused(name):
    value, words = WRONG[name]
    with pytest.raises(UsageError, match=rf"^{name}={value!r} must be {words}\.$"):
        replace(SHORT, **{name: value})


def test_whole_numbers_stand_for_floats():
    assert replace(SHORT, learning_rate=1).learning_rate == 1
    with pytest.raises(UsageError, match="of the type int"):
        replace(SHORT, seed=np.int64(3))  # no JSON could be made of it


WRONG_SAMPLING = {
    "count": (-3, "at least 1"),
    "scales": ((1, 0), "at least 1"),
    "weights": ({"a": -1.0}, "at least 0"),
    "min_valid": (2.0, "from 0 to 1"),
    "as_level": ("L3", "of the type"),
}


@pytest.mark.parametrize("name", WRONG_SAMPLING)
def test_values_that_no_patches_can_have_are_refused(name):
    value, words = WRONG_SAMPLING[name]
    with pytest.raises(UsageError, match=f"^{name}=.* must be {words}"):
        Sampling(**{name: value})


def test_an_interrupt_that_a_library_swallows_stops_after_the_epoch(patch_sets, tmp_path):
    def swallow(_epoch):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(patch_sets, tmp_path, SHORT, tell=swallow)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(State.load(tmp_path / "run" / "state.npz").history) == 1
