"""Import of the published Keras 2 weight files (HDF5, channels first) of the DSen2 family.

Only arrays are read; the stored model description, which may hold marshalled code (the Lambda
layers of DSen2), is never opened. The network is told from the shapes of its kernels and built
anew, channels last; kernels need no transposition.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from decametric.errors import BundleError
from decametric.superres.presets import BANDS_OF_RATIO, save_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    import h5py
    import keras
    from numpy.typing import NDArray

    from decametric.superres.presets import Card


def import_preset(files: Sequence[str | Path], folder: str | Path, *, level: str) -> list[Card]:
    """Convert HDF5 files to a preset folder with one bundle for each ratio.

    Parameters
    ----------
    files : sequence of paths
        One file with a 2x network, one with a 6x network, or both; the ratio is told from the
        number of input channels (10 or 12).
    folder : path
        Preset folder to make.
    level : {"L1C", "L2A"}
        Level of the scenes that the networks were trained on.

    Returns
    -------
    list of Card
        The cards of the bundles, 2x first.

    Raises
    ------
    BundleError
        If a file is no HDF5, or not of this family, or two files have the same ratio.
    """
    models: dict[int, tuple[Path, keras.Model]] = {}
    for file in map(Path, files):
        arrays = read_arrays(file)
        ratio = {10: 2, 12: 6}.get(arrays[0].shape[2])
        if ratio is None:
            message = f"{file} takes {arrays[0].shape[2]} channels; this family takes 10 or 12."
            raise BundleError(message)
        if ratio in models:
            message = f"{file} and {models[ratio][0]} are both {ratio}x networks; give one of each."
            raise BundleError(message)
        models[ratio] = file, build(arrays, ratio, file)
    name = Path(folder).name
    return [
        save_bundle(
            model,
            Path(folder) / f"{ratio}x",
            name=f"{name}-{ratio}x",
            ratio=ratio,
            level=level,
            training={"imported_from": file.name},
            licence="that of the imported file",
        )
        for ratio, (file, model) in sorted(models.items())
    ]


def read_arrays(file: Path) -> list[NDArray[np.float32]]:
    """Kernels and biases of a Keras 2 HDF5 file, in the order of the layers.

    Raises
    ------
    BundleError
        If the file cannot be read or holds no Keras 2 weights.
    """
    import h5py

    try:
        with h5py.File(file, "r") as store:
            root = store.get("model_weights", store)
            groups = [root[_text(name)] for name in root.attrs["layer_names"]]
            arrays = [
                _plain(group[_text(name)], store)
                for group in groups
                for name in group.attrs["weight_names"]
            ]
    except (OSError, KeyError, AttributeError) as error:
        message = f"{file} is not a Keras 2 weight file ({type(error).__name__}: {error})."
        raise BundleError(message) from error
    if not arrays or arrays[0].ndim != 4:  # noqa: PLR2004  (rows, columns, in, out)
        message = f"{file} holds no convolution weights."
        raise BundleError(message)
    return arrays


def _plain(dataset: h5py.Dataset, store: h5py.File) -> NDArray[np.float32]:
    """The values of a dataset that lies in the file itself."""
    linked = dataset.file.filename != store.filename  # a link leads into another file
    if linked or dataset.external or dataset.is_virtual:
        message = f"{dataset.name} refers to another file; such weights are not read."
        raise BundleError(message)
    return np.asarray(dataset[()], dtype=np.float32)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def build(arrays: list[NDArray[np.float32]], ratio: int, file: Path) -> keras.Model:
    """The network whose weights `arrays` are, with them in place."""
    from decametric.superres import networks

    kernels, features = arrays[::2], arrays[0].shape[3]
    bands = BANDS_OF_RATIO[ratio]
    if len(kernels) == 5 and kernels[-1].shape[:2] == (5, 5):  # noqa: PLR2004  (AESR has five layers)
        model = networks.aesr(*bands, features=features)
    else:
        model = networks.dsen2(*bands, blocks=max(0, len(kernels) - 2) // 2, features=features)
    wanted = [tuple(weight.shape) for weight in model.weights]
    if wanted != [array.shape for array in arrays]:
        message = (
            f"{file} is neither an AESR nor a DSen2 network: its {len(kernels)} layers do not fit."
        )
        raise BundleError(message)
    model.set_weights(arrays)
    return model
