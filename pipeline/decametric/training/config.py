"""Every number of a training, in two frozen dataclasses that a TOML file fills."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from decametric.errors import UsageError
from decametric.superres.orientations import ORIENTATIONS
from decametric.training.checks import FROM_0, FROM_1, POSITIVE, SHARE, check

_OF_PATCHES = {
    **dict.fromkeys(("size", "count", "scales"), FROM_1),
    "repeats": POSITIVE,
    **dict.fromkeys(("weights", "seed"), FROM_0),
    **dict.fromkeys(("min_valid", "max_cloud"), SHARE),
}
_OF_RUNS = {
    **dict.fromkeys(("blocks", "features", "batch", "epochs", "steps", "plateau"), FROM_1),
    "patience": FROM_1,
    **dict.fromkeys(("learning_rate", "clip"), POSITIVE),
    **dict.fromkeys(("context", "weight_decay", "gain", "brightness", "offset", "seed"), FROM_0),
    **dict.fromkeys(("warmup", "floor", "average", "foreign"), SHARE),
    "teachers": (0, ORIENTATIONS),
}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How patches are cut from scenes; table ``[sampling]`` of a configuration."""

    size: int = 48
    """Edge of a patch in pixels of the target, a multiple of 6."""
    count: int = 500
    """Patches of each item, before `weights`: the same for every item that is large enough."""
    repeats: float = 8.0
    """Times that a pixel is drawn at most, on average: an item that is too small for `count` gives
    fewer patches, lest its few pixels be learned by heart."""
    weights: dict[str, float] = field(default_factory=dict)
    """Factors for the number of patches: glob pattern of the item's identifier -> factor; the first
    match counts."""
    scales: tuple[int, ...] = (1,)
    """Scenes are cut as they are (1) and made coarser by these factors; they share `count` in
    proportion to the pixels that are left."""
    min_valid: float = 0.5
    """Patches with a smaller share of target pixels that may be learned from are rejected."""
    max_cloud: float = 0.5
    """Patches with a larger share of cloud are rejected; see `decametric.training.patches`."""
    as_level: Literal["L1C", "L2A"] | None = None
    """B09 of scenes of another level is made as bright as at this one, so that a network learns
    from both: at the top of the atmosphere water vapour leaves about a third of it."""
    seed: int = 0
    """Seed of the positions."""

    def __post_init__(self) -> None:
        """Refuse what no patches can be cut by."""
        check(self, _OF_PATCHES)

    def wanted(self, item: str, pixels: float) -> int:
        """Patches of one item that has so many pixels of the target."""
        factor = next((f for glob, f in self.weights.items() if fnmatchcase(item, glob)), 1.0)
        return round(factor * min(self.count, self.repeats * pixels / self.size**2))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every number of a training run; it is written into the card of the bundle."""

    ratio: Literal[2, 6]
    """2 (20 m to 10 m) or 6 (60 m to 10 m)."""
    level: Literal["L1C", "L2A"]
    """Level of the scenes that the network is for."""
    network: Literal["dsen2", "vdsen2", "aesr", "fast"] = "dsen2"
    """One of `decametric.superres.networks.NETWORKS`."""
    blocks: int | None = None
    """Residual blocks; None: the network's own number."""
    features: int | None = None
    """Channels of the hidden layers; None: the network's own number."""
    context: int | None = None
    """Coarse pixels on each side that decide the exposure of the bands for the network, see
    `decametric.superres.feed`; 0: none; None: as in the bundle that is the start, or 0."""
    name: str = ""
    """Name of the bundle; empty: network, level and ratio."""

    batch: int = 16
    """Patches in a step."""
    epochs: int = 100
    """Epochs at most."""
    steps: int | None = None
    """Steps of an epoch; None: every patch once."""
    optimizer: Literal["adamw", "nadam"] = "adamw"
    """Nadam is that of Lanaras et al. 2018."""
    learning_rate: float = 1e-3
    """Largest learning rate."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """Cosine after a warm-up, or halving where the validation stands still for `plateau` epochs."""
    warmup: float = 0.02
    """Share of all steps in which the learning rate rises to its largest (cosine)."""
    plateau: int = 5
    """Epochs without progress before the learning rate is halved (plateau)."""
    floor: float = 0.01
    """Smallest learning rate, as a share of the largest."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW)."""
    clip: float = 1.0
    """Largest norm of the gradients of a step."""
    average: float = 0.0
    """Momentum of the moving average that replaces the weights after each epoch; 0: none."""
    loss: Literal["l1", "l2", "rmse", "log"] = "l1"
    """Mean absolute or squared difference over the pixels that are known; or the RMSE in each band
    of each patch, averaged, which is what networks are judged by; or its logarithm: a tenth less
    error counts the same on land with much contrast and with little."""
    project: bool = False
    """Project the output onto the measured bands before the loss, as it will be in use."""
    teachers: int = 0
    """Learn the mean of what the start gives in so many orientations of a patch (1 to 8), in place
    of what was measured, see `decametric.training.teaching`, and keep the last epoch; 0: none."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the hidden layers; weights are kept in float32."""
    storage: Literal["float32", "float16"] = "float32"
    """Numbers that the weights are rounded to in the bundle. They are float32 still, so that any
    reader of Keras files opens them; the 13 bits that float16 has not are 0 and vanish in the
    packing: a third less to store."""

    orientations: bool = True
    """Turn and flip each patch at random (eight orientations)."""
    gain: float = 0.0
    """Standard deviation of the logarithm of a random factor for each band of a patch."""
    brightness: float = 0.0
    """The same for one factor that all bands of a patch share."""
    offset: float = 0.0
    """Largest random reflectance that is added to each band of a patch."""
    foreign: float = 0.0
    """Share of patches that get spectra of no known land cover: each band has another factor
    (logarithm with a standard deviation of 0.5), and every second one becomes its negative, about
    its median. How the bands belong together must then be found in the patch itself."""

    patience: int | None = None
    """Stop after so many epochs without progress; None: never."""
    seed: int = 0
    """Seed of the weights, the order of the patches, and the augmentation."""

    def __post_init__(self) -> None:
        """Refuse what no training can do."""
        check(self, _OF_RUNS)

    def check_start(self, start: str | Path | None) -> None:
        """Refuse to be taught without a bundle that is the start and teaches."""
        if self.teachers and start is None:
            message = f"teachers={self.teachers} needs a start, which is the teacher."
            raise UsageError(message)

    @property
    def bundle_name(self) -> str:
        """Name of the bundle."""
        return self.name or f"{self.network}-{self.level.lower()}-{self.ratio}x"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which items are for what; table ``[items]`` of a configuration."""

    training: tuple[str, ...] = ("*",)
    """Glob patterns of identifiers, or names of products of ESA, which also mean the same scene
    where it was processed anew."""
    validation: tuple[str, ...] = ("*",)
    """The same for the items to choose on."""
    any_level: bool = False
    """Learn from items of another level as well."""
    catalog: str | None = None
    """STAC API to search products in, where no items are given."""

    def __post_init__(self) -> None:
        """Refuse what selects nothing."""
        check(self, {})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that makes a bundle from items: what ``decametric train --config`` reads."""

    config: TrainConfig
    """The run."""
    sampling: Sampling = field(default_factory=Sampling)
    """Patches to learn from; table ``[sampling]``."""
    choosing: Sampling = field(default_factory=lambda: Sampling(count=32, seed=1))
    """Patches to choose on; table ``[choosing]``."""
    items: Selection = field(default_factory=Selection)
    """Which items; table ``[items]``."""
    start: str | None = None
    """Recipe, by name or file, that is followed first; its weights are the start of this one."""

    def __post_init__(self) -> None:
        """Refuse what names no recipe."""
        check(self, {})


