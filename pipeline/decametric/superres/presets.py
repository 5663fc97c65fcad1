"""Bundles and presets: networks on disk with everything that is needed to feed them rightly.

A *bundle* is a folder with ``network.keras`` and ``card.json``. A *preset* is a folder with one
bundle per ratio (``2x/``, ``6x/``), shipped in the package by name or anywhere on disk by path.
Workers get the bundle's path and digest, never the model; each process opens it once.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from decametric.bands import BANDS_10M, BANDS_20M, BANDS_60M, RESOLUTIONS
from decametric.errors import BundleError, UsageError
from decametric.grid import round_up
from decametric.superres.architecture import (
    count_parameters,
    flops_per_pixel,
    read_config,
    receptive_radius,
    widest_layer,
)
from decametric.superres.consistency import Consistent
from decametric.superres.display import Shown
from decametric.superres.feed import SCALING, network_inputs, network_output
from decametric.superres.orientations import GROUPS, mean_output
from decametric.superres.predictor import Bicubic, Bilinear, Joint, facts, of_resolution

if TYPE_CHECKING:
    from collections.abc import Iterable

    import keras
    from numpy.typing import NDArray

    from decametric.superres.predictor import Predictor

    Array = NDArray[np.float32]

Precision = Literal["float32", "bfloat16"]

SHIPPED = Path(__file__).parent / "shipped"
"""Presets inside of the package, one folder each."""

BANDS_OF_RATIO: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    2: (BANDS_10M + BANDS_20M, BANDS_20M),
    6: (BANDS_10M + BANDS_20M + BANDS_60M, BANDS_60M),
}
"""Input and output bands of the DSen2 family."""

DEFAULT_PRESETS = {"L1C": "fast-l1c", "L2A": "fast-l2a"}
"""What sharpens scenes of a level unless something is named."""

INTERPOLATIONS = {"bicubic": Bicubic(), "bilinear": Bilinear()}

_opening = threading.Lock()
_running = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Card:
    """What must be known of a network, beside its weights; stored as ``card.json``."""

    name: str
    """Name of the bundle."""
    ratio: int
    """2 (20 m to 10 m) or 6 (60 m to 10 m)."""
    level: str
    """Level of the scenes it was trained on: ``"L1C"`` or ``"L2A"``."""
    bands_in: tuple[str, ...]
    """Bands that it reads, in its order."""
    bands_out: tuple[str, ...]
    """Bands that it returns, in its order."""
    scaling: float
    """Reflectance that becomes 1 at the network's input, 0.2 as in the DSen2 family (DN / 2000)."""
    radius: int
    """Receptive radius in 10 m pixels."""
    halo: int
    """Radius plus the reach of upsampling and exposure, a multiple of 6."""
    sha256: str
    """Digest of ``network.keras``."""
    context: int = 0
    """Coarse pixels on each side that decide the exposure of the bands, see
    `decametric.superres.feed`; 0: none."""
    degradation: str = "gaussian sigma 1/ratio, block mean"
    """Forward model of the training, which the consistency step projects with."""
    training: dict[str, Any] = field(default_factory=dict, hash=False)
    """What it was trained on, and every number of the run."""
    scores: dict[str, Any] = field(default_factory=dict, hash=False)
    """How good it is, and on what: root mean square errors in digital numbers."""
    limits: str = ""
    """Where it should not be trusted."""
    licence: str = ""
    """Licence of the weights."""

    def save(self, folder: Path) -> None:
        """Write it into the folder of its bundle."""
        (folder / "card.json").write_text(json.dumps(asdict(self), indent=2) + "\n")


