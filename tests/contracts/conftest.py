"""Real scenes of Sentinel-2 and the networks that run on them."""

from __future__ import annotations

import pytest

import made_scenes as made
from decametric.scenes.reader import load
from decametric.superres.legacy import import_preset

MALMO = "S2A_33UUB_20170527_L1C_malmo"


@pytest.fixture(scope="session")
def real_scene(shared_data):
    """Factory of real L1C scenes: ``real_scene("oscd-milano-2", chunk=300)``."""

    def factory(name=MALMO, **options):
        return load(str(shared_data / "stac" / "sentinel-2-l1c" / name / f"{name}.json"), **options)

    return factory


@pytest.fixture(scope="session")
def aesr(shared_data, tmp_path_factory):
    """Folder of the published AESR networks for L1C, imported."""
    folder = tmp_path_factory.mktemp("presets") / "aesr-l1c"
    weights = shared_data / "weights" / "aesr"
    files = [weights / f"l1c_aesr_{res}m_s2_038_lr_1e-04.hdf5" for res in (20, 60)]
    import_preset(files, folder, level="L1C")
    return folder


@pytest.fixture(scope="session")
def small_dsen2(tmp_path_factory):
    """Folder of two DSen2 networks of reduced size with random weights."""
    return made.save_preset(tmp_path_factory.mktemp("presets") / "small")


@pytest.fixture(scope="session")
def full_dsen2(tmp_path_factory):
    """Folder of two DSen2 networks of the published size with random weights."""
    folder = tmp_path_factory.mktemp("presets") / "full"
    return made.save_preset(folder, blocks=6, features=128)
