"""A network of the table from the graph in its file: built anew by `models.resnet`, and compared with the graph.

Nothing that a file names is looked up, imported or called: its numbers and names choose a row of the table and
that row's arguments. A graph that differs from that of the network built so is not of the table.
"""

import contextlib
import functools
import json
import re

import keras
import numpy as np

from keras_resnet.networks import blocks, models
from keras_resnet.networks.layers import Layers, building
from keras_resnet.support import errors, keras_private
from keras_resnet.weights import graph as graphs
from keras_resnet.weights.bounds import are_numbers, brief, is_whole

# Parts of a layer's config that do not change what it computes: names, first values, training on many devices.
_BESIDE = ("name", "trainable", "seed", "synchronized")
_NORMS = {
    "batch": "BatchNormalization", "layer": "LayerNormalization", "group": "GroupNormalization"
}  # fmt: skip
_POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")


class Unknown(ValueError):
    """The table has no such network; the text says where it differs, as the rest of a sentence."""


def network(graph: dict, shapes: list[tuple[int, ...]], claimed: str | None = None) -> keras.Model:
    """Builds the network of the table that a graph describes.

    Args:
        graph: what `graph.read` gave.
        shapes: of the file's tensors; input and classifier must fit one of them.
        claimed: the network's name in `models.NETWORKS`, from the file's contract.

    Returns:
        The network that computes what the graph says, with random weights.

    Raises:
        Unknown: the table has none.
    """
    try:
        with building():
            return _network(graph, shapes, claimed)
    except Unknown:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        RecursionError,
    ) as error:  # of odd arguments
        raise Unknown(errors.first_line(error)) from None


def _network(graph, shapes, claimed):
    layers = graphs.layers(graph)
    named = {graphs.name(layer): layer for layer in layers}
    start = next(
        (i for i, layer in enumerate(layers) if graphs.name(layer).startswith("conv1_")), 0
    )
    if not start or len(named) < len(layers):
        raise Unknown("its layers are not named as the table's are")
    spec = _row(named, claimed)
    depth = _is(layers[start:], "Conv2D")[0]
    axis = graphs.channel_axis(layers)
    with _policy(_policy_of(depth)), _data_format(axis):
        front = _front(layers[:start], shapes, axis)
        model = models.resnet(
            front,
            spec.depths,
            spec.widths,
            block=spec.block,
            stem=spec.stem,
            head=_head(named, layers[-1], shapes),
            order=spec.order,
            shortcut=_shortcut(layers, named),
            tail=spec.tail,
            layers=_spelling(layers),
            loop=bool(_is(layers, "Repeat")),
            name=_text(graph["config"], "name"),
        )
    rebuilt = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    _compare(graph, rebuilt, start)
    for layer in model.layers:
        layer.trainable = (
            named.get(layer.name, {"config": {}})["config"].get("trainable") is not False
        )
    return model


# --- the row, and its arguments


def _row(named, claimed):
    """The row of the table whose blocks have these layers' number, kind, width and strides."""
    depths = []
    while f"conv{len(depths) + 2}_block1_1_conv" in named:
        stage = f"conv{len(depths) + 2}_block"
        loop = named.get(f"{stage}s")
        number = 1 + loop["config"]["times"] if loop else 1
        while f"{stage}{number + 1}_1_conv" in named:
            number += 1
        depths.append(number)
    first, second = (_config(named, f"conv2_block1_{i}_conv") for i in (1, 2))
    strided = _config(named, "conv3_block1_1_conv").get("strides") != [1, 1]
    bottleneck = "conv2_block1_3_conv" in named
    facts = (
        tuple(depths),
        models.deep
        if "conv1_1_conv" in named
        else models.conv7
        if "pool1_pool" in named
        else models.conv3,
        blocks.V2 if "post_relu" in named else blocks.V1,
        blocks.squeeze_excite if "conv2_block1_se_reduce" in named else blocks.nothing,
        blocks.bottleneck if bottleneck else blocks.basic,
        (first.get("filters"), second.get("groups", 1), strided if bottleneck else True),
    )
    fitting = [name for name, spec in models.NETWORKS.items() if _facts(spec) == facts]
    if claimed in models.NETWORKS and fitting and claimed not in fitting:
        raise Unknown(f"its contract says {claimed}, its layers are those of {fitting[0]}")
    if not fitting:
        raise Unknown("no network there has its stages, blocks and widths")
    return models.NETWORKS[fitting[0]]


