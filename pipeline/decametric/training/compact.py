"""Smaller files of trained networks: weights in 16 bits, packed."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from decametric.superres import networks
from decametric.superres.presets import digest, read_card

if TYPE_CHECKING:
    from pathlib import Path

    from decametric.superres.presets import Card


def compact(bundle: Path) -> Card:
    """Round the weights of a bundle to float16 and pack its file: half the bytes.

    The weights are float32 numbers still, of which 13 bits are zero and vanish in the packing. So
    any reader of Keras files opens them, and computes as before.

    Parameters
    ----------
    bundle : Path
        Folder of the bundle, which is changed in place.

    Returns
    -------
    Card
        With the new digest.
    """
    file = bundle / "network.keras"
    model = networks.load(file)
    model.set_weights([_rounded(weight) for weight in model.get_weights()])
    loose = bundle / "loose.keras"
    model.save(loose)
    with zipfile.ZipFile(loose) as source, zipfile.ZipFile(file, "w") as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry), zipfile.ZIP_DEFLATED, compresslevel=9)
    loose.unlink()
    card = replace(read_card(bundle), sha256=digest(file))
    card.save(bundle)
    return card


def _rounded(weight: np.ndarray) -> np.ndarray:
    """The nearest numbers that float16 has."""
    return weight.astype(np.float16).astype(np.float32)