@dataclass(frozen=True, repr=False)
class KerasPredictor(Shown):
    """A bundle as a predictor; it pickles as a path and a card, without the weights."""

    path: Path
    """Folder of the bundle."""
    card: Card
    """The bundle's card."""
    precision: Precision = "float32"
    """Arithmetic of the hidden layers."""
    orientations: int = 1
    """The mean over so many orientations of the input is returned: 1, 2, 4 or 8."""

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self.card.name

    @property
    def level(self) -> str:
        """Level of the scenes it was trained on."""
        return self.card.level

    @property
    def bands_in(self) -> tuple[str, ...]:
        """Bands that it reads."""
        return self.card.bands_in

    @property
    def bands_out(self) -> tuple[str, ...]:
        """Bands that it returns."""
        return self.card.bands_out

    @property
    def halo(self) -> int:
        """Context in 10 m pixels."""
        return self.card.halo

    @cached_property
    def flops(self) -> int:
        """Floating-point operations for one 10 m pixel."""
        return self.orientations * flops_per_pixel(read_config(self.path / "network.keras"))

    @cached_property
    def features(self) -> int:
        """Channels of its widest layer."""
        return widest_layer(read_config(self.path / "network.keras"))

    @cached_property
    def parameters(self) -> int | None:
        """Weights and biases; None where the file cannot be read: a repr must not fail."""
        with suppress(BundleError):
            return count_parameters(read_config(self.path / "network.keras"))
        return None

    def _rows(self) -> list[tuple[str, ...]]:
        """What it is."""
        return [("predictor", self.name), *facts(self)]

    @property
    def provenance(self) -> dict[str, object]:
        """Name, digest, arithmetic and orientations."""
        facts = {"name": self.name, "ratio": self.card.ratio, "sha256": self.card.sha256}
        return {**facts, "precision": self.precision, "orientations": self.orientations}

    def __dask_tokenize__(self) -> tuple[str, str, int]:
        """Digest, arithmetic and orientations say it all."""
        return self.card.sha256, self.precision, self.orientations

    def __call__(self, b10: Array, b20: Array, b60: Array) -> Array:
        """Run the network on one window: reflectance in, reflectance out."""
        images = {
            resolution: array[None]
            for resolution, array in zip(RESOLUTIONS, (b10, b20, b60), strict=True)
            if of_resolution(self.bands_in, resolution)
        }
        inputs, gain = network_inputs(images, self.card.context, self.card.scaling)
        model = open_network(self.path, self.card.sha256, self.precision)
        # One network call at a time in a process: its own threads fill the machine or the GPU,
        # while Dask's other threads read and write.
        with _running:
            output = mean_output(model, inputs, GROUPS[self.orientations])
        sharp: Array = network_output(output, gain, self.card.scaling)[0]
        return sharp


def open_network(path: Path, sha256: str, precision: Precision = "float32") -> keras.Model:
    """The Keras model of a bundle, opened once in each process.

    Raises
    ------
    BundleError
        If the file is missing here, has another digest, or is not a plain Keras model.
    """
    with _opening:
        return _open_network(path, sha256, precision)


@cache
def _open_network(path: Path, sha256: str, precision: Precision) -> keras.Model:
    from decametric.superres.networks import load, with_precision

    file = path / "network.keras"
    check_digest(file, sha256)
    read_config(file)
    try:
        model = load(file)
    except (ValueError, TypeError, OSError, KeyError) as error:
        message = f"{file} could not be opened as a Keras model: {str(error).splitlines()[0]}"
        raise BundleError(message) from error
    model = with_precision(model, precision)
    # Windows have one shape, but XLA would still compile for each; it gains nothing here.
    model.compile(jit_compile=False)
    return model


def check_digest(file: Path, sha256: str) -> None:
    """Raise `BundleError` unless `file` has the digest that its card states."""
    if not file.is_file():
        message = (
            f"{file} does not exist on this machine; presets must be reachable by every worker."
        )
        raise BundleError(message)
    if (found := digest(file)) != sha256:
        message = (
            f"{file} has the SHA-256 {found[:12]}..., its card states {sha256[:12]}...; the bundle "
            "is damaged or was changed: fetch or import it again."
        )
        raise BundleError(message)


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def network_halo(radius: int, ratio: int, context: int = 0) -> int:
    """Radius plus the reach of bilinear upsampling by `ratio`, rounded up to whole 60 m pixels.

    The farthest pixel that the network sees lies `radius` beyond the edge; its value is
    interpolated from the next coarse pixel out, all of which must lie in the halo. So must the
    `context` of that one, where there is an exposure, and one pixel more: it is interpolated too.
    """
    coarse = int(np.ceil((radius - 0.5) / ratio - 0.5)) + 1
    beyond = (context + 1) * ratio if context else 0
    return round_up(max(radius, coarse * ratio) + beyond)


def save_bundle(
    model: keras.Model,
    folder: Path,
    *,
    name: str,
    ratio: int,
    level: str,
    context: int = 0,
    **facts: Any,  # noqa: ANN401  (fields of Card)
) -> Card:
    """Write a network and its card: equal weights have an equal digest.

    Parameters
    ----------
    model : keras.Model
        A network of this family, as `networks` builds them.
    folder : Path
        Folder of the bundle; made if need be.
    name, ratio, level, context : str, int, str, int
        See `Card`.
    **facts
        Further fields of the card: ``training``, ``scores``, ``limits``, ``licence``.
    """
    from decametric.superres.networks import save

    if level not in ("L1C", "L2A"):
        message = f"level={level!r} is not a level; use L1C or L2A."
        raise UsageError(message)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "network.keras"
    save(model, file)
    radius = receptive_radius(read_config(file))
    bands_in, bands_out = BANDS_OF_RATIO[ratio]
    card = Card(
        name=name,
        ratio=ratio,
        level=level,
        bands_in=bands_in,
        bands_out=bands_out,
        scaling=SCALING,
        radius=radius,
        halo=network_halo(radius, ratio, context),
        context=context,
        sha256=digest(file),
        **facts,
    )
    card.save(folder)
    return card