def _facts(spec):
    block, given = getattr(spec.block, "func", spec.block), getattr(spec.block, "keywords", {})
    filters = int(spec.widths[0] * given.get("width", 1))
    strided = block is blocks.basic or given.get("strides_on", "1x1") == "1x1"
    return (
        spec.depths, spec.stem, spec.order, spec.tail, block, (filters, given.get("groups", 1), strided)
    )  # fmt: skip


def _shortcut(layers, named):
    """The shortcut of `blocks`, from the layers that it makes."""
    inner = [
        layer for loop in _is(layers, "Repeat") for layer in graphs.layers(loop["config"]["block"])
    ]
    if not _is(layers, "Add"):
        return blocks.none
    if any(name.endswith("_0_pad") for name in named):
        return blocks.pad
    if any(name.endswith("_0_pool") for name in map(graphs.name, _is(layers, "AveragePooling2D"))):
        basic = "conv2_block1_3_conv" not in named
        first = basic and "conv2_block1_0_conv" in named
        return blocks.pool_project_first if first else blocks.pool_project
    if "conv2_block2_0_conv" in named or "conv2_block_0_conv" in map(graphs.name, inner):
        return blocks.always_project
    return blocks.project if any(name.endswith("_0_conv") for name in named) else blocks.pad


def _spelling(layers):
    found = [(kind, norm) for kind, name in _NORMS.items() for norm in _is(layers, name)]
    if not found:
        raise Unknown("it has no norm")
    kind, norm = found[0][0], found[0][1]["config"]
    acts = [layer for layer in _is(layers, "Activation") if graphs.name(layer).endswith("_relu")]
    skips, drops = (
        [
            d["config"].get("rate")
            for d in _is(layers, "Dropout")
            if re.fullmatch(names, graphs.name(d))
        ]
        for names in (r"conv\d+_block\d+_drop", r"conv\d+_block\d+_\d_dropout")
    )
    momentum = norm.get("momentum", Layers.momentum)  # batch normalisation alone has one
    if not are_numbers([momentum, norm["epsilon"], *skips, *drops]):
        raise Unknown("its layers' arguments are no numbers")
    return Layers(
        activation=_text(acts[0]["config"], "activation"),
        momentum=momentum,
        epsilon=norm["epsilon"],
        synchronized=norm.get("synchronized") is True,
        stochastic_depth=skips[-1] if skips else 0.0,
        normalization=kind,
        dropout=drops[0] if drops else 0.0,
    )


def _head(named, last, shapes):
    name, config = graphs.name(last), last["config"]
    if name == "predictions":
        units = config.get("units")
        if not is_whole(units, 1) or not any(len(s) == 2 and s[1] == units for s in shapes):
            raise Unknown(f"its classifier has {brief(units)} classes, its weights another number")
        pools = [kind for kind in ("avg", "max") if f"{kind}_pool" in named]
        dropout = _config(named, "predictions_dropout").get("rate", 0.0)
        if not are_numbers([dropout]):
            raise Unknown("its layers' arguments are no numbers")
        return functools.partial(
            models.classifier,
            classes=units,
            activation=_text(config, "activation"),
            pooling="both" if len(pools) == 2 else "".join(pools),
            dropout=dropout,
        )
    return functools.partial(
        models.features, pooling={"avg_pool": "avg", "max_pool": "max"}.get(name)
    )


def _front(layers, shapes, axis):
    """The input and what normalises it, as the graph has them: a symbolic tensor."""
    first, *others = layers
    config = first["config"]
    shape = config.get("batch_shape")
    sides = shape[1:] if isinstance(shape, list) else []
    if (
        first["class_name"] != "InputLayer"
        or any(config.get(flag) for flag in ("sparse", "ragged", "optional"))
        or not all(side is None or is_whole(side, 1, 1 << 16) for side in sides)
        or len(sides) != 3
        or not any(len(s) == 4 and s[2] == sides[0 if axis == 1 else -1] for s in shapes)
    ):
        raise Unknown(f"its input is {brief(shape)}")
    x = keras.Input(sides, dtype=_text(config, "dtype"), name=_text(config, "name"))
    for layer in others:
        config = layer["config"]
        if layer["class_name"] == "Flip" and is_whole(config.get("axis"), axis, axis):
            x = keras.ops.flip(x, axis=axis)
        elif layer["class_name"] == "Normalization" and config.get("mean") is not None:
            axes = config.get("axis")
            x = keras.layers.Normalization(
                tuple(axes) if isinstance(axes, list) else axes,
                mean=_array(config["mean"]),
                variance=_array(config.get("variance")),
                invert=config.get("invert") is True,
                dtype=_policy_of(layer),
                name=graphs.name(layer),
            )(x)
        else:
            raise Unknown(
                f"its input goes through {brief(layer['class_name'])}, as no recipe has it"
            )
    return x


