"""keras-hub's ResNet presets -> ours: folders of config.json, model.weights.h5 and, of classifiers, task.weights.h5.

keras-hub is not needed: its config names the network, and its files number the layers of a kind in Keras' order.
`keras_hub_writer` is the way back.
"""

import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import h5py
import keras
import numpy as np

from keras_resnet.weights import native
from keras_resnet.weights.bounds import are_numbers, brief, is_whole, read_json
from keras_resnet.weights.contract import Contract, contract_of
from keras_resnet.weights.peers import check_finite, places

CLASS, TASK = "ResNetBackbone", "ResNetImageClassifier"
_GROUP = re.compile(r"(?:.*/)?(conv2d|batch_normalization)(?:_(\d+))?/vars/(\d)")
VARIABLES = {
    "conv2d": ("kernel",),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_POLICIES = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


class Architecture(NamedTuple):
    """What tells keras-hub's ResNets apart: blocks of each stage, and the kind of blocks, stem and order."""

    depths: tuple[int, ...]
    bottleneck: bool
    deep: bool = False  # "vd": three 3x3 convolutions first, and pools in shortcuts
    v2: bool = False

    def layers(self) -> Iterator[tuple[str, str]]:
        """(our name, keras-hub's name) of each convolution and norm, in the order in which Keras lists them."""
        for i in (1, 2, 3) if self.deep else (None,):
            yield (f"conv1_{i}_conv" if i else "conv1_conv"), f"conv{i or 1}_conv"
            if not self.v2:
                yield (f"conv1_{i}_bn" if i else "conv1_bn"), f"conv{i or 1}_bn"
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                ours, theirs = f"conv{stage + 2}_block{block + 1}", f"stack{stage}_block{block}"
                projects = not block and (self.bottleneck or self.deep or stage > 0)
                for what in self._block(projects):
                    yield f"{ours}_{what}", f"{theirs}_{what.replace('preact', 'pre_activation')}"
        if self.v2:
            yield "post_bn", "post_bn"

    def groups(self) -> Iterator[tuple[str, str, str, int]]:
        """(our name, keras-hub's name, Keras' kind, its number among its kind in the file) of each of them."""
        count = dict.fromkeys(VARIABLES, 0)
        for ours, theirs in self.layers():
            kind = "conv2d" if ours.endswith("conv") else "batch_normalization"
            yield ours, theirs, kind, count[kind]
            count[kind] += 1

    def settings(self) -> dict[str, list[int]]:
        """What its backbone's config says of the stem and the stages, but for their depths."""
        return {
            "input_conv_filters": [32, 32, 64] if self.deep else [64],
            "input_conv_kernel_sizes": [3, 3, 3] if self.deep else [7],
            "stackwise_num_filters": [64, 128, 256, 512],
            "stackwise_num_strides": [1, 2, 2, 2],
        }

    def _block(self, projects):
        last = 3 if self.bottleneck else 2
        if self.v2:
            yield "preact_bn"
        for i in range(1, last):
            yield from (f"{i}_conv", f"{i}_bn")
        # The last convolution and the shortcut's are as far from the end: Keras lists the shortcut's first.
        numbers = (0, last) if projects else (last,)
        for kind in ("conv",) if self.v2 else ("conv", "bn"):
            yield from (f"{i}_{kind}" for i in numbers)


_DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # fmt: skip
NETWORKS: dict[Architecture, str] = {  # -> our name
    Architecture(_DEPTHS[depth], depth >= 50, deep, v2): (
        f"ResNet{depth}{of_bottleneck if depth >= 50 else of_basic}"
    )
    for deep, v2, of_basic, of_bottleneck in (
        (False, False, "", "V1_5"),
        (False, True, "V2", "V2"),
        (True, False, "VD", "D"),
    )
    for depth in _DEPTHS
}
NETWORKS |= {
    Architecture((3, 12, 48, 3), True, True): "ResNet200VD",
    Architecture((3, 24, 36, 3), True, True): "ResNet200D",
}


class Preset(NamedTuple):
    """What a preset's folder holds.

    Args:
        network: its name among ours.
        places: (our layer, our variable) -> (file, tensor in it).
        shapes: (our layer, our variable) -> shape.
        contract: what its image converter says.
        classes: of its classifier; None where it has none.
        channels: of the pictures that it reads.
        notes: sentences on what evaluation here does otherwise.
    """

    network: str
    places: dict[tuple[str, str], tuple[pathlib.Path, str]]
    shapes: dict[tuple[str, str], tuple[int, ...]]
    contract: Contract
    classes: int | None
    channels: int
    notes: list[str]


def is_preset(folder: str | os.PathLike) -> bool:
    """Whether a folder's config.json is that of an object of Keras, as keras-hub's presets have it.

    Raises:
        ValueError: its config.json is no JSON; the rest of a sentence.
    """
    path = pathlib.Path(folder, "config.json")
    given = read_json(path) if path.is_file() else None
    return isinstance(given, dict) and "registered_name" in given


def read(folder: str | os.PathLike) -> Preset:
    """What a preset's folder holds.

    Raises:
        ValueError: it is another network's or another task's, or is damaged; the rest of a sentence.
    """
    folder = pathlib.Path(folder)
    config = _config(folder / "config.json", CLASS, "network")
    architecture = _architecture(config)
    network = NETWORKS.get(architecture)
    if network is None:
        raise ValueError(_unknown(architecture))
    kept, shapes = _backbone(folder / "model.weights.h5", architecture)
    classes = None
    task = {}
    if (folder / "task.json").is_file():
        task = _config(folder / "task.json", TASK, "task")
        classes = _classifier(folder / "task.weights.h5", task, kept, shapes)
    contract, notes = _contract(folder, task, network)
    if stated := contract_of(folder / "model.weights.h5"):  # written here
        if stated.network != network:
            raise ValueError(
                f"its contract says {brief(stated.network)}, its config.json {network}"
            )
        contract, notes = stated, []
    first = next(architecture.layers())[0]
    return Preset(network, kept, shapes, contract, classes, shapes[first, "kernel"][2], notes)


def weights_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of weights in a preset's folder."""
    found = [folder / name for name in ("model.weights.h5", "task.weights.h5")]
    return [path for path in found if path.is_file()]


def fits(model: keras.Model, preset: Preset) -> bool:
    """Whether a network of ours has a preset's tensors."""
    return not _differences(model, preset)


def load(model: keras.Model, preset: Preset) -> None:
    """Gives a preset's weights to a network of ours: all or none.

    Raises:
        ValueError: they do not fit; the rest of a sentence.
    """
    if clauses := _differences(model, preset):
        raise ValueError(f"{len(clauses)} tensors differ: {'; '.join(clauses[:5])}")
    values = {}
    for path in {path for path, _ in preset.places.values()}:
        with h5py.File(path, "r") as h5:
            values |= {k: _array(h5[name]) for k, (of, name) in preset.places.items() if of == path}
    check_finite((f"{layer}'s {variable}", value) for (layer, variable), value in values.items())
    for place in places(model):
        place.write(values[place.layer, place.variable])


def _differences(model, preset):
    ours = {(place.layer, place.variable): place.shape for place in places(model)}
    return [
        f"{layer}'s {variable} is {preset.shapes.get((layer, variable), 'not in the preset')}, the network's "
        f"{ours.get((layer, variable), 'is missing')}"
        for layer, variable in ours.keys() | preset.shapes.keys()
        if ours.get((layer, variable)) != preset.shapes.get((layer, variable))
    ]


def _array(dataset):
    if dataset.dtype.kind == "V":  # bfloat16, as Keras writes it
        bits = np.asarray(dataset[()]).view("<u2").astype("<u4") << 16
        return bits.view("<f4")
    return np.asarray(dataset[()], "float32")


# --- configs


def _config(path, wanted, what):
    try:
        given = read_json(path)
    except OSError:
        raise ValueError(f"the folder holds no {path.name}") from None
    if not isinstance(given, dict) or not isinstance(given.get("config"), dict):
        raise ValueError(f"{path.name} is no config of Keras")
    if given.get("class_name") != wanted:
        raise ValueError(
            f"{path.name} is of the {what} {brief(given.get('class_name'))}, and of keras-hub's {what}s only "
            f"{wanted} is read here"
        )
    return given["config"]


def _architecture(config):
    given = config.get("stackwise_num_blocks")
    kind = str(config.get("block_type"))
    blocks = tuple(given) if isinstance(given, list) else ()
    architecture = Architecture(
        blocks,
        kind.startswith("bottleneck"),
        kind.endswith("_vd"),
        bool(config.get("use_pre_activation")),
    )
    for name, value in architecture.settings().items():
        if config.get(name) != value:
            raise ValueError(
                f"config.json says {name}={brief(config.get(name))}, which no network here has"
            )
    if not isinstance(given, list) or not all(is_whole(n, 1) for n in given):
        raise ValueError(f"config.json says stackwise_num_blocks={brief(given)}")
    policy = config.get("dtype")
    policy = policy.get("config", {}).get("name") if isinstance(policy, dict) else policy
    if policy is not None and policy not in _POLICIES:
        raise ValueError(f"its weights are quantised or of the precision {brief(policy)}")
    return architecture


def _unknown(architecture):
    depths = "-".join(map(str, architecture.depths))
    kind = "bottlenecks" if architecture.bottleneck else "basic blocks"
    form = "vd" * architecture.deep + "V2" * architecture.v2
    return f"it is a ResNet{form and ' ' + form} of {depths} {kind}, which no network here is"


def _classifier(path, task, kept, shapes):
    """Adds the classifier's tensors; returns how many classes it has."""
    if task.get("pooling", "avg") != "avg":
        raise ValueError(
            f"its classifier pools by {brief(task['pooling'])}, and networks by name by averages"
        )
    if task.get("activation") not in (None, "linear", "softmax"):
        raise ValueError(
            f"its classifier ends in {brief(task['activation'])}, and networks by name in softmax"
        )
    found = _tensors(path)
    kernels = [name for name, shape in found.items() if len(shape) == 2]
    if len(kernels) != 1 or not kernels[0].endswith("vars/0"):
        raise ValueError(f"{path.name} holds {len(kernels)} classifiers, not one")
    bias = kernels[0][:-1] + "1"
    classes = found[kernels[0]][1]
    if found.get(bias) != (classes,) or task.get("num_classes") != classes:
        raise ValueError(
            f"task.json says {brief(task.get('num_classes'))} classes, {path.name} has {classes}"
        )
    for variable, name in (("kernel", kernels[0]), ("bias", bias)):
        kept["predictions", variable], shapes["predictions", variable] = (path, name), found[name]
    return classes


# --- files of weights


def _tensors(path):
    if not path.is_file():
        raise ValueError(f"the folder holds no {path.name}")
    try:
        return native.shapes(path)
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None


def _backbone(path, architecture):
    """The places and shapes of all tensors but the classifier's."""
    found = {}
    with_names = {}
    for name, shape in _tensors(path).items():
        if match := _GROUP.fullmatch(name):
            found[match[1], int(match[2] or 0), int(match[3])] = name, shape
    with h5py.File(path, "r") as h5:  # newer files name each layer
        for (kind, number, _), (name, _) in found.items():
            with_names[kind, number] = h5[name].parent.attrs.get("name")
    kept, shapes = {}, {}
    for ours, theirs, kind, number in architecture.groups():
        said = with_names.get((kind, number))
        if said not in (None, theirs):
            raise ValueError(
                f"{path.name} has the layer {brief(said)} where config.json has {theirs}"
            )
        for i, variable in enumerate(VARIABLES[kind]):
            if (kind, number, i) not in found:
                raise ValueError(f"{path.name} has no {variable} of {theirs}")
            name, shapes[ours, variable] = found.pop((kind, number, i))
            kept[ours, variable] = path, name
    if found:
        raise ValueError(f"{path.name} has {len(found)} tensors more than config.json builds")
    return kept, shapes


# --- what it does to pictures


def _contract(folder, task, network):
    given, notes = _converter(folder, task), []
    size = given.get("image_size")
    size = size[0] if isinstance(size, list) and len(set(map(str, size))) == 1 else None
    size = size if is_whole(size, 1, 1 << 16) else None
    interpolation = given.get("interpolation", "bilinear")
    if interpolation not in ("bilinear", "bicubic"):
        notes.append(
            f"pictures were resized by {brief(interpolation)} interpolation; bilinear is taken"
        )
        interpolation = "bilinear"
    if size and given.get("crop_to_aspect_ratio") is False:
        notes.append(f"pictures were stretched to {size}x{size}; evaluation here takes the centre")
    if given:
        preprocessing = _normalisation(given)
    else:
        preprocessing = None
        notes.append("it does not say how pictures were normalised; 'torch', as its kin, is taken")
    contract = Contract(
        network,
        preprocessing,
        size,
        size,
        source=f"keras-hub: {folder.resolve().name}",
        interpolation=interpolation,
    )
    return contract, notes


def _converter(folder, task):
    """The config of its image converter: the task's, else the preprocessor's, else the converter's own file's."""
    found = [task.get("preprocessor")]
    for name in ("preprocessor.json", "image_converter.json"):
        if (folder / name).is_file():
            found.append(read_json(folder / name))
    for given in found:
        while isinstance(given, dict) and isinstance(given.get("config"), dict):
            given = given["config"]
            if "scale" in given or "mean" in given:
                return given
            given = given.get("image_converter")
    return {}


def _normalisation(given):
    """[means, standard deviations, bgr] in 0..255 of x * scale + offset, of which None leaves x as it is."""
    scale, offset = given.get("scale"), given.get("offset")
    scale = 1 if scale is None else scale
    if "variance" in given and "mean" in given:  # as keras-hub wrote it in 2024
        mean, variance = given["mean"], given["variance"]
        if not are_numbers(mean, 3) or not are_numbers(variance, 3) or not are_numbers([scale]):
            raise ValueError("its image converter's mean, variance and scale are no numbers")
        if not min(variance) > 0 or not scale > 0:
            raise ValueError("its image converter's variance and scale are not above 0")
        return [[m / scale for m in mean], [v**0.5 / scale for v in variance], False]
    scale = 3 * [scale] if not isinstance(scale, list) else scale
    offset = 3 * [0 if offset is None else offset] if not isinstance(offset, list) else offset
    if not are_numbers(scale, 3) or not are_numbers(offset, 3) or not min(scale) > 0:
        raise ValueError("its image converter's scale and offset are not those of R, G and B")
    return [
        [-o / s for o, s in zip(offset, scale, strict=True)],
        [1 / s for s in scale],
        False,
    ]
