"""`train`: a network learns from a patch set, epoch by epoch, and goes on exactly where it stopped.

What a run needs lies in the folder ``run`` of its bundle: ``run.json`` (settings), ``state.npz``
(weights, the optimiser's variables, the log) and, to look at, ``log.csv`` and TensorBoard's logs.
All randomness of an epoch comes from the seed and the epoch's number. So a resumed run makes the
same bundle as one that was never stopped.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from decametric.errors import UsageError
from decametric.superres import networks  # first: it keeps TensorFlow quiet
from decametric.superres.presets import BANDS_OF_RATIO, open_network, read_card, save_bundle
from decametric.training.batches import PatchSet, arrays, augmented
from decametric.training.history import (
    Epoch,
    kept,
    plateau,
    since_best,
    to_tensorboard,
    write_log,
)
from decametric.training.interrupts import remembered
from decametric.training.losses import masked_loss
from decametric.training.state import State
from decametric.training.teaching import taught
from decametric.training.validation import validate

import keras  # isort: skip
import numpy as np  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from decametric.superres.presets import Card
    from decametric.training.batches import Array
    from decametric.training.config import TrainConfig


def train(
    patches: str | Path,
    config: TrainConfig,
    *,
    validation: str | Path,
    output: str | Path,
    resume: bool = False,
    fine_tune: str | Path | None = None,
    tell: Callable[[Epoch], None] | None = None,
) -> Card:
    """Train a network on a patch set; the weights that validate best become a bundle.

    Of a network that is taught (`TrainConfig.teachers`), the last weights do.

    Parameters
    ----------
    patches, validation : path
        Patch sets of `decametric.training.patches.build_patches`, of different places.
    config : TrainConfig
        Every number of the run.
    output : path
        Folder of the bundle; the run's state lies in ``run/`` below it.
    resume : bool
        Go on where a run in `output` stopped.
    fine_tune : path, optional
        Bundle whose weights are the start; its network is taken, not that of `config`.
    tell : callable, optional
        Called after every epoch.

    Returns
    -------
    Card
        Of the bundle.

    Raises
    ------
    UsageError
        If `output` holds another run, or patches or bundle do not fit the configuration.
    """
    run = _Run(Path(output), PatchSet(Path(patches)), PatchSet(Path(validation)), config)
    run.prepare(fine_tune)
    if resume:
        run.restore()
    else:
        run.start()
    with remembered() as interrupted:
        while not run.finished:
            epoch = run.epoch()
            if tell is not None:
                tell(epoch)
            if interrupted.is_set():
                raise KeyboardInterrupt
    return run.save_bundle()


class _Run:
    """A training in progress."""

    def __init__(
        self, output: Path, patches: PatchSet, validation: PatchSet, config: TrainConfig
    ) -> None:
        self.output, self.folder = output, output / "run"
        self.patches, self.validation, self.config = patches, validation, config
        self.origin: str | None = None
        self.context = 0
        self.history: list[Epoch] = []
        self.kept: list[Any] = []
        for part in (patches, validation):
            _check_ratio(part, config.ratio)
        self.steps = config.steps or len(patches) // config.batch
        if not self.steps or self.steps * config.batch > len(patches):
            message = (
                f"An epoch of {self.steps} steps of {config.batch} patches does not fit the "
                f"{len(patches)} patches of {patches.path}; build more or ask for less."
            )
            raise UsageError(message)

    def prepare(self, fine_tune: str | Path | None) -> None:
        """Make the network, its twin in the precision of the training, and the optimiser."""
        config = self.config
        keras.utils.set_random_seed(config.seed)
        _distribute()
        config.check_start(fine_tune)
        if fine_tune is None:
            self.model = _network(config)
        else:
            start = _card(Path(fine_tune), config)
            self.origin = f"{start.name} {start.sha256[:12]}"
            self.context = start.context
            self.teacher = open_network(Path(fine_tune).resolve(), start.sha256)
            self.model = _copy(self.teacher)
        if config.context is not None:
            if config.teachers and config.context != self.context:
                message = f"context={config.context} is not that of the teacher, {self.context}."
                raise UsageError(message)
            self.context = config.context
        self.twin = networks.with_precision(self.model, config.precision)
        self.twin.compile(
            optimizer=_optimizer(config, self.steps),
            loss=masked_loss(config.loss, config.ratio, project=config.project),
            # XLA is what JAX is; TensorFlow's own kernels are faster on CPUs.
            jit_compile=keras.backend.backend() == "jax",
        )
        self.twin.optimizer.build(self.twin.trainable_variables)

    # === Start, go on, end ===

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same for a run to go on, as JSON knows it."""
        sides = {"patches": self.patches.items, "validation": self.validation.items}
        settings = {"config": asdict(self.config), **sides, "start": self.origin}
        return cast("dict[str, Any]", json.loads(json.dumps(settings)))

    def start(self) -> None:
        """Begin: remember the settings."""
        if (self.folder / "state.npz").exists():
            message = (
                f"{self.output} holds a training already; go on with it (resume=True, --resume) "
                "or choose another folder."
            )
            raise UsageError(message)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.json").write_text(json.dumps(self.settings, indent=2) + "\n")

    def restore(self) -> None:
        """Go on: the settings must be these; the state is read, if there is one yet."""
        file = self.folder / "run.json"
        if not file.is_file() or json.loads(file.read_text()) != self.settings:
            message = f"{self.output} holds no training with these settings and patches."
            raise UsageError(message)
        if not (self.folder / "state.npz").exists():
            return
        state = State.load(self.folder / "state.npz")
        self.history, self.kept = state.history, state.kept
        self.twin.set_weights(state.weights)
        for variable, value in zip(self.twin.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)

    def _store(self) -> None:
        """Write state and log."""
        variables = [np.asarray(variable) for variable in self.twin.optimizer.variables]
        state = State(self.twin.get_weights(), self.kept, variables, self.history)
        state.save(self.folder / "state.npz")
        write_log(self.history, self.folder / "log.csv")

    def save_bundle(self) -> Card:
        """The weights of the epoch to keep as a bundle, in float32, rounded to `storage`."""
        storage = self.config.storage
        self.model.set_weights([each.astype(storage).astype("float32") for each in self.kept])
        epoch = kept(self.config, self.history)
        scores = {
            "validation": self.validation.items,
            "epoch": f"{epoch.epoch} of {len(self.history)}",
            "rmse_dn": epoch.bands,
            "bicubic_dn": epoch.bands_bicubic,
        }
        return save_bundle(
            _copy(self.model),  # the network itself may carry the optimiser along
            self.output,
            name=self.config.bundle_name,
            ratio=self.config.ratio,
            level=self.config.level,
            context=self.context,
            training={
                "items": self.patches.items,
                "patches": self.patches.settings,
                "start": self.origin,
                **self.settings["config"],
            },
            scores=scores,
            licence="Apache-2.0; contains modified Copernicus Sentinel data",
        )

    # === Epochs ===

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or none of the last ones got any further."""
        patience = self.config.patience
        tired = patience is not None and since_best(self.history) >= patience
        return tired or len(self.history) >= self.config.epochs

    def epoch(self) -> Epoch:
        """Train and validate once, and store the state."""
        number = len(self.history)
        if self.config.schedule == "plateau":
            self.twin.optimizer.learning_rate = plateau(self.config, self.history)
        logs = self.twin.fit(
            self._batches(number),
            initial_epoch=number,
            epochs=number + 1,
            steps_per_epoch=self.steps,
            shuffle=False,
            verbose=0,
        )
        self.model.set_weights(self.twin.get_weights())
        bands, bicubic = validate(self.model, self.validation, self.config.ratio, self.context)
        done = Epoch(
            epoch=number + 1,
            learning_rate=float(np.asarray(self.twin.optimizer.learning_rate)),
            loss=float(logs.history["loss"][-1]),
            rmse=float(np.mean(list(bands.values()))),
            bicubic=float(np.mean(list(bicubic.values()))),
            bands=bands,
            bands_bicubic=bicubic,
        )
        self.history.append(done)
        if kept(self.config, self.history) is done:
            self.kept = self.model.get_weights()
        self._store()
        to_tensorboard(done, self.folder / "tensorboard")
        return done

    def _batches(self, number: int) -> Iterator[tuple[tuple[Array, ...], Array]]:
        """Augmented batches of one epoch."""
        rng = np.random.default_rng([self.config.seed, number])
        for patches in self.patches.batches(self.config.batch, rng):
            inputs, target = arrays(augmented(patches, self.config, rng), self.context)
            if self.config.teachers:
                target = taught(self.teacher, inputs, target, self.config.teachers, rng)
            yield inputs, target


def _distribute() -> None:
    """Share batches among accelerators: on JAX, where Keras can, and there are several."""
    if keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def _optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimiser with its schedule."""
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        total = config.epochs * steps
        warmup = round(config.warmup * total)
        rate = keras.optimizers.schedules.CosineDecay(
            config.learning_rate * config.floor,
            decay_steps=max(1, total - warmup),
            alpha=config.floor,
            warmup_target=config.learning_rate,
            warmup_steps=warmup,
        )
    common = {
        "global_clipnorm": config.clip,
        "use_ema": config.average > 0,
        "ema_momentum": config.average,
    }
    if config.optimizer == "nadam":
        return keras.optimizers.Nadam(rate, **common)
    return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **common)


def _network(config: TrainConfig) -> keras.Model:
    """A network with random weights."""
    options = {"blocks": config.blocks, "features": config.features}
    given = {key: value for key, value in options.items() if value is not None}
    return networks.NETWORKS[config.network](*BANDS_OF_RATIO[config.ratio], **given)


def _card(bundle: Path, config: TrainConfig) -> Card:
    """The card of the bundle that is the start."""
    card = read_card(bundle)
    if card.ratio != config.ratio:
        message = f"{bundle} has the ratio {card.ratio}, the training {config.ratio}."
        raise UsageError(message)
    return card


def _copy(model: keras.Model) -> keras.Model:
    """The network and its weights, and nothing that was compiled into it."""
    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


def _check_ratio(patches: PatchSet, ratio: int) -> None:
    found = {int(str(group.attrs["ratio"])) for group in patches.groups}
    if found != {ratio}:
        which = ", ".join(map(str, sorted(found)))
        message = f"{patches.path} holds patches of ratio {which}, the training is for {ratio}."
        raise UsageError(message)
