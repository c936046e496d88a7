"""Ours -> a folder as keras-hub's ResNet presets are, which `from_preset` of keras-hub and `keras_hub.read` load.

keras-hub is not needed. The contract goes along as an attribute of model.weights.h5, which keras-hub leaves alone.
"""

import json
import os
import pathlib

import h5py
import keras
import numpy as np

from keras_resnet.networks import fronts
from keras_resnet.support import files
from keras_resnet.weights import keras_hub
from keras_resnet.weights.contract import KEY, Contract, normalisation
from keras_resnet.weights.peers import places


def save_preset(model: keras.Model, folder: str | os.PathLike, contract: Contract) -> None:
    """Writes a network as a preset's folder of keras-hub's; the whole folder or none.

    With a classifier it is an image classifier, else a backbone. keras-hub resizes the shorter side of a picture to
    `contract.size` and takes the centre; the other fields that it has no place for, as `resize` and `class_names`, are
    read here alone.

    Args:
        folder: that is made.
        contract: its `network` says which of keras-hub's it is, its `preprocessing` what the image converter does.

    Raises:
        ValueError: keras-hub has no such network, normalisation or classifier.
        OSError: the folder cannot be written, or is there and holds something.
    """
    architecture = _architecture(contract.network)
    variables = {(place.layer, place.variable): place for place in places(model)}
    head = {key: place for key, place in variables.items() if key[0] == "predictions"}
    _check(variables.keys() - head.keys(), variables, architecture, contract.network)
    config = _config(variables, architecture)
    converter = _converter(contract, config["image_shape"][2])
    task = _task(model) if head else None
    folder = pathlib.Path(folder)
    with files.aside_folder(folder.absolute().parent) as aside:
        part = aside / folder.name
        part.mkdir()
        _write_weights(part / "model.weights.h5", _backbone(variables, architecture), contract)
        backbone = _object(keras_hub.CLASS, config)
        (part / "config.json").write_text(json.dumps(backbone, indent=4))
        preprocessor = _object(
            f"{keras_hub.TASK}Preprocessor",
            {"image_converter": _object("ResNetImageConverter", converter, "layers")},
        )
        if head:
            both = [head["predictions", variable] for variable in ("kernel", "bias")]
            dense = {"layers/dense": ("predictions", both)}
            _write_weights(part / "task.weights.h5", dense, None)
            whole = {"backbone": backbone, "preprocessor": preprocessor, **task}
            (part / "task.json").write_text(json.dumps(_object(keras_hub.TASK, whole), indent=4))
            (part / "preprocessor.json").write_text(json.dumps(preprocessor, indent=4))
        image_converter = preprocessor["config"]["image_converter"]
        (part / "image_converter.json").write_text(json.dumps(image_converter, indent=4))
        metadata = {
            "keras_version": keras.__version__,
            "parameter_count": sum(int(np.prod(place.shape)) for place in variables.values()),
        }
        (part / "metadata.json").write_text(json.dumps(metadata, indent=4))
        for file in part.iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        try:
            part.rename(folder)
        except OSError as error:
            raise OSError(f"Cannot write {folder}: {error.strerror}.") from error


def _architecture(network):
    for architecture, name in keras_hub.NETWORKS.items():
        if name == network:
            return architecture
    known = ", ".join(keras_hub.NETWORKS.values())
    raise ValueError(f"keras-hub has no network like {network}: its folders are for {known}.")


def _check(found, variables, architecture, network):
    """Refuses a network whose tensors are not those of the architecture."""
    wanted = {}
    for ours, _, kind, _ in architecture.groups():
        for variable in keras_hub.VARIABLES[kind]:
            wanted[ours, variable] = variables.get((ours, variable))
    if differing := found ^ wanted.keys():
        layer, variable = min(differing)
        raise ValueError(
            f"The network is no {network} as keras-hub has it: {layer}'s {variable} is in one of them alone."
        )
    for (layer, variable), place in wanted.items():
        if variable == "kernel" and place.shape[-1] != (width := _width(layer, architecture)):
            raise ValueError(
                f"The network is no {network} as keras-hub has it: {layer} has {place.shape[-1]} filters, "
                f"not {width}."
            )


def _width(layer, architecture):
    """Filters of a convolution."""
    settings = architecture.settings()
    block, _, rest = layer.removeprefix("conv").partition("_")
    if block == "1":
        return settings["input_conv_filters"][int(rest[0]) - 1 if architecture.deep else 0]
    wide = architecture.bottleneck and rest.endswith(("_0_conv", "_3_conv"))
    return settings["stackwise_num_filters"][int(block) - 2] * (4 if wide else 1)


def _backbone(variables, architecture):
    """Path in the file -> (keras-hub's name, the tensors) of each convolution and norm."""
    return {
        f"layers/{kind}{f'_{number}' if number else ''}": (
            theirs,
            [variables[ours, variable] for variable in keras_hub.VARIABLES[kind]],
        )
        for ours, theirs, kind, number in architecture.groups()
    }


def _write_weights(path, layers, contract):
    with h5py.File(path, "w") as h5:
        for name, (theirs, held) in layers.items():
            group = h5.create_group(f"{name}/vars")
            group.attrs["name"] = theirs
            for i, place in enumerate(held):
                group[str(i)] = np.asarray(place.read(), "float32")
        if contract:
            h5.attrs[KEY] = contract.dumps()


# --- configs


def _object(kind, config, module="models"):
    """As Keras serialises an object of keras-hub's."""
    return {
        "module": f"keras_hub.{module}",
        "class_name": kind,
        "config": config,
        "registered_name": f"keras_hub>{kind}",
    }


def _config(variables, architecture):
    block = "bottleneck_block" if architecture.bottleneck else "basic_block"
    first = next(architecture.layers())[0]
    return architecture.settings() | {
        "stackwise_num_blocks": list(architecture.depths),
        "block_type": block + "_vd" * architecture.deep,
        "use_pre_activation": architecture.v2,
        "image_shape": [None, None, variables[first, "kernel"].shape[2]],
    }


def _task(model):
    head = next(layer for layer in model.layers if layer.name == "predictions")
    names = {layer.name for layer in model.layers}
    if "max_pool" in names or "avg_pool" not in names:
        raise ValueError("The classifier pools by more than averages, unlike those by name.")
    activation = keras.activations.serialize(head.activation)
    if activation not in ("linear", "softmax"):
        raise ValueError(
            f"The classifier ends in {activation!r}: folders of keras-hub's are written of networks that end in "
            "softmax or give logits."
        )
    return {
        "num_classes": head.units,
        "pooling": "avg",
        "activation": None if activation == "linear" else activation,
        "dropout": 0.0,
    }


def _converter(contract, channels):
    preprocessing = contract.preprocessing
    if preprocessing == "own":
        raise ValueError(
            "The network normalises its input as no builder does: folders of keras-hub's have no place for that."
        )
    scale, offset = 1.0, 0.0
    if preprocessing not in (None, "none"):
        does = fronts.named(normalisation(preprocessing))
        if does.bgr and channels == 3:
            raise ValueError(
                "The network reads B, G, R, which image converters of keras-hub's ResNets cannot make of pictures."
            )
        scale = [1 / std for std in does.std]
        offset = [-mean / std for mean, std in zip(does.mean, does.std, strict=True)]
        if channels != 3:  # as fronts: the averages
            scale = 3 / sum(does.std)
            offset = -sum(does.mean) / sum(does.std)
    size = contract.size and [contract.size, contract.size]
    return {
        "image_size": size,
        "scale": scale,
        "offset": offset,
        "interpolation": contract.interpolation,
        "crop_to_aspect_ratio": True,
    }
