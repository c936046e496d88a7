"""Converts weights from and to torchvision, timm, Hugging Face, keras-hub, keras.applications and akamaster's nets.

    python recipes/convert.py --model=ResNet50V1_5 --weights=resnet50.safetensors --out=r50.keras
    python recipes/convert.py --model=ResNet50V1_5 --weights=r50.keras --out=r50.safetensors --names=timm
    python recipes/convert.py --model=ResNet50 --weights=keras/imagenet --out=r50.weights.h5
    python recipes/convert.py --model=ResNet50V1_5 --weights=r50.keras --out=r50/

What --weights is, its content says. --out is .keras, .weights.h5 or .safetensors, or ends in / for a folder as
keras-hub's presets are; the contract (network, preprocessing, classes, source) goes along in each.

Prints how far the logits of what was read and of what was written are from an independent network: PyTorch's
operations straight from the tensors' names, or keras.applications or keras-hub themselves, on made-up pictures;
relative to the largest logit. More than --tolerance is an error, and nothing is written. That needs PyTorch
(pip install 'keras-resnet-he[torch]') or keras-hub (the extra cv); without it the last line says null.

The last line is JSON: model, source, written, tensors, difference_in, difference_out, sha256.
"""

import contextlib
import dataclasses
import os
import pathlib

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import keras
import numpy as np
from absl import flags

from keras_resnet import applications, weights
from keras_resnet.commands.progress import say
from keras_resnet.support import files
from keras_resnet.weights import reference, tensors

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Any name of keras_resnet.list_models().")
flags.DEFINE_string(
    "weights",
    None,
    "File, folder of Hugging Face's, timm's or keras-hub's, or a published name, as imagenet.",
)
flags.DEFINE_string(
    "out", None, "What to write: .keras, .weights.h5 or .safetensors; NAME/ for keras-hub's folder."
)
flags.DEFINE_enum(
    "names",
    None,
    ["torchvision", "timm", "huggingface", "akamaster"],
    "Whose names a .safetensors file gets; default: the nearest.",
)
flags.DEFINE_float(
    "tolerance", 1e-4, "Largest difference of logits, relative to the largest logit.", 0.0
)

FOLDER = "/"  # keras-hub's
SUFFIXES = (".keras", ".weights.h5", ".safetensors", FOLDER)
PICTURES = 2


def main() -> dict:
    out = pathlib.Path(FLAGS.out)
    if not FLAGS.out.endswith(SUFFIXES):
        raise ValueError(f"--out ends in one of {', '.join(SUFFIXES)}; got {FLAGS.out}.")
    if FLAGS.names and out.suffix != ".safetensors":
        raise ValueError(f"--names is for a .safetensors file; --out is {FLAGS.out}.")
    if not os.access(out.absolute().parent, os.W_OK):
        raise ValueError(f"--out={FLAGS.out}: its folder is not there or cannot be written.")
    if FLAGS.out.endswith(FOLDER) and out.exists():
        raise ValueError(f"--out={FLAGS.out} is there already: name a folder that is not.")

    # --- in
    constructor = applications.get(FLAGS.model)
    found = weights.find(FLAGS.weights, FLAGS.model)
    if found.classes is None:
        raise ValueError(
            f"--weights={FLAGS.weights} has no classifier, so there are no logits to compare: convert "
            "the whole network, and build it with include_top=False."
        )
    model = constructor(weights=FLAGS.weights, classes=found.classes, classifier_activation=None)
    pictures = np.random.default_rng(0).uniform(0, 255, (PICTURES, *model.input_shape[1:]))
    pictures = smooth(pictures).astype(np.float32)
    ours = model.predict_on_batch(pictures)
    say(f"{FLAGS.weights} is of {found.peer}, {found.classes} classes.")
    difference_in = None
    if found.peer == "keras.applications":
        theirs = getattr(keras.applications, found.content)(
            weights=None, classes=found.classes, classifier_activation=None
        )
        theirs.load_weights(found.path)
        difference_in = apart(ours, theirs.predict_on_batch(normalised(pictures, model)))
    elif found.peer == "keras-hub":
        difference_in = hubs(found.path, pictures, model, ours)
    elif found.peer != "keras":
        difference_in = referred(found.content, pictures, model, ours)
    accept("read", difference_in)

    # --- out
    contract = dataclasses.replace(
        found.contract,
        network=FLAGS.model,
        preprocessing=found.contract.preprocessing or "torch",
        source=found.contract.source or os.path.basename(FLAGS.weights),
    )
    difference_out = None
    with written_aside(out) as part:
        if FLAGS.out.endswith(FOLDER):
            weights.save_preset(model, part, contract)
            written = "keras-hub"
            difference_out = hubs(part, pictures, model, ours)
        elif out.suffix == ".safetensors":
            written = weights.save_safetensors(model, part, FLAGS.names, contract)
            difference_out = referred(tensors.safetensors(part), pictures, model, ours)
        else:
            # With softmax, as a network by name is.
            saved = constructor(classes=found.classes, preprocessing=found.preprocessing("auto"))
            saved.set_weights(model.get_weights())
            weights.save(saved, part, contract)
            written = "keras"
            again = constructor(weights=part, classes=found.classes, classifier_activation=None)
            difference_out = apart(ours, again.predict_on_batch(pictures))
        accept("written", difference_out)
        sha256 = weights.sha256(part)
    say(f"{FLAGS.out}: {model.count_params():,} numbers under the names of {written}.")
    return {
        "model": FLAGS.model,
        "source": found.peer,
        "written": written,
        "tensors": len(model.weights),
        "difference_in": difference_in,
        "difference_out": difference_out,
        "sha256": sha256,
    }


