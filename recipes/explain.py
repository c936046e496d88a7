"""Where in pictures a network saw what it says: Grad-CAM heat maps (Selvaraju 2017) as PNG.

    python recipes/explain.py --weights=runs/cells/model.keras --pictures=cells/val --out=heat
    python recipes/explain.py --model=ResNet18 --weights=r18.safetensors --pictures=dog.jpg --class=207
    --out=heat

Each picture x.jpg gives x.jpg.png in --out: left what the network saw (shorter side to
--resize, centre of --size), right the same under the heat of the class that the network says, or of
--class. Red is the picture's most, whatever that is.

The last line is JSON: pictures, explained (a list of file, class, probability).
"""

import io
import pathlib

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image

from keras_resnet import evaluation
from keras_resnet.commands import networks
from keras_resnet.commands.progress import say
from keras_resnet.data import images, views
from keras_resnet.data.sources import listing
from keras_resnet.evaluation import grad_cam
from keras_resnet.support import files, labels

FLAGS = flags.FLAGS
networks.define()
flags.DEFINE_string("weights", None, "The network's file.")
flags.DEFINE_string("pictures", None, "A picture, or a folder of pictures, at any depth.")
flags.DEFINE_string("out", None, "Folder for the PNGs.")
flags.DEFINE_string(
    "class", None, "Name or index of the class asked for; default: what the network says of each."
)
flags.DEFINE_integer(
    "stage", None, "Whose maps, 2 for conv2_x (paper, Table 1); default: the last's."
)
networks.define_view()

BATCH = 16  # pictures a step


def main() -> dict:
    tf.get_logger().setLevel("ERROR")  # it warns that each size is traced
    paths, root = found_pictures()
    model, found = networks.network(FLAGS.weights)
    contract = found.contract
    crop = networks.view_of(model, contract)
    net = evaluation.logits(model, crop[:1] * 2)
    names = class_names(net, contract)
    asked = asked_class(names, contract)
    out = made_folder()

    view, rows = views.center(*crop), []
    for first in range(0, len(paths), BATCH):
        some = paths[first : first + BATCH]
        seen = np.stack([view(decoded(path)).numpy() for path in some])
        wanted = None if asked is None else np.full(len(some), asked)
        heat, classes, probabilities = grad_cam.grad_cam(net, seen, wanted, FLAGS.stage)
        sheets = np.concatenate([seen, grad_cam.overlay(seen, heat)], axis=2)
        for path, sheet, label, row in zip(some, sheets, classes, probabilities, strict=True):
            name = path.relative_to(root)
            file = listing.printable(str(name))
            png = io.BytesIO()
            Image.fromarray(sheet).save(png, "PNG")
            place = out / f"{name}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            files.write(place, png.getvalue())
            rows.append({"file": file, "class": names[label], "probability": float(row[label])})
            say(f"{file}: {names[label]} {row[label]:.1%}")
    say(f"{len(rows)} drawn in {out}.")
    return {"pictures": len(rows), "explained": rows}


def found_pictures():
    """The paths, and the folder that their names begin at."""
    path = pathlib.Path(FLAGS.pictures)
    if path.is_file():
        return [path], path.parent
    if not path.is_dir():
        raise FileNotFoundError(
            f"There is no file or folder {FLAGS.pictures!r}: expected a picture, or a folder of them."
        )
    listed = listing.folder(path)
    if remarks := listed.remarks():
        say(remarks)
    found = [path / name for name in listed.pictures()]
    if not found:
        raise ValueError(f"{path} holds no pictures ({', '.join(listing.SUFFIXES)}).")
    return found, path


def made_folder():
    out = pathlib.Path(FLAGS.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--out={out} cannot be used ({error.strerror}): name a folder.") from None
    return out


def decoded(path):
    try:
        return images.decode(listing.read(path))
    except ValueError as error:
        raise ValueError(f"{listing.printable(str(path))}: {error}: repair or remove it.") from None


def class_names(net, contract):
    classes = net.output_shape[-1]
    if len(contract.class_names) == classes:
        return contract.class_names
    readable = list(labels.imagenet_classes().values())
    return readable if len(readable) == classes else [str(i) for i in range(classes)]


def asked_class(names, contract):
    """The index of --class; None where the network is to say."""
    given = FLAGS["class"].value
    if given is None:
        return None
    if given in names:
        return list(names).index(given)
    if given.isdecimal() and int(given) < len(names):
        return int(given)
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    named = bool(contract.class_names) or len(names) == len(labels.imagenet_classes())
    known = f"({some})" if named else f"(its file names no classes: 0 to {len(names) - 1})"
    raise ValueError(f"--class={given} is none of the network's {len(names)} classes {known}.")


if __name__ == "__main__":
    start.run(main, required=("weights", "pictures", "out"))
