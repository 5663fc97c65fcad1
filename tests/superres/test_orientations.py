"""The eight orientations of an image, and the mean of a network over them."""

from __future__ import annotations

import numpy as np
import pytest
from dask.base import tokenize

from decametric.errors import UsageError
from decametric.superres.orientations import GROUPS, ORIENTATIONS, turned, turned_back
from decametric.superres.predictor import parts, provenance
from decametric.superres.presets import load_predictor


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    return tuple(
        rng.uniform(0, 0.4, (count, 48 // step, 48 // step)).astype("float32")
        for count, step in ((4, 1), (6, 2), (2, 6))
    )


@pytest.mark.parametrize("kind", range(ORIENTATIONS))
def test_what_is_turned_is_turned_back(kind, scene):
    image = scene[0]
    assert (kind == 0) == np.array_equal(turned(image, kind), image)
    np.testing.assert_array_equal(turned_back(turned(image, kind), kind), image)


@pytest.mark.parametrize("count", GROUPS)
def test_the_mean_over_orientations_turns_with_the_scene(tiny, scene, count):
    predictor = load_predictor(tiny, orientations=count)
    result = predictor(*scene)
    alike = {
        kind
        for kind in range(ORIENTATIONS)
        if np.allclose(
            predictor(*(turned(bands, kind) for bands in scene)), turned(result, kind), atol=1e-5
        )
    }
    assert alike == set(GROUPS[count])


def test_it_is_the_mean_of_what_the_network_gives_in_each(tiny, scene):
    alone = load_predictor(tiny)
    each = [
        turned_back(alone(*(turned(bands, kind) for bands in scene)), kind) for kind in GROUPS[4]
    ]
    found = load_predictor(tiny, orientations=4)(*scene)
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


def test_predictors_of_other_orientations_are_other_predictors(tiny):
    alone, mean = load_predictor(tiny), load_predictor(tiny, orientations=4)
    assert (alone.name, mean.name) == ("tiny", "tiny, 4 orientations")
    assert tokenize(alone) != tokenize(mean)
    for one, four in zip(parts(alone), parts(mean), strict=True):
        assert (four.flops, four.halo) == (4 * one.flops, one.halo)
        assert provenance(four) == provenance(one) | {"orientations": 4}


@pytest.mark.parametrize("count", [0, 3, 16])
def test_other_numbers_are_refused(tiny, count):
    with pytest.raises(UsageError, match=f"orientations={count} is unknown; use 1, 2, 4 or 8"):
        load_predictor(tiny, orientations=count)