def referred(state, pictures, model, ours):
    """How far `ours` is from what PyTorch makes of the tensors; None without PyTorch."""
    strides_on = "1x1" if FLAGS.model in ("ResNet50", "ResNet101", "ResNet152") else "3x3"
    state = {name: state.read(name) for name in state}
    try:
        return apart(ours, reference.logits(state, normalised(pictures, model), strides_on))
    except ImportError:
        say("Not compared: pip install 'keras-resnet-he[torch]' to see the difference.")
        return None


def hubs(path, pictures, model, ours):
    """How far `ours` is from what keras-hub makes of its preset; None without keras-hub."""
    try:
        import keras_hub
    except ImportError:
        say("Not compared: pip install 'keras-resnet-he[cv]' to see the difference.")
        return None
    theirs = keras_hub.models.ImageClassifier.from_preset(
        str(path), activation=None, preprocessor=None
    )
    return apart(ours, theirs.predict_on_batch(normalised(pictures, model)))


@contextlib.contextmanager
def written_aside(out):
    """As `files.aside`, also for a folder."""
    if not FLAGS.out.endswith(FOLDER):
        with files.aside(out) as part:
            yield part
        return
    with files.aside_folder(out.absolute().parent) as folder:
        yield folder / out.name
        os.replace(folder / out.name, out)


def normalised(pictures, model):
    """What the stem of the network is given of them, float32."""
    stems = ("conv1_pad", "conv1_1_pad", "conv1_conv")
    stem = next(layer for layer in model.layers if layer.name in stems)
    return keras.Model(model.input, stem.input).predict_on_batch(pictures)


def smooth(pictures):
    """Noise averaged over its neighbours: nearer to a picture."""
    for axis in (1, 2):
        pictures = sum(np.roll(pictures, i, axis) for i in range(-4, 5)) / 9
    return pictures


def apart(ours, theirs):
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def accept(what, difference):
    if difference is None:
        return
    say(f"Logits as {what}: {difference:.1e} from the reference, relative to the largest.")
    if not difference <= FLAGS.tolerance:
        raise ValueError(
            f"The weights as {what} give logits {difference:.1e} away from the reference, more than "
            f"--tolerance={FLAGS.tolerance:g}; nothing was written."
        )


if __name__ == "__main__":
    start.run(main, required=("model", "weights", "out"))
