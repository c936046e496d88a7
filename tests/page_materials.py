"""What the pages speak of as there: photos, a picture, files of weights, trained and exported networks; small."""

import functools
import io
import json
import os
import pathlib

import keras
import numpy as np
from PIL import Image, ImageDraw

import keras_resnet
from keras_resnet import weights
from keras_resnet.serving import export
from keras_resnet.weights import published

SHAPES = ("circle", "square", "stripes", "triangle")


def picture(shape: str, seed: int) -> bytes:
    """A JPEG of 120 x 96 pixels: one shape, somewhere, in a colour of its own, on another."""
    draw = np.random.default_rng(seed)
    back, front = (tuple(map(int, draw.integers(0, 256, 3))) for _ in range(2))
    image = Image.new("RGB", (120, 96), back)
    pen, (x, y), side = ImageDraw.Draw(image), draw.integers(5, 40, 2), int(draw.integers(35, 50))
    box = [int(x), int(y), int(x) + side, int(y) + side]
    if shape == "circle":
        pen.ellipse(box, fill=front)
    elif shape == "square":
        pen.rectangle(box, fill=front)
    elif shape == "triangle":
        pen.polygon([(box[0], box[3]), (box[2], box[3]), (box[0] + side // 2, box[1])], fill=front)
    else:
        for line in range(0, side, 10):
            pen.line([box[0], box[1] + line, box[2], box[1] + line], fill=front, width=5)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def photos(each=6):
    for index, shape in enumerate(SHAPES):
        pathlib.Path("photos", shape).mkdir(parents=True)
        for number in range(each):
            path = pathlib.Path("photos", shape, f"{number}.jpg")
            path.write_bytes(picture(shape, 100 * index + number))


def cat():
    pathlib.Path("cat.jpg").write_bytes(picture("circle", 1))


def state_dict(path, network, form=None, **how):
    model = getattr(keras_resnet, network)(**how)
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    weights.save_safetensors(model, path, form, None)
    return model


def r18():
    state_dict("r18.safetensors", "ResNet18")


def mine():
    """As `finetune` leaves it, for pictures of 64 pixels."""
    model = keras_resnet.ResNet18(classes=4, input_shape=(64, 64, 3))
    pathlib.Path("runs/mine").mkdir(parents=True, exist_ok=True)
    contract = weights.Contract("ResNet18", "torch", 64, 73, SHAPES)
    weights.save(model, "runs/mine/model.keras", contract)


def demo():
    model = keras_resnet.ResNet20(classes=10, input_shape=(8, 8, 3))
    pathlib.Path("runs/demo").mkdir(parents=True, exist_ok=True)
    weights.save(model, "runs/demo/model.keras", weights.Contract("ResNet20", "torch", 8, 8))


def served():
    model = keras_resnet.load("runs/mine/model.keras")
    export.save(model, "served/mine", class_names=SHAPES, top=4)


def publish(network, name):
    """A file of random weights in the place of a published one, in the folder that KERAS_RESNET_WEIGHTS names."""
    path = pathlib.Path("published", published.PUBLISHED[network, name].file)
    path.parent.mkdir(exist_ok=True)
    if name.startswith("keras/"):
        model = getattr(keras.applications, network)(weights=None)
        model.save_weights(path.with_suffix(".weights.h5"))
        os.replace(path.with_suffix(".weights.h5"), path)
    else:
        state_dict(path, network)


def hub_folder():
    """As Hugging Face's microsoft/resnet-50."""
    state_dict("microsoft-resnet-50/model.safetensors", "ResNet50V1_5", "huggingface")
    config = {"model_type": "resnet", "depths": [3, 4, 6, 3], "layer_type": "bottleneck"}
    path = pathlib.Path("microsoft-resnet-50/config.json")
    path.write_text(json.dumps(config), "utf-8")


def checkpoint():
    import torch
    from safetensors.numpy import load_file

    r18()
    state = {name: torch.from_numpy(value) for name, value in load_file("r18.safetensors").items()}
    torch.save({"model": state, "model_ema": state}, "checkpoint.pth")


def akamaster():
    import torch
    from safetensors.numpy import load_file

    state_dict("a.safetensors", "ResNet20", "akamaster", shortcut="A")
    state = {
        f"module.{name}": torch.from_numpy(v) for name, v in load_file("a.safetensors").items()
    }
    torch.save({"state_dict": state}, "resnet20-12fca82f.th")


V2 = functools.partial(publish, "ResNet50V1_5", "torchvision/IMAGENET1K_V2")
A1 = functools.partial(publish, "ResNet50V1_5", "timm/a1_in1k")
KERAS = functools.partial(publish, "ResNet50", "keras/imagenet")
NEEDS = {
    "README.md": [photos, cat, r18, V2],
    "docs/transfer.md": [photos, r18],
    "docs/explain.md": [photos, cat, mine],
    "docs/evaluate.md": [photos, mine, demo],
    "docs/serve.md": [photos, cat, mine],
    "docs/batch.md": [photos, cat, mine, served],
    "docs/weights.md": [cat, checkpoint, akamaster, hub_folder, V2, A1, KERAS],
    "docs/migrate.md": [KERAS, A1],
}  # page -> what is there before it is read
