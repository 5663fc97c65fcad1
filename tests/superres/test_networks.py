"""The networks: size, reach, cost and skips, told from the layers and proved by running them."""

from __future__ import annotations

import itertools
import json

import keras
import numpy as np
import pytest

from decametric.errors import BundleError
from decametric.superres import architecture, networks
from decametric.superres.predictor import upsample
from decametric.superres.presets import BANDS_OF_RATIO

RATIOS = pytest.mark.parametrize("ratio", [2, 6])

# Trainable weights as published by Lanaras et al. 2018 (table 2), counted in the AESR files, and
# summed by hand for ours.
PARAMETERS = [
    ("dsen2", 2, 1_789_574),
    ("dsen2", 6, 1_787_266),
    ("vdsen2", 2, 37_802_246),
    ("aesr", 2, 126_214),
    ("aesr", 6, 120_962),
    ("fast", 2, 1_975_260),
    ("fast", 6, 1_960_218),
]

# Small networks of the same depth as the published ones, for everything but counting weights.
SMALL = {
    "dsen2": (lambda *bands: networks.dsen2(*bands, features=3), 14),
    "vdsen2": (lambda *bands: networks.vdsen2(*bands, features=2), 66),
    "aesr": (lambda *bands: networks.aesr(*bands, features=3), 6),
}
FAST = 32  # stem 1, 14 convolutions of 2, tail 2, and 1 for the pixel's place within 20 m
ALL = {**SMALL, "fast": (lambda *bands: networks.fast(*bands, features=3), FAST)}


def config_of(model, folder):
    model.save(folder / "network.keras")
    return architecture.read_config(folder / "network.keras")


def arrays(model, rows, cols, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.random((1, rows, cols, tensor.shape[-1])).astype("float32") for tensor in model.inputs
    ]


@pytest.mark.parametrize(("name", "ratio", "count"), PARAMETERS)
def test_weights_are_as_many_as_published(name, ratio, count):
    model = networks.NETWORKS[name](*BANDS_OF_RATIO[ratio])
    assert model.count_params() == count


@RATIOS
@pytest.mark.parametrize("name", SMALL)
def test_radius_told_from_the_layers_is_the_one_that_a_pixel_reaches(name, ratio, tmp_path):
    make, radius = SMALL[name]
    model = make(*BANDS_OF_RATIO[ratio])
    assert architecture.receptive_radius(config_of(model, tmp_path)) == radius
    # Without biases black stays black, and with positive weights no ReLU hides a bright pixel:
    # exactly what it reaches is not black, however faint.
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if weights := layer.get_weights():
            kernel, bias = weights
            kernel = rng.uniform(0.7, 1, kernel.shape) / max(kernel.shape[2:])
            layer.set_weights([kernel, np.zeros_like(bias)])
    size, place = 2 * radius + 15, (radius + 4, radius + 9)
    for index, tensor in enumerate(model.inputs):
        images = [np.zeros((1, size, size, t.shape[-1]), "f4") for t in model.inputs]
        images[index][0, *place, tensor.shape[-1] - 1] = 1e8
        reached = np.asarray(networks.run(model, images))[0].max(axis=-1) > 0
        rows, cols = (np.abs(np.arange(size) - centre) <= radius for centre in place)
        np.testing.assert_array_equal(reached, rows[:, None] & cols)


def test_radius_on_the_coarse_grid_is_the_farthest_that_any_pixel_is_reached_from(tmp_path):
    model = ALL["fast"][0](*BANDS_OF_RATIO[2])
    assert architecture.receptive_radius(config_of(model, tmp_path)) == FAST
    for layer in model.layers:
        if weights := layer.get_weights():
            layer.set_weights([np.full_like(weights[0], 0.3), np.zeros_like(weights[1])])
    size, found = 2 * FAST + 18, set()
    for place in ((FAST + 5, FAST + 5), (FAST + 6, FAST + 8)):  # an odd and an even pixel
        images = [np.zeros((1, size, size, t.shape[-1]), "f4") for t in model.inputs]
        images[0][0, *place, 2] = 1
        reached = np.nonzero(np.asarray(networks.run(model, images))[0].max(axis=-1))
        found |= {
            far for axis, centre in zip(reached, place, strict=True)
            for far in (centre - axis.min(), axis.max() - centre)
        }  # fmt: skip
    assert max(found) == FAST


