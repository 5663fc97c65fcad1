"""Tiny presets that several tests share; making one imports TensorFlow, which takes seconds."""

from __future__ import annotations

import pytest

import made_scenes as made


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder of a preset of two small DSen2 networks with random weights, for L1C."""
    return made.save_preset(tmp_path_factory.mktemp("presets") / "tiny")
