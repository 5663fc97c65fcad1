"""Keras 2 weight files, written by hand as Keras 2 wrote them, and the real ones of AESR."""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest

from decametric.errors import BundleError, DecametricError
from decametric.superres import networks
from decametric.superres.legacy import import_preset
from decametric.superres.presets import BANDS_OF_RATIO, load_predictor, read_card

MAKE = {
    "aesr": lambda ratio: networks.aesr(*BANDS_OF_RATIO[ratio], features=5),
    "dsen2": lambda ratio: networks.dsen2(*BANDS_OF_RATIO[ratio], blocks=3, features=5),
}


def random_model(kind, ratio):
    """A network whose biases are random too, so that none can be lost or swapped unseen."""
    keras.utils.set_random_seed(ratio)
    model = MAKE[kind](ratio)
    rng = np.random.default_rng(ratio)
    model.set_weights(
        [weight + rng.normal(0, 0.05, weight.shape) for weight in model.get_weights()]
    )
    return model


def write_keras2(file, weights, *, nested=True):
    """The layout of Keras 2: names of layers, and of each layer's weights, as attributes.

    Layers without weights (inputs, sums, the Lambdas of DSen2) are listed too; a whole model holds
    all of it under ``model_weights``, a weight file at the root.
    """
    with h5py.File(file, "w") as store:
        root = store.create_group("model_weights") if nested else store
        if nested:
            store.attrs["model_config"] = b'{"class_name": "Model", "config": {"layers": "Lambda"}}'
        layers = ["input_1", "input_2"]
        for n, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True), 1):
            layers += [f"conv2d_{n}", f"lambda_{n}"]
            group = root.create_group(f"conv2d_{n}")
            names = [f"conv2d_{n}/kernel:0", f"conv2d_{n}/bias:0"]
            group.attrs["weight_names"] = np.array(names, "S")
            for name, array in zip(names, (kernel, bias), strict=True):
                group[name] = array
        for name in set(layers) - set(root):
            root.create_group(name).attrs["weight_names"] = np.array([], "S1")
        # HDF5 lists groups by name ("conv2d_10" before "conv2d_2"); only this tells the order.
        root.attrs["layer_names"] = np.array(layers, "S")
        root.attrs["backend"] = b"tensorflow"
    return file


def inputs(ratio, edge=36):
    rng = np.random.default_rng(5)
    counts = (4, 6, 2 if ratio == 6 else 0)
    return tuple(
        (0.4 * rng.random((count, edge // step, edge // step))).astype("float32")
        for count, step in zip(counts, (1, 2, 6), strict=True)
    )


@pytest.mark.parametrize("nested", [True, False], ids=["model", "weights"])
@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("ratio", [2, 6])
def test_an_imported_file_gives_the_numbers_of_its_network(kind, ratio, nested, tmp_path):
    model = random_model(kind, ratio)
    file = write_keras2(tmp_path / "old.hdf5", model.get_weights(), nested=nested)
    (card,) = import_preset([file], tmp_path / "mine", level="L2A")
    assert card == read_card(tmp_path / "mine" / f"{ratio}x")
    assert (card.name, card.level, card.ratio) == (f"mine-{ratio}x", "L2A", ratio)
    assert card.training == {"imported_from": "old.hdf5"}
    predictor = load_predictor(tmp_path / "mine", consistency=False)
    # The same network in a bundle of its own.
    from decametric.superres.presets import KerasPredictor, save_bundle

    own = save_bundle(model, tmp_path / "own", name="own", ratio=ratio, level="L2A")
    expected = KerasPredictor(tmp_path / "own", own)(*inputs(ratio))
    result = predictor.parts[0](*inputs(ratio))
    np.testing.assert_array_equal(result, expected)
    assert result.std() > 0.01


def test_more_than_nine_layers_keep_their_order(tmp_path):
    keras.utils.set_random_seed(0)
    model = networks.dsen2(*BANDS_OF_RATIO[2], blocks=6, features=4)
    file = write_keras2(tmp_path / "deep.hdf5", model.get_weights())
    import_preset([file], tmp_path / "deep", level="L1C")
    again = networks.load(tmp_path / "deep" / "2x" / "network.keras")
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_files_make_a_preset_whatever_their_order(tmp_path):
    files = [
        write_keras2(tmp_path / f"{ratio}.hdf5", random_model("aesr", ratio).get_weights())
        for ratio in (6, 2)
    ]
    cards = import_preset(files, tmp_path / "both", level="L1C")
    assert [card.ratio for card in cards] == [2, 6]
    assert load_predictor(tmp_path / "both").name == "both"


def refused(tmp_path, files, match):
    with pytest.raises(BundleError, match=match):
        import_preset(files, tmp_path / "out", level="L1C")
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_ratio_are_refused(tmp_path):
    files = [
        write_keras2(tmp_path / f"{kind}.hdf5", random_model(kind, 2).get_weights())
        for kind in MAKE
    ]
    refused(tmp_path, files, r"dsen2.hdf5 and .*aesr.hdf5 are both 2x networks; give one of each")


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"PK\x03\x04"])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    file = tmp_path / "odd.hdf5"
    file.write_bytes(content)
    refused(tmp_path, [file], r"odd.hdf5 is not a Keras 2 weight file")


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path, [tmp_path / "nowhere.hdf5"], r"nowhere.hdf5")


