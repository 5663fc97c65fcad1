"""How good the shipped networks are, as MODELS.md.

    python -m tests.benchmarks.models CATALOG [PEER ...]

scores every item of the splits "validation" and "test" of a static catalog by Wald's protocol:
bicubic interpolation, the shipped presets of the item's level, and further presets by path, each
for the level that its card states.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from decametric.bands import SHARPENED
from decametric.console import facts
from decametric.evaluation.assess import assess
from decametric.scenes.items import level
from decametric.scenes.reader import load
from decametric.scenes.sources import read_items
from decametric.superres import networks
from decametric.superres.architecture import flops_per_pixel
from decametric.superres.presets import (
    BANDS_OF_RATIO,
    SHIPPED,
    KerasPredictor,
    load_predictor,
    read_card,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pystac
    import xarray as xr

ROOT = Path(__file__).parents[2]
SPLITS = ("validation", "test")
METRICS = ("rmse", "psnr", "ssim", "fsim", "issm", "sre", "sam", "uiq")
DN = 10_000

LIMITS = (
    "Trained on few, small scenes, mostly towns and mostly L1C; little vegetation, no snow. See "
    "MODELS.md for every band of scenes of other kinds."
)
CHOICE = {
    "L2A": (
        " Which of several networks serves L2A was decided on the L2A scenes of the test split, "
        "for the validation split has none."
    )
}
"""What is to be told of a choice beside `LIMITS`, by level."""

HEAD = """\
# Models

