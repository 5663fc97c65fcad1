"""How networks fare where the coarse bands are brighter or darker than those they learned from.

    python -m tests.benchmarks.radiometry PATCHES BUNDLE [BUNDLE ...]

PATCHES is a patch set, as a training leaves it in ``run/validation``. The coarse bands, and the
truth with them, get a factor and an offset; errors are told in digital numbers of the bands as they
were.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from decametric.superres import networks
from decametric.superres.presets import read_card
from decametric.training.batches import PatchSet, reflectance
from decametric.training.validation import DN, sharpened

if TYPE_CHECKING:
    import keras

    from decametric.superres.presets import Card

CHANGES = {
    "as they are": (1.0, 0.0),
    "x 0.6": (0.6, 0.0),
    "x 1.4": (1.4, 0.0),
    "+ 0.03": (1.0, 0.03),
    "- 0.03": (1.0, -0.03),
}
"""Factor and offset of the coarse bands, beside 10 m bands that stay."""


def error(model: keras.Model, patches: PatchSet, card: Card, factor: float, offset: float) -> float:
    """Root mean square error, mean of the bands, in digital numbers of the unchanged bands."""
    total, known = 0.0, 0.0
    for group, part in patches.chunks():
        some = reflectance(patches.read(group, part))
        for name in (f"b{10 * card.ratio}", "target"):
            some[name] = some[name] * np.float32(factor) + np.float32(offset)
        valid = np.isfinite(some["target"])
        made = sharpened(model, some, card.ratio, card.context)
        wrong = np.where(valid, made - some["target"], 0).astype(float)
        total, known = total + (wrong**2).sum((0, 2, 3)), known + valid.sum((0, 2, 3))
    return float(np.mean(DN * np.sqrt(total / known)) / factor)


def main() -> None:
    """Print one line for each bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patches", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    given = parser.parse_args()
    print("coarse bands", *CHANGES, sep="\t")
    for bundle in given.bundles:
        card, model = read_card(bundle), networks.load(bundle / "network.keras")
        patches = PatchSet(given.patches)
        errors = [error(model, patches, card, *change) for change in CHANGES.values()]
        print(bundle, *(f"{each:.1f}" for each in errors), sep="\t", flush=True)


if __name__ == "__main__":
    main()