def test_an_untrained_fast_network_is_the_interpolation():
    model = ALL["fast"][0](*BANDS_OF_RATIO[2])
    images = arrays(model, 12, 18)
    np.testing.assert_array_equal(np.asarray(networks.run(model, images)), images[-1])


def test_fast_starts_from_the_native_pixels_of_every_band():
    """The stem undoes the interpolation of 20 m bands and spreads 10 m bands without loss."""
    rng = np.random.default_rng(3)
    fine, coarse, coarsest = (rng.random((1, *shape)) for shape in ((12, 18), (6, 9), (2, 3)))
    bands = ("B02", "B05", "B01")
    model = networks.fast(bands, ("B01",), blocks=0, features=1)
    images = fine, upsample(coarse.astype("f4"), 2, "bilinear"), upsample(
        coarsest.astype("f4"), 6, "bilinear"
    )  # fmt: skip
    stem = keras.Model(model.inputs, model.get_layer("stem").output)
    found = np.asarray(stem([np.moveaxis(image, 0, -1)[None] for image in images]))[0]
    blocks = fine[0].reshape(6, 2, 9, 2).transpose(0, 2, 1, 3)
    (a, b), (c, d) = blocks[..., 0, :].transpose(2, 0, 1), blocks[..., 1, :].transpose(2, 0, 1)
    expected = [(a + b + c + d) / 4, b + d - a - c, c + d - a - b, a + d - b - c]
    np.testing.assert_allclose(found[..., :4], np.stack(expected, -1), atol=1e-6)
    inner = (slice(1, -1), slice(1, -1))  # at the edges zeros are padded, which the halo covers
    np.testing.assert_allclose(found[..., 4][inner], coarse[0][inner], atol=1e-6)
    means = images[2][0].reshape(6, 2, 9, 2).mean((1, 3))
    np.testing.assert_allclose(found[..., 5], means, atol=1e-6)


def test_published_networks_reach_as_far_as_their_small_siblings(tmp_path):
    for name, (_, radius) in SMALL.items():
        if name != "vdsen2":  # its 150 MB are not worth writing: depth alone counts
            model = networks.NETWORKS[name](*BANDS_OF_RATIO[2])
            assert architecture.receptive_radius(config_of(model, tmp_path)) == radius


@RATIOS
def test_the_global_skip_adds_the_coarsest_bands(ratio):
    model = networks.dsen2(*BANDS_OF_RATIO[ratio], blocks=1, features=4)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    images = arrays(model, 12, 18)
    np.testing.assert_array_equal(np.asarray(networks.run(model, images)), images[-1])
    assert images[-1].shape[-1] == len(BANDS_OF_RATIO[ratio][1])


def test_aesr_has_no_global_skip():
    model = networks.aesr(*BANDS_OF_RATIO[2], features=4)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    assert not np.asarray(networks.run(model, arrays(model, 12, 18))).any()