def read_card(folder: Path) -> Card:
    """The card of a bundle.

    Raises
    ------
    BundleError
        If there is none, or it lacks or has unknown fields.
    """
    file = folder / "card.json"
    try:
        fields: dict[str, Any] = json.loads(file.read_text())
        fields |= {key: tuple(fields[key]) for key in ("bands_in", "bands_out")}
        return Card(**fields)
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{file} is not the card of a bundle ({type(error).__name__}: {error})."
        raise BundleError(message) from error


def load_predictor(
    name: str | Path,
    *,
    precision: Precision = "float32",
    orientations: int = 1,
    consistency: bool = True,
) -> Predictor:
    """The predictor of a name or a preset folder.

    Parameters
    ----------
    name : str or Path
        ``"bicubic"``, ``"bilinear"``, the name of a shipped preset, or the path of a preset.
    precision : {"float32", "bfloat16"}
        Arithmetic of the hidden layers; bfloat16 is faster where the hardware has it.
    orientations : {1, 2, 4, 8}
        Return the mean of the network over so many orientations of its input (as it is, half turns,
        quarter turns, those and their mirror images): less error at so many times the cost. With 8
        the result of a turned scene is the turned result.
    consistency : bool
        Project the output so that, degraded, it equals the measured bands.

    Returns
    -------
    Predictor

    Raises
    ------
    BundleError
        If there is no such preset, or it is damaged.
    """
    if precision not in ("float32", "bfloat16"):
        message = f"precision={precision!r} is unknown; use float32 or bfloat16."
        raise UsageError(message)
    if orientations not in GROUPS:
        message = f"orientations={orientations!r} is unknown; use 1, 2, 4 or 8."
        raise UsageError(message)
    if str(name) in INTERPOLATIONS:
        return INTERPOLATIONS[str(name)]
    folder = preset_folder(name)
    bundles = sorted(folder.glob("[26]x"))
    if not bundles:
        message = f"{folder} is not a preset: it has neither a 2x nor a 6x folder with a bundle."
        raise BundleError(message)
    cards = {bundle: read_card(bundle) for bundle in bundles}
    levels = {card.level for card in cards.values()}
    if len(levels) > 1:
        message = f"{folder} joins networks of different levels ({', '.join(sorted(levels))})."
        raise BundleError(message)
    members: list[Predictor] = []
    for bundle, card in cards.items():
        check_digest(bundle / "network.keras", card.sha256)
        member = KerasPredictor(bundle.resolve(), card, precision, orientations)
        members.append(Consistent(member) if consistency else member)
    mean = "" if orientations == 1 else f", {orientations} orientations"
    return Joint(folder.name + mean, tuple(members), levels.pop())


def predictor_for(
    scenes: Iterable[str | None],
    predictor: Predictor | str | Path | None = None,
    *,
    precision: Precision = "float32",
    orientations: int = 1,
) -> Predictor:
    """The predictor that was asked for, or the default one of the scenes.

    Parameters
    ----------
    scenes : iterable of str
        Their levels.
    predictor : Predictor, str or Path, optional
        Returned as it is, or opened by `load_predictor`. Default: `DEFAULT_PRESETS`.
    precision : {"float32", "bfloat16"}
        Arithmetic of a predictor that is opened.
    orientations : {1, 2, 4, 8}
        Orientations that it takes the mean over.

    Raises
    ------
    UsageError
        If there is no default: the scenes are of several levels, or do not say of which.
    """
    if predictor is None:
        levels = set(scenes)
        if len(levels) != 1 or not levels <= set(DEFAULT_PRESETS):
            found = ", ".join(sorted(str(level) for level in levels)) or "none"
            message = (
                f"No predictor goes with scenes of level {found}; name one (--predictor), or take "
                "scenes of one level."
            )
            raise UsageError(message)
        predictor = DEFAULT_PRESETS[str(levels.pop())]
    if isinstance(predictor, (str, Path)):
        return load_predictor(predictor, precision=precision, orientations=orientations)
    return predictor


def preset_folder(name: str | Path) -> Path:
    """Where a preset lies: a shipped name first, else a path."""
    if (shipped := SHIPPED / str(name)).is_dir() and str(name) == Path(name).name:
        return shipped
    if (folder := Path(name).expanduser()).is_dir():
        return folder
    message = (
        f"There is no predictor {str(name)!r}; choose from {', '.join(list_predictors())}, or give "
        "the path of a preset folder."
    )
    raise BundleError(message)


def list_predictors() -> dict[str, str]:
    """Names that `load_predictor` knows, each with a line that describes it."""
    known = {
        "bicubic": "bicubic interpolation (Keys, a = -0.5): the baseline, no weights",
        "bilinear": "bilinear interpolation, no weights",
    }
    for folder in sorted(SHIPPED.glob("*/")):
        cards = [read_card(bundle) for bundle in sorted(folder.glob("[26]x"))]
        ratios = " and ".join(f"{card.ratio}x" for card in cards)
        known[folder.name] = f"our networks, {ratios}, for {cards[0].level}"
    return known