def test_hdf5_without_weights_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as store:
        store["data"] = np.zeros(3)
    refused(tmp_path, [tmp_path / "other.hdf5"], "is not a Keras 2 weight file")
    file = write_keras2(tmp_path / "empty.hdf5", [])
    refused(tmp_path, [file], "holds no convolution weights")


def test_another_number_of_channels_is_refused(tmp_path):
    weights = random_model("aesr", 2).get_weights()
    weights[0] = weights[0][:, :, :9]
    file = write_keras2(tmp_path / "nine.hdf5", weights)
    refused(tmp_path, [file], r"nine.hdf5 takes 9 channels; .* 10 or 12")


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights[:-2],
        lambda weights: [*weights[:-2], weights[-2][..., :4], weights[-1][:4]],
        lambda weights: [*weights[:2], weights[2][..., :3], *weights[3:]],
        lambda weights: [weights[0][:2], *weights[1:]],
        lambda weights: weights[:2],
    ],
    ids=["a layer less", "a band less", "narrower", "kernel 2x3", "one layer"],
)
@pytest.mark.parametrize("kind", MAKE)
def test_weights_of_another_shape_are_refused(tmp_path, kind, change):
    file = write_keras2(tmp_path / "odd.hdf5", change(random_model(kind, 2).get_weights()))
    refused(tmp_path, [file], r"odd.hdf5 is neither an AESR nor a DSen2 network")


def replace_kernel(file, how):
    """Let the first kernel of a file come from elsewhere."""
    with h5py.File(file, "r+") as store:
        group = store["model_weights/conv2d_1"]
        kernel = group["conv2d_1/kernel:0"][()]
        del group["conv2d_1/kernel:0"]
        how(group, "conv2d_1/kernel:0", kernel)


def external_storage(folder):
    def how(group, name, kernel):
        raw = folder / "raw.bin"
        raw.write_bytes(kernel.tobytes())
        group.create_dataset(
            name, kernel.shape, kernel.dtype, external=[(str(raw), 0, kernel.nbytes)]
        )

    return how


def external_link(folder):
    def how(group, name, kernel):
        with h5py.File(folder / "else.hdf5", "w") as other:
            other["kernel"] = kernel
        group[name] = h5py.ExternalLink(str(folder / "else.hdf5"), "/kernel")

    return how


def virtual_dataset(folder):
    def how(group, name, kernel):
        with h5py.File(folder / "else.hdf5", "w") as other:
            other["kernel"] = kernel
        layout = h5py.VirtualLayout(kernel.shape, kernel.dtype)
        layout[...] = h5py.VirtualSource(folder / "else.hdf5", "kernel", kernel.shape)
        group.create_virtual_dataset(name, layout)

    return how


@pytest.mark.parametrize("elsewhere", [external_storage, external_link, virtual_dataset])
def test_weights_that_lie_in_another_file_are_not_read(tmp_path, elsewhere):
    file = write_keras2(tmp_path / "sly.hdf5", random_model("aesr", 2).get_weights())
    replace_kernel(file, elsewhere(tmp_path))
    refused(tmp_path, [file], "refers to another file; such weights are not read")


def test_a_whole_layer_in_another_file_is_not_read(tmp_path):
    weights = random_model("aesr", 2).get_weights()
    file = write_keras2(tmp_path / "sly.hdf5", weights)
    write_keras2(tmp_path / "else.hdf5", weights)
    with h5py.File(file, "r+") as store:
        del store["model_weights/conv2d_2"]
        path = "/model_weights/conv2d_2"
        store[path] = h5py.ExternalLink(str(tmp_path / "else.hdf5"), path)
    refused(tmp_path, [file], "refers to another file; such weights are not read")


def test_an_unknown_level_is_refused(tmp_path):
    file = write_keras2(tmp_path / "old.hdf5", random_model("aesr", 2).get_weights())
    with pytest.raises(DecametricError, match="level='L3' is not a level"):
        import_preset([file], tmp_path / "out", level="L3")


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_the_published_aesr_files_are_imported(shared_data, tmp_path, level):
    folder = shared_data / "weights" / "aesr"
    files = [folder / f"{level.lower()}_aesr_{res}m_s2_038_lr_1e-04.hdf5" for res in (20, 60)]
    cards = import_preset(files, tmp_path / "aesr", level=level)
    assert [(card.ratio, card.radius, card.halo) for card in cards] == [(2, 6, 12), (6, 6, 12)]
    for ratio, count in ((2, 126_214), (6, 120_962)):
        model = networks.load(tmp_path / "aesr" / f"{ratio}x" / "network.keras")
        assert model.count_params() == count
