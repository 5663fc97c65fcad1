"""The published AESR networks do here what they do elsewhere, and the projection makes them better.

Expected numbers: the table beside the weights (8 pixels of the border left out), and the scores of
whole images by the same recipe, computed elsewhere without this package.
"""

from __future__ import annotations

import numpy as np
import pytest

from decametric.bands import BANDS_20M, BANDS_60M
from decametric.degradation import degrade
from decametric.evaluation.assess import assess
from decametric.superres.inference import sharpen
from decametric.superres.presets import load_predictor

BANDS = {2: BANDS_20M, 6: BANDS_60M}

# RMSE in digital numbers, 8 pixels left out at the border.
TABLE = {2: [24.0, 42.8, 51.3, 52.2, 37.9, 32.4], 6: [18.7, 25.7]}


@pytest.fixture(scope="module")
def scores(real_scene, aesr):
    """Mean RMSE in DN over the bands of a ratio, whole image: (consistency, predictor, ratio)."""
    found = {}
    for consistency in (False, True):
        predictor = load_predictor(aesr, consistency=consistency)
        table = assess(real_scene(), predictor).compute()["rmse"].mean("band") * 1e4
        for name in table.predictor.values:
            for ratio in (2, 6):
                key = (consistency, str(name), ratio)
                found[key] = float(table.sel(predictor=name, ratio=ratio))
    return found


@pytest.mark.parametrize("ratio", [2, 6])
def test_each_band_scores_as_published_inside_the_border(real_scene, aesr, ratio):
    scene = real_scene()
    predictor = load_predictor(aesr, consistency=False)
    sharp = sharpen(degrade(scene, ratio), predictor, bands=BANDS[ratio]).compute()
    rows, cols = sharp.sizes["y"], sharp.sizes["x"]
    inside = np.s_[0, 8 : rows - 8, 8 : cols - 8]
    for band, expected in zip(BANDS[ratio], TABLE[ratio], strict=True):
        error = sharp[band].values[inside] - scene[f"r{10 * ratio}m"][band].values[inside]
        found = 1e4 * np.sqrt((error.astype("f8") ** 2).mean())
        assert found == pytest.approx(expected, abs=0.1), band


def test_whole_image_scores_are_the_known_ones(scores):
    assert scores[False, "aesr-l1c", 2] == pytest.approx(40.57, rel=0.01)
    assert scores[False, "bicubic", 2] == pytest.approx(146.36, rel=0.001)
    assert scores[False, "bicubic", 6] == pytest.approx(105.53, rel=0.001)


def test_the_6x_network_is_at_least_as_good_as_known(scores):
    # 22.65 is the score with zeros beyond the edge; here the scene is mirrored, which is better.
    assert 21.5 <= scores[False, "aesr-l1c", 6] <= 22.65 * 1.01


@pytest.mark.parametrize("ratio", [2, 6])
def test_the_projection_lowers_the_error(scores, ratio):
    assert scores[True, "aesr-l1c", ratio] < scores[False, "aesr-l1c", ratio]


@pytest.mark.parametrize("ratio", [2, 6])
def test_every_network_beats_interpolation(scores, ratio):
    interpolated = min(scores[False, name, ratio] for name in ("bilinear", "bicubic"))
    assert scores[False, "aesr-l1c", ratio] < 0.5 * interpolated
