"""Which networks of the table a file's tensors are of, where the file names none."""

from collections.abc import Callable

import keras

from keras_resnet.networks import blocks, models
from keras_resnet.weights import names
from keras_resnet.weights.found import TWINS, Found


def networks(found: Found, build: Callable[[str], keras.Model]) -> list[str]:
    """Names in `models.NETWORKS` whose tensors have the names and shapes of a file's; several where they are alike.

    Of networks that are alike in both, a peer's file is of the one that its package has: never of a plain net, and
    of torchvision's and timm's of the one that strides on the 3x3 (V1_5).

    Args:
        found: the file, looked into.
        build: makes the network of a name, with as many classes and channels as the file's, without a classifier
            where the file has none.
    """
    fitting = [name for name in _near(found) if found.fits(build(name))]
    if found.peer not in names.NAMINGS:
        return fitting
    published = [name for name in fitting if models.NETWORKS[name].shortcut is not blocks.none]
    if found.peer in ("torchvision", "timm"):
        published = [name for name in published if not _is_older_twin(name)]
    return published or fitting


def _is_older_twin(name):
    return name in TWINS and not name.endswith("V1_5")


def _near(found):
    """Those with as many blocks of the same kind: a few of the table, and only these are built."""
    if found.peer in names.NAMINGS:
        seen = _facts(found)
        return [name for name, spec in models.NETWORKS.items() if _facts_of(spec) == seen]
    ranks = [len(shape) for shape in found.content.values()]
    return [
        name
        for name, spec in models.NETWORKS.items()
        if (spec.loop and 5 in ranks) or ranks.count(4) - _kernels(spec) in _shortcuts(spec)
    ]


def _facts(found):
    """(blocks a stage, whether they are bottlenecks, whether the stem is deep, whether norms come first, whether there
    are gates, the first 3x3's channels in and out)."""
    naming, depths = names.NAMINGS[found.peer], []

    def has(layer):
        return naming.name(layer, "kernel") in found.content

    while has(f"conv{len(depths) + 2}_block1_1_conv"):
        stage, depth = f"conv{len(depths) + 2}", 1
        while has(f"{stage}_block{depth + 1}_1_conv"):
            depth += 1
        depths.append(depth)
    deep, bottleneck = has("conv1_1_conv") and not has("conv1_conv"), has("conv2_block1_3_conv")
    gates = found.peer in ("torchvision", "timm") and has("conv2_block1_se_reduce")
    kernel = found.content.get(naming.name("conv2_block1_2_conv", "kernel"), ())
    v2 = found.peer == "timm-v2"
    return tuple(depths), bottleneck, deep, v2, gates, (*kernel[1:2], *kernel[:1])


def _facts_of(spec):
    given = getattr(spec.block, "keywords", {})
    filters = int(spec.widths[0] * given.get("width", 1))
    return (
        spec.depths,
        not _is_basic(spec),
        spec.stem is models.deep,
        spec.order is blocks.V2,
        spec.tail is blocks.squeeze_excite,
        (filters // given.get("groups", 1), filters),
    )


def _is_basic(spec):
    return getattr(spec.block, "func", spec.block) is blocks.basic


def _kernels(spec):
    """Of the convolutions outside of shortcuts."""
    stem = 3 if spec.stem is models.deep else 1
    return stem + sum(spec.depths) * (2 if _is_basic(spec) else 3)


def _shortcuts(spec):
    """How many convolutions those may have: none, one a stage but perhaps the first."""
    return (0, len(spec.depths) - 1, len(spec.depths))