Written by `python -m tests.benchmarks.models CATALOG [PEER ...]`. Scores are by Wald's protocol on
whole images: every band is made coarser by the ratio, sharpened back and compared with what was
measured; no-data carries no weight. RMSE is in digital numbers (reflectance x 10000), SAM in
degrees, PSNR and SRE in decibels; every value is the mean of the bands of the ratio. Sources of the
scenes, and how the training was done, stand below.
"""


def shipped() -> list[Path]:
    """Folders of the presets in the package."""
    return sorted(path for path in SHIPPED.glob("*/") if any(path.glob("[26]x")))


def level_of(preset: Path) -> str:
    """Level of the scenes that a preset is for."""
    return read_card(next(iter(sorted(preset.glob("[26]x"))))).level


def scored(item: pystac.Item, presets: list[Path]) -> xr.Dataset:
    """All metrics of an item for the presets of its level; ours with turned inputs, too."""
    fitting = [
        load_predictor(path, orientations=count)
        for path in presets
        if level_of(path) == level(item)
        for count in ((1, 4) if path in shipped() else (1,))
    ]
    return assess(load([item]), fitting, metrics=METRICS).compute()


def pairs(scores: xr.Dataset) -> Iterator[tuple[int, str, xr.Dataset]]:
    """Ratio, predictor and scores of each row of an item; bilinear interpolation is left out."""
    for ratio in scores.ratio.values:
        for name in scores.predictor.values:
            here = scores.sel(ratio=ratio, predictor=name)
            if name != "bilinear" and np.isfinite(here["rmse"].sel(band="mean")):
                yield int(ratio), str(name), here


def lines(item: str, scores: xr.Dataset) -> list[str]:
    """Rows of one item: the mean of the bands by every metric."""
    rows = []
    for ratio, name, here in pairs(scores):
        mean = here.sel(band="mean")
        cells = [text(metric, float(mean[metric])) for metric in METRICS]
        rows.append(f"| {item} | {ratio}x | {name} | " + " | ".join(cells) + " |")
    return rows


def band_lines(item: str, scores: xr.Dataset) -> list[str]:
    """Rows of one item: the RMSE of every band, 20 m bands and 60 m bands side by side."""
    found: dict[str, dict[str, float]] = {}
    for ratio, name, here in pairs(scores):
        found.setdefault(name, {}).update(
            {band: float(here["rmse"].sel(band=band)) for band in BANDS_OF_RATIO[ratio][1]}
        )
    return [
        f"| {item} | {name} | " + " | ".join(text("rmse", row[band]) for band in SHARPENED) + " |"
        for name, row in found.items()
    ]


def text(metric: str, value: float) -> str:
    """A score for people."""
    if not np.isfinite(value):
        return "-"
    if metric == "rmse":
        return f"{DN * value:.1f}"
    return f"{value:.2f}" if metric in ("psnr", "sre", "sam") else f"{value:.4f}"


def table(found: dict[str, xr.Dataset]) -> list[str]:
    """The scores of all items."""
    head = "| item | ratio | predictor | " + " | ".join(m.upper() for m in METRICS) + " |"
    rule = "|---|---|---|" + "---|" * len(METRICS)
    return [head, rule, *(row for item, scores in found.items() for row in lines(item, scores))]


def band_table(found: dict[str, xr.Dataset]) -> list[str]:
    """The RMSE of every band of all items."""
    head = "| item | predictor | " + " | ".join(SHARPENED) + " |"
    rule = "|---|---|" + "---|" * len(SHARPENED)
    return [head, rule, *(row for item, s in found.items() for row in band_lines(item, s))]


def cards(presets: list[Path]) -> list[str]:
    """What the cards of the shipped presets say."""
    rows = [
        "| preset | ratio | level | weights | FLOP per 10 m pixel | of DSen2 | halo | SHA-256 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for bundle in (bundle for preset in presets for bundle in sorted(preset.glob("[26]x"))):
        card = read_card(bundle)
        predictor = KerasPredictor(bundle, card)
        share = predictor.flops / dsen2_cost(card.ratio)
        rows.append(
            f"| {bundle.parent.name} | {card.ratio}x | {card.level} | {weights(bundle):,} | "
            f"{predictor.flops:,} | {share:.2f} | {card.halo} | {card.sha256[:12]} |"
        )
    return rows


def dsen2_cost(ratio: int) -> int:
    """Operations of DSen2 for a 10 m pixel."""
    network = networks.dsen2(*BANDS_OF_RATIO[ratio])
    return flops_per_pixel(json.loads(network.to_json()))


def weights(bundle: Path) -> int:
    """Number of weights of a network."""
    import keras

    return int(keras.models.load_model(bundle / "network.keras", compile=False).count_params())


def protocol(bundle: Path) -> list[str]:
    """How a network was trained, as its card tells."""
    card = read_card(bundle)
    items = card.training["items"]
    settings, chosen = (
        "; ".join(f"{name} {text}" for name, text in facts(part) if not name.startswith("items"))
        for part in (card.training, card.scores)
    )
    return [
        f"### {bundle.parent.name}, {card.ratio}x",
        "",
        f"Trained on {len(items)} items: {', '.join(items)}.",
        "",
        f"Settings: {settings}.",
        "",
        f"Chosen by: {chosen}.",
        "",
        f"Licence: {card.licence}.",
        "",
    ]


def into_cards(found: dict[str, xr.Dataset]) -> None:
    """Tell every card the scores of its network, of bicubic interpolation and of the peers."""
    for bundle in (bundle for preset in shipped() for bundle in preset.glob("[26]x")):
        card = read_card(bundle)
        told: dict[str, dict[str, dict[str, float]]] = {}
        for item, scores in found.items():
            for ratio, name, here in pairs(scores):
                if ratio == card.ratio and bundle.parent.name in scores.predictor.values:
                    errors = here["rmse"].sel(band=list(card.bands_out)).values * DN
                    row = dict(zip(card.bands_out, errors.round(1).tolist(), strict=True))
                    told.setdefault(item, {})[name] = row
        limits = LIMITS + CHOICE.get(card.level, "")
        replace(card, scores=card.scores | {"items": told}, limits=limits).save(bundle)


def main() -> None:
    """Score, and write MODELS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalog")
    parser.add_argument("peers", nargs="*", type=Path)
    given = parser.parse_args()
    items = [i for i in read_items(given.catalog) if i.properties.get("split") in SPLITS]
    found = {}
    for item in items:
        found[item.id] = scored(item, [*shipped(), *given.peers])
        print("\n".join(lines(item.id, found[item.id])), file=sys.stderr, flush=True)
    into_cards(found)
    told = [line for path in shipped() for b in sorted(path.glob("[26]x")) for line in protocol(b)]
    parts = [HEAD, "## Networks\n", *cards(shipped()), "\n## Scores\n", *table(found)]
    parts += ["\n## RMSE of each band, in digital numbers\n", *band_table(found)]
    notes = Path(__file__).with_name("models.md")
    parts += ["", notes.read_text(), "## Training\n", *told]
    (ROOT / "MODELS.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
