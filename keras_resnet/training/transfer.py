"""From one task to another: a new head, what of the network trains, and its norms' statistics.

    model = keras_resnet.load("imagenet.keras")
    model = transfer.head(model, classes=4)
    transfer.freeze(model, "linear")  # before compile
    ...
    transfer.recalibrate(model, batches)  # after training by bn="train"

A frozen batch normalisation (`trainable=False`) runs in inference mode in `fit` as in `predict`: it
scales by its moving statistics and leaves them alone, whatever the batch is.
"""

import contextlib
import re
from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from keras_resnet.networks.flat import flat, source
from keras_resnet.networks.layers import building, channels_last_only
from keras_resnet.networks.repeat import Repeat
from keras_resnet.support import keras_private

MODES = ("linear", "last_stage", "full")
NORMS = ("frozen", "train")


@building()
def head(model: keras.Model, classes: int, activation: str | None = "softmax") -> keras.Model:
    """The network with a new, random classifier in place of the one it has; the other layers are the same objects.

    Args:
        model: functional or Sequential, ending in a Dense layer, or in an activation of one; models
            in it are taken apart (`flat.flat`), as everywhere here.
        classes: of the new classifier, at least 1.
        activation: of the new classifier; None returns logits.

    Returns:
        A functional `keras.Model` of the same name: float32 [B,classes].

    Raises:
        ValueError: the network ends otherwise, or classes is below 1.
    """
    if classes < 1:
        raise ValueError(f"A classifier has at least 1 class; got classes={classes}.")
    new = keras.layers.Dense(classes, activation, dtype="float32", name="predictions")
    net = flat(model)
    return keras.Model(net.input, new(source(net, classifier(net))), name=model.name)


def classifier(model: keras.Model) -> keras.layers.Dense:
    """The Dense layer that a network ends in; an activation may follow it.

    Raises:
        ValueError: it does not end so.
    """
    model = flat(model)
    *_, before, last = [None, *model.layers]
    layer = before if isinstance(last, (keras.layers.Activation, keras.layers.Softmax)) else last
    if not isinstance(layer, keras.layers.Dense) or len(model.outputs) != 1:
        raise ValueError(
            f"{model.name} ends in {last.name}, not in a Dense classifier: only that can be replaced."
        )
    return layer