def _array(values):
    """Statistics as Keras wrote them: a number, lists of them, or an array's lists."""
    if isinstance(values, dict) and values.get("class_name") == "__numpy__":
        values = values["config"]["value"]
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise Unknown("the statistics that normalise its input are no numbers")
    return array.astype(np.float64)


# --- plain data from the graph


def _is(layers, kind):
    return [layer for layer in layers if layer["class_name"] == kind]


def _config(named, name):
    return named[name]["config"] if name in named else {}


def _text(config, key):
    value = config.get(key)
    if not isinstance(value, str) or len(value) > 200:
        raise Unknown(f"{key} is {brief(value)}, no name")
    return value


def _policy_of(layer):
    """The name of a layer's precision."""
    policy = layer["config"].get("dtype")
    if isinstance(policy, dict):
        policy = policy["config"].get("name") if policy.get("class_name") == "DTypePolicy" else None
    if policy not in _POLICIES:
        raise Unknown(f"the precision of {graphs.name(layer)} is {brief(policy)}")
    return policy


@contextlib.contextmanager
def _policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _data_format(axis):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first" if axis == 1 else "channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


# --- whether two graphs compute the same


def _compare(graph, rebuilt, start=0):
    """Raises Unknown at the first difference. The layers before `start` were built from what the file says of them,
    so only their calls are compared."""
    layers, wanted = graphs.layers(graph), graphs.layers(rebuilt)
    if len(layers) != len(wanted):
        raise Unknown(f"it has {len(layers)} layers, the table's network {len(wanted)}")
    places = [{graphs.name(layer): i for i, layer in enumerate(all)} for all in (layers, wanted)]
    for i, (layer, other) in enumerate(zip(layers, wanted, strict=True)):
        name = graphs.name(other)
        if layer["class_name"] != other["class_name"]:
            raise Unknown(f"{name} is a {brief(layer['class_name'])}, not a {other['class_name']}")
        calls = [
            _calls(x.get("inbound_nodes"), p) for x, p in zip((layer, other), places, strict=True)
        ]
        if calls[0] != calls[1]:
            raise Unknown(f"{name} is called otherwise")
        if i < start:
            continue
        named_by_keras = (
            other["module"].startswith(keras_private.OPERATIONS)
            or other["class_name"] == "InputLayer"
        )
        if graphs.name(layer) != name and not named_by_keras:
            raise Unknown(
                f"{brief(graphs.name(layer))} stands where {name} does in the table's network"
            )
        _compare_layers(layer, other, name)
    ends = [
        [_calls(graph["config"].get(key), p) for key in ("input_layers", "output_layers")]
        for graph, p in zip((graph, rebuilt), places, strict=True)
    ]
    if ends[0] != ends[1]:
        raise Unknown("its inputs or outputs are others")


def _compare_layers(layer, other, name):
    config, wanted = layer["config"], other["config"]
    if "dtype" in wanted and _policy_of(layer) != _policy_of(other):
        raise Unknown(f"the precision of {name} is {_policy_of(layer)}, not {_policy_of(other)}")
    if other["class_name"] == "Repeat":
        return _compare(config["block"], wanted["block"])
    # A key that only one has comes from another version of Keras; without it, the default is meant.
    for key in config.keys() & wanted.keys() - {*_BESIDE, "dtype"}:
        if not key.endswith("_initializer") and config[key] != wanted[key]:
            raise Unknown(f"{key} of {name} is {brief(config[key])}, not {brief(wanted[key])}")


def _calls(value, places):
    """How a layer is called, with numbers in place of layers' names, some of which Keras makes up."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return _calls(value["config"]["keras_history"], places)
        return {key: _calls(v, places) for key, v in value.items() if v is not None}
    if isinstance(value, list):
        if len(value) == 3 and isinstance(value[0], str):
            return [places.get(value[0]), *value[1:]]
        return [_calls(v, places) for v in value]
    return value
