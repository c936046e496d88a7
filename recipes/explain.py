"""Where in pictures a network saw what it says: Grad-CAM heat maps (Selvaraju 2017) as PNG.

    python recipes/explain.py --weights=runs/cells/model.keras --pictures=cells/val --out=heat
    python recipes/explain.py --model=ResNet18 --weights=r18.safetensors --pictures=dog.jpg --class=207
    --out=heat

Each picture x.jpg gives x.png in --out, and x.jpg.png where x.png is another's, or is there and is no drawing of
this command. Below the class and its probability stand the picture, and the same under the heat of the class that the
network says, or of --class, where the network looked (shorter side to --resize, centre of --size); red is the
picture's most, whatever that is. Both are of the picture's size, where its longer side has 256 to 1,024 pixels; others
are enlarged or reduced to that.

The last line is JSON: pictures, explained (a list of file, class, probability, drawn: the path of the PNG).
"""

import collections
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
from keras_resnet.commands import networks, picture_files
from keras_resnet.commands.progress import say
from keras_resnet.data import views
from keras_resnet.data.sources import listing
from keras_resnet.evaluation import grad_cam, plots
from keras_resnet.support import labels

FLAGS = flags.FLAGS
networks.define()
flags.DEFINE_string("weights", None, "The network's file, or a published name, as imagenet.")
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
SMALLEST, LARGEST = 256, 1024  # pixels, of a drawn picture's longer side
MARK = {"Software": "keras_resnet, recipes/explain.py"}  # by which this command knows its drawings


def main() -> dict:
    tf.get_logger().setLevel("ERROR")  # it warns that each size is traced
    paths, root = picture_files.found(FLAGS.pictures)
    model, found = networks.network(FLAGS.weights)
    contract = found.contract
    crop = networks.view_of(model, contract)
    net = evaluation.logits(model, crop[:1] * 2)
    names = networks.class_names(net.output_shape[-1], contract)
    asked = asked_class(names, contract)
    out = made_folder()

    places = places_for([path.relative_to(root) for path in paths], out)
    view, rows = views.center(*crop), []
    for first in range(0, len(paths), BATCH):
        some = paths[first : first + BATCH]
        pictures = [picture_files.decoded(path) for path in some]
        seen = np.stack([view(picture).numpy() for picture in pictures])
        wanted = None if asked is None else np.full(len(some), asked)
        heat, classes, probabilities = grad_cam.grad_cam(net, seen, wanted, FLAGS.stage)
        for path, picture, its, label, row in zip(
            some, pictures, heat, classes, probabilities, strict=True
        ):
            file, place = listing.printable(str(path.relative_to(root))), places[len(rows)]
            place.parent.mkdir(parents=True, exist_ok=True)
            says = f"{names[label]} {row[label]:.1%}"
            whole = shown(picture)
            plots.pair(whole, heated(whole, its, crop[0] / crop[1]), says, place, MARK)
            drawn = listing.printable(str(place))
            rows.append(
                {
                    "file": file,
                    "class": names[label],
                    "probability": float(row[label]),
                    "drawn": drawn,
                }
            )
            say(f"{file}: {says}")
    say(f"{len(rows)} drawn in {out}.")
    return {"pictures": len(rows), "explained": rows}


# --- what is drawn


def places_for(names, out):
    """The paths of the PNGs: x.png for x.jpg, x.jpg.png where that is not for this command to write."""
    short = [name.with_suffix(".png") for name in names]
    while True:
        many = collections.Counter(str(name).casefold() for name in short)
        chosen = [
            name.with_name(f"{name.name}.png")
            if many[str(place).casefold()] > 1 or not drawn_here(out / place)
            else place
            for name, place in zip(names, short, strict=True)
        ]
        if chosen == short:
            return [out / place for place in chosen]
        short = chosen


def drawn_here(path):
    """Whether a path is free, or has a PNG that this command drew."""
    if not path.exists():
        return True
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == MARK["Software"]
    except OSError:
        return False


def shown(picture):
    """The picture in three channels, its longer side brought to between SMALLEST and LARGEST pixels."""
    longer = max(picture.shape[:2])
    scale = min(max(longer, SMALLEST), LARGEST) / longer
    image = Image.fromarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    if scale == 1:
        return np.asarray(image)
    size = [max(1, round(side * scale)) for side in image.size]
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    return np.asarray(image.resize(size, how))


def heated(picture, heat, share):
    """The picture under its heat, in the centred square that the network looked at, a share of the shorter side."""
    height, width = picture.shape[:2]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    window = np.s_[top : top + side, left : left + side]
    drawn = picture.copy()
    drawn[window] = grad_cam.overlay(picture[window][None], heat[None])[0]
    return drawn


# --- pictures and classes


def made_folder():
    out = pathlib.Path(FLAGS.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--out={out} cannot be used ({error.strerror}): name a folder.") from None
    return out


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