def parted(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The network in two, of the same layers: pictures [B,...] -> features [B,F], and these -> [B,classes].

    Args:
        model: ending in a Dense classifier without an activation of its own behind it (see `head`).

    Raises:
        ValueError: the network ends otherwise.
    """
    net = flat(model)
    last = classifier(net)
    read = source(net, last)
    features = keras.Input(read.shape[1:], dtype=read.dtype, name="features")
    return keras.Model(net.input, read), keras.Model(features, last(features), name=model.name)


def freeze(model: keras.Model, mode: str, bn: str = "frozen") -> None:
    """Sets, layer by layer, what trains, whatever was set before. To be called before `compile`.

    Args:
        model: ending in a classifier (see `head`), or in feature maps or their pooling: a pyramid, a network without
            its top. Layers that are put on those later are not concerned.
        mode: "linear", the classifier alone, or without one nothing; "last_stage", the last stage's blocks too;
            "full", all.
        bn: of the norms in what trains: "frozen", scale, offset and statistics stay; "train", they
            learn, and normalise by the batch. All other norms are frozen.

    Raises:
        ValueError: another mode or bn; a network that ends otherwise; bn="train" where no norm is in what trains;
            stages that the names do not tell; norms that cannot be frozen alone, for their stage runs in a loop.
    """
    for name, value, known in (("mode", mode, MODES), ("bn", bn, NORMS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}.")
    net = flat(model)
    training = set() if _ends_in_features(net) else {classifier(net).name}
    if mode == "last_stage":
        training |= _last_stage(net)
    elif mode == "full":
        training = {layer.name for layer in net.layers}
    norms = [layer for layer in net.layers if layer.name in training and _has_norms(layer)]
    if bn == "train" and not norms:
        raise ValueError(
            f"bn='train' contradicts mode={mode!r}, in which no batch normalisation trains: "
            "leave it frozen, or train a stage."
        )
    if bn == "frozen" and any(isinstance(layer, Repeat) for layer in norms):
        raise ValueError(
            f"{model.name} runs its blocks in a loop, whose norms cannot be frozen alone: "
            "choose bn='train' or mode='linear'."
        )
    model.trainable = True
    for layer in net.layers:
        layer.trainable = layer.name in training and (bn == "train" or layer not in norms)


def describe(model: keras.Model) -> str:
    """One sentence: how many parameters train, and what the norms do."""
    total = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    norms = [layer for layer in flat(model).layers if _has_norms(layer)]
    moving = sum(layer.trainable for layer in norms)
    says = f"{total:,} parameters train"
    if moving < len(norms):
        which = "all" if not moving else f"{len(norms) - moving} of"
        says += f"; {which} {len(norms)} batch normalisations keep their statistics"
    if moving:
        says += f"; {moving} normalise by the batch and learn"
    return f"{says}."


def recalibrate(model: keras.Model, batches: Iterable) -> int:
    """Gives the norms statistics that are true averages over data, in place of moving ones.

    As the authors did for their release, after training ("strictly computed using average (not
    moving average)"). One pass, in which every norm normalises by its batch, as in training: its
    input's mean is the mean of the batches' means, its variance E[x^2] - E[x]^2 over all of the data,
    so a batch's size counts but not where it is cut, beyond what the layers below make of it. Dropout
    is off; frozen norms run in inference mode and keep their statistics.

    Args:
        model: ours, of any rank.
        batches: of pictures [B,...], or of (pictures, labels, weights), of which a weight of 0 marks
            padding that is left out. Batches as large as in training, one size of pictures.

    Returns:
        How many examples were averaged over.

    Raises:
        ValueError: no batch, no norm that trains, or statistics that are not finite. The model is
            then as it was.
    """
    pairs, norms = _statistics(model)
    if not pairs:
        raise ValueError(
            f"{model.name} has no batch normalisation that trains: there is nothing to recalibrate."
        )
    drops = [
        layer for layer in keras_private.layers(model) if isinstance(layer, keras.layers.Dropout)
    ]
    before = [[ops.convert_to_numpy(v) for v in pair] for pair in pairs]
    sums = [[np.zeros(v.shape) for v in pair] for pair in pairs]
    examples, done = 0, False
    try:
        # With momentum 0 a norm's moving statistics are those of the batch.
        with _all_set(norms, "momentum", 0.0), _all_set(drops, "rate", 0.0):
            for batch in batches:
                pictures = _pictures(batch)
                if not len(pictures):
                    continue
                try:
                    model(pictures, training=True)
                except Exception:
                    channels_last_only(model, "Recalibration takes")
                    raise
                examples += len(pictures)
                for total, (mean, variance) in zip(sums, pairs, strict=True):
                    mean, variance = (
                        ops.convert_to_numpy(v).astype(np.float64) for v in (mean, variance)
                    )
                    total[0] += len(pictures) * mean
                    total[1] += len(pictures) * (variance + mean * mean)
        if not examples:
            raise ValueError("There is no example to recalibrate on.")
        if not all(np.isfinite(total).all() for total in sums):
            raise ValueError(
                "The statistics over these pictures are not finite: the pictures or the weights "
                "hold NaN or infinity."
            )
        done = True
    finally:
        for pair, old, (first, second) in zip(pairs, before, sums, strict=True):
            if done:
                mean = first / examples
                old = mean, np.maximum(second / examples - mean * mean, 0.0)
            for variable, value in zip(pair, old, strict=True):
                variable.assign(value)
    return examples


def _ends_in_features(model):
    """Whether all outputs are feature maps by their names, or global pools of one."""
    ends = [keras_private.made_by(x).name for x in keras.tree.flatten(model.outputs)]
    return all(re.fullmatch(r"conv\d+_block.+|post_relu|(avg|max)_pool", name) for name in ends)


def _last_stage(model):
    """Names of the layers from the last stage on, by the numbers in them. In the order V2, what is behind a stage cut
    off there has the next one's number: a norm and an activation, but no convolution."""
    found = {layer.name: re.match(r"conv(\d+)_block", layer.name) for layer in model.layers}
    numbers = [
        int(match[1])
        for name, match in found.items()
        if match and name.endswith(("_conv", "_blocks"))
    ]
    if not numbers:
        raise ValueError(
            f"{model.name}'s layers are not named as ours are (conv2_block1_...), so its last stage "
            "is not known: choose mode='linear' or 'full'."
        )
    last = {name for name, match in found.items() if match and int(match[1]) >= max(numbers)}
    return last | {name for name in found if name.startswith("post_")}


def _has_norms(layer):
    return isinstance(layer, (Repeat, keras.layers.BatchNormalization))


def _statistics(model):
    """The (mean, variance) variables of the norms that train, and the layers that move them."""
    pairs, norms = [], []
    for layer in keras_private.layers(model):
        if not _has_norms(layer) or not layer.trainable:
            continue
        if isinstance(layer, Repeat):
            found = [inner for inner in keras_private.layers(layer.block) if _has_norms(inner)]
            held = {
                id(single): stacked
                for single, stacked in zip(
                    layer.block.non_trainable_variables, layer.non_trainable_variables, strict=True
                )
            }
        else:
            found, held = [layer], None
        for norm in found:
            pair = norm.moving_mean, norm.moving_variance
            pairs.append(pair if held is None else tuple(held[id(v)] for v in pair))
        norms += found
    return pairs, norms


@contextlib.contextmanager
def _all_set(layers, attribute, value):
    before = [getattr(layer, attribute) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, attribute, value)
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            setattr(layer, attribute, old)


def _pictures(batch):
    pictures, _, weights = keras.utils.unpack_x_y_sample_weight(batch)
    pictures = ops.convert_to_numpy(pictures)
    return pictures if weights is None else pictures[ops.convert_to_numpy(weights) > 0]
