"""Other people's weights -> ours, and ours -> theirs, by the names of `names.FORMS`."""

import json
import os
import pathlib

import keras
import numpy as np

from keras_resnet import files
from keras_resnet.repeat import Repeat
from keras_resnet.weights import names, tensors
from keras_resnet.weights.contract import KEY, Contract


class Place:
    """One tensor of our network: a layer's variable, or one block's part of a looped stage's."""

    def __init__(self, layer, variable, holder, index=None, times=1):
        self.layer, self.variable = layer, variable
        self._holder, self._index, self._times = holder, index, times
        shape = tuple(holder.shape)
        if index is not None:
            shape = shape[1:] if len(shape) > 1 else (shape[0] // times,)
        self.shape = shape

    def _parts(self, values):
        return values.reshape(self._times, *self.shape)[self._index]

    def read(self) -> np.ndarray:
        values = keras.ops.convert_to_numpy(self._holder)
        return values if self._index is None else self._parts(values)

    def write(self, values):
        if self._index is not None:
            whole = np.array(keras.ops.convert_to_numpy(self._holder))
            self._parts(whole)[...] = values
            values = whole
        self._holder.assign(values)


def places(model: keras.Model) -> list[Place]:
    """All tensors of a network of ours, by layer and variable."""
    found = []
    for layer in model.layers:
        if isinstance(layer, Repeat):
            forms = layer.block.trainable_variables + layer.block.non_trainable_variables
            for form, holder in zip(forms, layer.weights, strict=True):
                name, variable = form.path.split("/")[-2:]
                found += [
                    Place(
                        name.replace("_block_", f"_block{i + 2}_"), variable, holder, i, layer.times
                    )
                    for i in range(layer.times)
                ]
        else:
            found += [Place(layer.name, v.path.split("/")[-1], v) for v in layer.weights]
    return found


def read(path) -> tuple[tensors.Tensors, str, Contract | None, bool]:
    """What a peer's file, or Hugging Face's folder, holds.

    Returns:
        Its tensors; the key in `names.FORMS` of who named them; its contract if it says anything; and
        whether that is certain, which a convention is not.

    Raises:
        ValueError: it cannot be read, or nobody known names tensors so; the rest of a sentence.
    """
    folder = pathlib.Path(path)
    config = {}
    if folder.is_dir():
        config = _json(folder / "config.json")
        path = weights_file(folder)
    content = tensors.kind(path)
    if content is None:
        raise ValueError(
            "its content is none of .keras, HDF5, safetensors and PyTorch's: it may be cut off, or "
            "something else by that name"
        )
    found = tensors.safetensors(path) if content == "safetensors" else tensors.torch(path)
    form = names.form_of(found)
    if form is None:
        raise ValueError(
            "its tensors are named as in none of torchvision, timm, Hugging Face's ResNet and "
            f"akamaster's CIFAR nets: {', '.join(list(found)[:5])}"
        )
    if KEY in found.metadata:
        return found, form, Contract.loads(found.metadata[KEY]), True
    if config:
        return found, form, _huggingface_contract(folder, config), True
    return found, form, None, False


def weights_file(folder: pathlib.Path) -> pathlib.Path:
    """Of Hugging Face's folder.

    Raises:
        ValueError: there is none; the rest of a sentence.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise ValueError("the folder holds no model.safetensors and no pytorch_model.bin")


def load(model: keras.Model, found: tensors.Tensors, form: str) -> None:
    """Gives `model` a peer's tensors, all or none.

    Raises:
        ValueError: they do not fit, or hold what is no number; the rest of a sentence.
    """
    ours = {names.FORMS[form].name(place.layer, place.variable): place for place in places(model)}
    differences = [
        f"{name} {found[name]} is not in the network" for name in found if name not in ours
    ]
    for name, place in ours.items():
        if name not in found:
            differences.append(f"{name} {_theirs(place)} is not in the file")
        elif _fitted(found[name], len(place.shape)) != place.shape:
            differences.append(f"{name} is {found[name]}, the network's {_theirs(place)}")
    if differences:
        raise ValueError(
            f"{len(differences)} of {len(ours)} tensors differ: {'; '.join(differences[:5])}"
        )
    values = {name: found.read(name) for name in ours}
    check_finite(values.items())
    for name, place in ours.items():
        place.write(names.to_ours(values[name], place.shape))


def check_finite(named):
    """Raises ValueError, naming it, at the first of (name, array) that holds NaN or infinity."""
    for name, value in named:
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds values that are not finite: the training diverged")


def save_safetensors(
    model: keras.Model, path, wanted: str | None, contract: Contract | None
) -> str:
    """Writes a network's weights under a peer's names; whole or not at all.

    Args:
        wanted: "torchvision", "timm", "huggingface", "akamaster"; None for the nearest.

    Returns:
        Who was taken.

    Raises:
        ValueError: they have no such network.
        OSError: the file cannot be written.
    """
    from safetensors.numpy import save_file

    form = names.form_for(model, wanted)
    named = {}
    for place in places(model):
        name = names.FORMS[form].name(place.layer, place.variable)
        convolution = "_se_" in place.layer or form == "timm-v2"
        named[name] = names.to_theirs(place.read(), convolution)
    metadata = {"format": "pt"} | ({KEY: contract.dumps()} if contract else {})
    with files.aside(path) as part:
        save_file(named, part, metadata)
    return form


def _theirs(place):
    """The shape in which peers would have it."""
    shape = place.shape
    return (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape


def _fitted(shape, rank):
    """A peer's shape in our layout."""
    if len(shape) < 2:
        return tuple(shape)
    ours = (*shape[2:], shape[1], shape[0])
    return ours[-2:] if rank == 2 and set(ours[:-2]) <= {1} else ours


def _json(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError:
        raise ValueError(f"the folder holds no {path.name}") from None
    except ValueError:
        raise ValueError(f"{path.name} is no JSON") from None


_DEPTHS = {(3, 4, 6, 3): "50", (3, 4, 23, 3): "101", (3, 8, 36, 3): "152"}
_BASIC_DEPTHS = {(2, 2, 2, 2): "ResNet18", (3, 4, 6, 3): "ResNet34"}


def _huggingface_contract(folder, config):
    """What config.json and preprocessor_config.json say."""
    depths = tuple(config.get("depths", ()))
    if config.get("layer_type", "bottleneck") == "basic":
        network = _BASIC_DEPTHS.get(depths)
    else:
        first = config.get("downsample_in_bottleneck", False)
        network = f"ResNet{_DEPTHS[depths]}{'' if first else 'V1_5'}" if depths in _DEPTHS else None
    labels = config.get("id2label") or {}
    class_names = tuple(labels[key] for key in sorted(labels, key=int))
    preprocessing = size = resize = None
    if (folder / "preprocessor_config.json").is_file():
        given = _json(folder / "preprocessor_config.json")
        mean, std = given.get("image_mean"), given.get("image_std")
        if mean and std:
            preprocessing = [[255 * m for m in mean], [255 * s for s in std], False]
        side = given.get("size")
        size = side.get("shortest_edge") if isinstance(side, dict) else side
        if size:
            resize = round(size / (given.get("crop_pct") or 0.875))
    if all(name.startswith("LABEL_") for name in class_names):
        class_names = ()
    return Contract(
        network,
        preprocessing,
        size,
        resize,
        class_names,
        source=f"Hugging Face: {config.get('_name_or_path') or os.path.basename(folder)}",
    )