def read_recipe(path: str | Path, **overrides: Any) -> Recipe:  # noqa: ANN401
    """The recipe in a TOML file; fields of the run that are given here go first.

    The file has the fields of `TrainConfig` and ``start`` at its top, and the tables
    ``[sampling]``, ``[choosing]`` and ``[items]``.

    Raises
    ------
    UsageError
        If it cannot be read, has a field that there is not, or lacks ratio or level.
    """
    try:
        values = tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        message = f"{path} is not a readable TOML file: {error}."
        raise UsageError(message) from error
    parts = {
        name: _filled(kind, values.pop(name), f"{path}, table {name}")
        for name, kind in (("sampling", Sampling), ("choosing", Sampling), ("items", Selection))
        if name in values
    }
    start = values.pop("start", None)
    config = _filled(TrainConfig, values | overrides, str(path))
    return Recipe(config=config, start=start, **parts)


def _filled(kind: type[Any], values: dict[str, Any], where: str) -> Any:  # noqa: ANN401
    """`kind` made of `values`; lists become tuples."""
    known = [each.name for each in fields(kind)]
    if unknown := sorted(set(values) - set(known)):
        message = f"{where}: {', '.join(unknown)} is no setting; choose from {', '.join(known)}."
        raise UsageError(message)
    needed = [each.name for each in fields(kind) if each.default is each.default_factory is MISSING]
    if lacking := [name for name in needed if name not in values]:
        message = (
            f"{where}: missing {', '.join(map(repr, lacking))}; state it there or as an option."
        )
        raise UsageError(message)
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except UsageError as error:
        message = f"{where}: {error}"
        raise UsageError(message) from None
