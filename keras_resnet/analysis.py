"""What a network costs and looks like, read off the built graph: parameters, MACs, output stride, a drawing."""

import math
import re

import keras

from keras_resnet import applications, models
from keras_resnet.layers import Layers


def macs(model: keras.Model) -> int:
    """Multiply-adds of the convolutions and dense layers for one example (the paper's "FLOPs").

    Walks the built graph, so it counts what runs.

    Raises:
        ValueError: the model's input shape is not static; build it with a fixed input_shape.
    """
    total = 0
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Dense):
            weights = layer.kernel.shape
        elif hasattr(layer, "kernel_size") and hasattr(layer, "groups"):
            weights = layer.kernel.shape  # [*kernel, channels / groups, filters]
        else:
            continue
        for node in layer._inbound_nodes:
            positions = node.outputs[0].shape[1:-1]
            if None in positions:
                raise ValueError(
                    f"MACs depend on the picture's size and {model.name} has none; "
                    "build it with a fixed input_shape."
                )
            total += math.prod(positions) * math.prod(weights)
    return total


def parameters(model: keras.Model) -> tuple[int, int]:
    """(trainable, total): total counts the norms' moving statistics, as Keras' count_params does."""
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    return trainable, model.count_params()


def output_stride(model: keras.Model) -> int:
    """Input positions for one position of the last feature map, along the last spatial axis."""
    maps = [layer.output.shape for layer in model.layers if len(layer.output.shape) > 2]
    return model.inputs[0].shape[-2] // maps[-1][-2]


def summary_table(size: int | None = None, names: list[str] | None = None) -> list[dict]:
    """One row a named network: name, trainable and total parameters, MACs, size, output stride.

    Args:
        size: side of the square RGB picture in pixels; None takes each network's own (224 or 32).
        names: networks; None takes all (each one is built).

    Returns:
        Rows with keys name, trainable, total, macs, size, output_stride.
    """
    spelling = Layers(
        kernel_initializer=keras.initializers.Zeros
    )  # nobody runs these: draw nothing
    rows = []
    for name in names or applications.list_models():
        side = size or models.NETWORKS[name].size
        model = applications.get(name)(input_shape=(side, side, 3), layers=spelling)
        rows.append({"name": name, **facts(model)})
    return rows


def facts(model: keras.Model) -> dict:
    """A row of `summary_table`, but for the name, of any network with a fixed input shape."""
    trainable, total = parameters(model)
    return {
        "trainable": trainable,
        "total": total,
        "macs": macs(model),
        "size": model.inputs[0].shape[-2],
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


def draw(model: keras.Model, path: str | None = None):
    """Draws a residual network: a bar a layer of the stem, a box a block, its shape beside it.

    Needs matplotlib and nothing else (Keras' plot_model wants Graphviz, and draws a layer a box: 347 of
    them for ResNet-101).

    Args:
        model: a network of this package.
        path: of a picture file to write; None leaves it to the notebook.

    Returns:
        The matplotlib figure.
    """
    from matplotlib.figure import Figure

    stages: dict[str, dict] = {}
    for layer in model.layers:
        block = re.match(r"(conv\d+)_block(\d+)", layer.name)
        key = block.group(1) if block else re.sub(r"_.*", "", layer.name)
        if not block and key not in ("conv1", "pool1", "avg", "max", "predictions"):
            continue
        stage = stages.setdefault(key, {"blocks": {}, "convs": []})
        stage["shape"] = layer.output.shape[1:]
        if block:
            parts = stage["blocks"].setdefault(
                int(block.group(2)), {"convs": [], "beside": "identity"}
            )
            if hasattr(layer, "kernel_size"):
                if "_0_" in layer.name:
                    parts["beside"] = "projection"
                else:
                    parts["convs"].append(
                        f"{'x'.join(map(str, layer.kernel_size))}, {layer.filters}"
                    )
            elif "_0_pad" in layer.name or "_0_pool" in layer.name:
                parts["beside"] = "padded" if parts["beside"] == "identity" else parts["beside"]
    adds = any(isinstance(layer, keras.layers.Add) for layer in model.layers)
    figure = Figure(figsize=(9, 1.1 + 0.95 * len(stages)), layout="constrained")
    axes = figure.add_subplot()
    axes.set(
        xlim=(0, 1),
        ylim=(-len(stages) + 0.3, 0.75),
        title=f"{model.name}: {model.count_params():,} parameters",
    )
    axes.axis("off")
    colours = {"identity": "#9ecae1", "projection": "#fdae6b", "padded": "#c7e9c0"}
    for row, (name, stage) in enumerate(stages.items()):
        shape = "x".join("?" if side is None else str(side) for side in stage["shape"])
        axes.text(0.0, -row, f"{name}\n{shape}", va="center", fontsize=9)
        many = stage["blocks"]
        if not many:
            axes.add_patch(_box(0.16, -row - 0.3, 0.62, 0.6, "#d9d9d9"))
            continue
        width = 0.62 / len(many)
        for i, parts in enumerate(many.values()):
            colour = colours[parts["beside"]] if adds else "#f0f0f0"
            axes.add_patch(_box(0.16 + i * width, -row - 0.3, width * 0.94, 0.6, colour))
        first = many[1]
        axes.text(
            0.8, -row, f"{len(many)} x [{' | '.join(first['convs'])}]", va="center", fontsize=7
        )
    if adds:
        for i, (label, colour) in enumerate(colours.items()):
            axes.add_patch(_box(0.16 + 0.2 * i, 0.52, 0.02, 0.14, colour))
            axes.text(0.19 + 0.2 * i, 0.59, f"{label} shortcut", va="center", fontsize=8)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def _box(x, y, width, height, colour):
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=colour, edgecolor="#555555", linewidth=0.5)
