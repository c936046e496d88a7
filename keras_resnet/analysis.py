"""What a network costs and looks like, read off the built graph: parameters, MACs, output stride, a drawing."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

import keras

from keras_resnet import applications
from keras_resnet.networks import models
from keras_resnet.networks.layers import Layers, channel_axis, format_of, positions
from keras_resnet.networks.repeat import Repeat
from keras_resnet.support import keras_private

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def macs(model: keras.Model) -> int:
    """Multiply-adds of the convolutions and dense layers for one example (the paper's "FLOPs").

    Walks the built graph, so it counts what runs.

    Raises:
        ValueError: the model's input shape is not static; build it with a fixed input_shape.
    """
    total, format = 0, format_of(model)
    for layer in keras_private.layers(model):
        if isinstance(layer, keras.layers.Dense):
            weights = layer.kernel.shape
        elif hasattr(layer, "kernel_size") and hasattr(layer, "groups"):
            weights = layer.kernel.shape  # [*kernel, channels / groups, filters]
        elif isinstance(layer, Repeat):
            total += layer.times * macs(layer.block)
            continue
        else:
            continue
        for node in keras_private.calls_of(layer):
            sides = positions(node.outputs[0].shape, format)
            if None in sides:
                raise ValueError(
                    f"MACs depend on the picture's size and {model.name} has none; "
                    "build it with a fixed input_shape."
                )
            total += math.prod(sides) * math.prod(weights)
    return total


def parameters(model: keras.Model) -> tuple[int, int]:
    """(trainable, total): total counts the norms' moving statistics, as Keras' count_params does."""
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    return trainable, model.count_params()


def output_stride(model: keras.Model) -> int:
    """Input positions for one of the last feature map, along the last spatial axis; of sound and tokens along time."""
    maps = [layer.output.shape for layer in model.layers if len(layer.output.shape) > 2]
    format, last = format_of(model), positions(maps[-1], format_of(model))
    if len(model.inputs[0].shape) == 2:  # behind a front, time is the first axis
        return model.inputs[0].shape[1] // last[0]
    return positions(model.inputs[0].shape, format)[-1] // last[-1]


def summary_table(size: int | None = None, names: list[str] | None = None) -> list[dict]:
    """One row a named network: name, trainable and total parameters, MACs, size, output stride.

    Args:
        size: side of the square RGB picture in pixels; None takes each network's default (224 or 32).
        names: networks; None takes all (each one is built).

    Returns:
        Rows with keys name, trainable, total, macs, size, output_stride.
    """
    layers = Layers(
        kernel_initializer=keras.initializers.Zeros
    )  # no random numbers: nobody runs these
    rows = []
    for name in names or applications.list_models():
        side = size or models.NETWORKS[name].size
        shape = (3, side, side) if channel_axis() == 1 else (side, side, 3)
        model = applications.get(name)(input_shape=shape, layers=layers)
        rows.append({"name": name, **facts(model)})
    return rows


def facts(model: keras.Model) -> dict:
    """A row of `summary_table` without the name, for any network with a fixed input shape."""
    trainable, total = parameters(model)
    return {
        "trainable": trainable,
        "total": total,
        "macs": macs(model),
        "size": (positions(model.inputs[0].shape, format_of(model)) or model.inputs[0].shape)[-1],
        "output_stride": output_stride(model),
    }


def format_table(rows: list[dict]) -> str:
    """`summary_table`'s rows as a Markdown table."""
    lines = [
        "| network | trainable parameters | total | GMAC | at | output stride |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['name']} | {r['trainable']:,} | {r['total']:,} | {r['macs'] / 1e9:.4f} "
        f"| {r['size']} | {r['output_stride']} |"
        for r in rows
    ]
    return "\n".join(lines)


def draw(model: keras.Model, path: str | os.PathLike | None = None) -> Figure:
    """Draws a residual network: a row for each stage, in it a box for each block, coloured by its shortcut.

    Needs matplotlib alone. (Keras' plot_model needs Graphviz, and draws a box for each layer, 347 for ResNet-101.)

    Args:
        model: a network of this package.
        path: of a picture file to write; None writes none, and a notebook shows the figure.

    Returns:
        The matplotlib figure.
    """
    from matplotlib.figure import Figure

    stages = _stages(model)
    figure = Figure(figsize=(9, 1 + 0.6 * len(stages)), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(-len(stages) + 0.4, 0.6))
    axes.set_title(f"{model.name}: {model.count_params():,} parameters")
    left, whole, height = 0.16, 0.6, 0.6
    labels = {}
    for row, (name, stage) in enumerate(stages.items()):
        shape = "x".join("?" if side is None else str(side) for side in stage["shape"])
        axes.text(0, -row, f"{name}\n{shape}", va="center", fontsize=8)
        beside = [block["beside"] for block in stage["blocks"].values()] or ["no block"]
        width = whole / len(beside)
        for i, kind in enumerate(beside):
            gap = min(0.008, 0.2 * width)
            corner = {"x": left + i * width, "bottom": -row - height / 2, "align": "edge"}
            look = {"color": _COLOURS[kind], "edgecolor": "#555555"}
            [box] = axes.bar(height=height, width=width - gap, **corner, **look)
            labels.setdefault(kind, box)
        if stage["blocks"]:
            text = " | ".join(stage["blocks"][1]["convs"])
            axes.text(
                left + whole + 0.01, -row, f"{len(beside)} x [{text}]", va="center", fontsize=7
            )
    kinds = [kind for kind in _COLOURS if kind in labels]
    figure.legend(
        [labels[k] for k in kinds], kinds, loc="outside lower center", ncols=4, fontsize=8
    )
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


_COLOURS = {
    "identity": "#9ecae1",
    "padded identity (A)": "#c7e9c0",
    "projection": "#fdae6b",
    "no shortcut": "#f0f0f0",
    "no block": "#d9d9d9",
}


def _stages(model):
    """Rows of the drawing, from the layers' names: name -> shape, blocks {number: convs, beside}."""
    stages = {}
    first = next((i for i, each in enumerate(model.layers) if each.name.startswith("conv1_")), 0)
    for layer in model.layers[first:]:  # what a front does is no stage
        block = re.match(r"(conv\d+)_block(\d*)_(\w+)", layer.name)
        name = block[1] if block else layer.name.partition("_")[0]
        if name == "post" or isinstance(
            layer, (keras.layers.InputLayer, keras.layers.Normalization)
        ):
            continue
        stage = stages.setdefault(name, {"blocks": {}})
        stage["shape"] = layer.output.shape[1:]
        if isinstance(layer, Repeat):
            [repeated] = [s["blocks"] for s in _stages(layer.block).values()]
            stage["blocks"] |= dict.fromkeys(range(2, layer.times + 2), repeated[0])
        if not block:
            continue
        parts = stage["blocks"].setdefault(
            int(block[2] or 0), {"convs": [], "beside": "no shortcut"}
        )
        part = block[3]
        if part == "0_conv":
            parts["beside"] = "projection"
        elif part.startswith("0_") and parts["beside"] == "no shortcut":
            parts["beside"] = "padded identity (A)"
        elif isinstance(layer, keras.layers.Add) and parts["beside"] == "no shortcut":
            parts["beside"] = "identity"
        elif part.endswith("_conv"):
            parts["convs"].append(f"{'x'.join(map(str, layer.kernel_size))}, {layer.filters}")
    return stages