def test_a_residual_block_adds_a_tenth_without_activation():
    """One block by hand: 1x1 in effect, for only the centres of the kernels are not zero."""
    model = networks.dsen2(("B04", "B05"), ("B05",), blocks=1, features=2)
    centre = {
        "head": [[1, 0], [0, 1]],
        "block1_conv1": [[1, -1], [2, 0]],
        "block1_conv2": [[-3, 1], [5, 4]],
        "tail": [[1], [-2]],
    }
    for name, matrix in centre.items():
        kernel, bias = model.get_layer(name).get_weights()
        kernel[:] = 0
        kernel[1, 1] = matrix
        model.get_layer(name).set_weights([kernel, bias * 0])
    a, b = arrays(model, 6, 6)
    x = np.concatenate([a, b], -1)
    hidden = np.maximum(x @ np.array(centre["block1_conv1"]), 0)
    summed = x + 0.1 * (hidden @ np.array(centre["block1_conv2"]))
    expected = summed @ np.array(centre["tail"]) + b
    assert (summed < 0).any()  # else an activation after the sum would go unseen
    np.testing.assert_allclose(np.asarray(networks.run(model, [a, b])), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_any_shape_is_taken_and_kept(name):
    model = ALL[name][0](*BANDS_OF_RATIO[6])
    for rows, cols in itertools.pairwise((6, 30, 18)):
        assert networks.run(model, arrays(model, rows, cols)).shape == (1, rows, cols, 2)


@RATIOS
def test_operations_are_counted(ratio, tmp_path):
    model = networks.dsen2(*BANDS_OF_RATIO[ratio], blocks=2, features=8)
    inputs, outputs = (len(bands) for bands in BANDS_OF_RATIO[ratio])
    by_hand = 2 * 9 * (inputs * 8 + 4 * 8 * 8 + 8 * outputs)
    config = config_of(model, tmp_path)
    assert architecture.flops_per_pixel(config) == by_hand
    assert architecture.widest_layer(config) == 8
    assert architecture.count_parameters(config) == model.count_params()


def test_operations_of_transposed_convolutions_are_counted(tmp_path):
    model = networks.aesr(*BANDS_OF_RATIO[2], features=5)
    config = config_of(model, tmp_path)
    assert architecture.count_parameters(config) == model.count_params()
    by_hand = 2 * (9 * (10 * 5 + 3 * 5 * 5) + 25 * 5 * 6)
    assert architecture.flops_per_pixel(config) == by_hand


def test_operations_on_the_coarse_grid_count_a_quarter(tmp_path):
    config = config_of(networks.fast(*BANDS_OF_RATIO[2], blocks=2, features=8), tmp_path)
    weights = 16 * 10 * 22 + 9 * 22 * 8 + 9 * 5 * 8 * 8 + 36 * 8 * 6
    by_hand = 2 * weights // 4
    assert architecture.flops_per_pixel(config) == by_hand
    assert architecture.widest_layer(config) == 6  # 22 channels at 20 m are 5.5 at 10 m


def test_fast_costs_at_most_three_tenths_of_dsen2(tmp_path):
    cost = {}
    for name in ("fast", "dsen2"):
        for ratio, bands in BANDS_OF_RATIO.items():
            config = config_of(networks.NETWORKS[name](*bands), tmp_path)
            cost[name, ratio] = architecture.flops_per_pixel(config)
    assert all(cost["fast", ratio] <= 0.3 * cost["dsen2", ratio] for ratio in BANDS_OF_RATIO)


def test_dilation_widens_the_radius_and_the_longest_path_counts(tmp_path):
    image = keras.Input((None, None, 1))
    short = keras.layers.Conv2D(1, 3, padding="same")(image)
    long = keras.layers.Conv2D(1, (3, 5), padding="same", dilation_rate=2)(short)
    model = keras.Model(image, keras.layers.Add()([short, long]))
    assert architecture.receptive_radius(config_of(model, tmp_path)) == 1 + 4


def test_images_of_different_sizes_are_not_joined(tmp_path):
    image = keras.Input((None, None, 1))
    half = keras.layers.Conv2D(1, 2, strides=2, padding="same")(image)
    model = keras.Model(image, keras.layers.Concatenate(name="odd")([half, half]))
    config = config_of(model, tmp_path)
    # Keras would not build it, but a file may say it: the first of the two is the image itself.
    join = config["config"]["layers"][-1]
    names = [tensor._keras_history.operation.name for tensor in (half, image)]
    join["inbound_nodes"] = json.loads(json.dumps(join["inbound_nodes"]).replace(*names, 1))
    with pytest.raises(BundleError, match="Layer odd changes the size"):
        architecture.receptive_radius(config)


@pytest.mark.parametrize("options", [{"strides": 2, "padding": "same"}, {"padding": "valid"}])
def test_layers_that_change_the_size_are_refused(options, tmp_path):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 3, name="odd", **options)(image))
    with pytest.raises(BundleError, match="Layer odd changes the size"):
        architecture.receptive_radius(config_of(model, tmp_path))


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_keeps_the_output_layer_exact(name):
    model = ALL[name][0](*BANDS_OF_RATIO[2])
    low = networks.with_precision(model, "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in low.layers}
    assert dtypes["tail"] == "float32"
    assert dtypes.get("global_skip", "float32") == "float32"
    # The first convolution reads reflectance, of which 8 bits would be too few.
    reading = {"stack", "stem", "head", "encoder1"} & set(dtypes)
    assert {dtypes[n] for n in reading} == {"float32"}
    hidden = {n for n in dtypes if n.startswith(("block", "body", "encoder2"))}
    assert {dtypes[n] for n in hidden} == {"bfloat16"}
    assert networks.with_precision(model, "float32") is model
    for one, other in zip(model.get_weights(), low.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
