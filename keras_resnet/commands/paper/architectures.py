"""Table 1: layers and multiply-adds of the five ImageNet networks, counted in the built graphs."""

import pathlib

import keras

from keras_resnet import analysis, applications
from keras_resnet.commands.paper import estimates, pieces, report
from keras_resnet.commands.paper.figures import PAPER, TABLE_1
from keras_resnet.networks.layers import Layers


def table_1(workdir: pathlib.Path, command: str) -> dict:
    """Writes the item; its parameters have no published figure, since the paper prints none."""
    rows = []
    for name in estimates.passing("table1", TABLE_1, len(TABLE_1), "no data"):
        published = TABLE_1[name]
        # No random numbers: nobody runs these.
        layers = Layers(kernel_initializer=keras.initializers.Zeros)
        model = applications.get(name)(input_shape=(224, 224, 3), layers=layers)
        facts = analysis.facts(model)
        gmac = facts["macs"] / 1e9
        rows.append(
            {
                "network": name,
                "layers, published": published.layers,
                "layers, ours": depth(model),
                "1e9 multiply-adds, published": published.gflops,
                "1e9 multiply-adds, ours": round(gmac, 3),
                "difference": report.difference(gmac, published.gflops, 3),
                "parameters, ours": f"{facts['trainable']:,}",
                "seeds": None,
                "command": f"`{command}`",
                "commit": pieces.commit(),
            }
        )
    note = (
        f"Published: {PAPER}, Table 1, whose multiply-adds are cut or rounded to one place; at 224x224 pixels and "
        "1,000 classes. It prints no parameters; those of its architectures are held by golden files in the tests."
    )
    return report.write(
        workdir, "table1", "Table 1: the networks", rows, align="lrrrrrr", note=note
    )


def depth(model: keras.Model) -> int:
    """Convolutions and dense layers, without projections in shortcuts: the number in the network's name."""
    kinds = (keras.layers.Conv2D, keras.layers.Dense)
    return sum(isinstance(x, kinds) and not x.name.endswith("_0_conv") for x in model.layers)
