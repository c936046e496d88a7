"""Published weight sets by name: the address of each, and the contract that it was measured under.

Addresses, licences and figures are those in the packages torchvision 0.28, timm 1.0.31 and Keras 3.15; top-1 and
top-5 are their sources' claims on ImageNet's 50,000 validation pictures, of timm's sets what timm measured, which has
ReaL and ImageNetV2 of both (`claims`). The eight digits in a name of
torchvision's begin the file's SHA-256; Keras publishes MD5.
"""

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
from typing import NamedTuple

import keras

from keras_resnet.support import files
from keras_resnet.weights import claims, folders, keras_hub, peers, tensors
from keras_resnet.weights.contract import Contract

logger = logging.getLogger(__name__)
VARIABLE = "KERAS_RESNET_WEIGHTS"  # names a folder that has the files, for work offline


class Published(NamedTuple):
    """A weight set: `digest` is the file's MD5, or begins its SHA-256; where neither is published, "": then `fetch`
    records the SHA-256 of the first use beside the file. With `members`, `file` is a folder of these, and `url` the
    address that they lie under."""

    file: str
    url: str
    digest: str
    contract: Contract
    members: tuple[str, ...] = ()


def _torchvision():
    v1 = {
        "ResNet18": ("resnet18-f37072fd", 69.758, 89.078),
        "ResNet34": ("resnet34-b627a593", 73.314, 91.420),
        "ResNet50V1_5": ("resnet50-0676ba61", 76.130, 92.862),
        "ResNet101V1_5": ("resnet101-63fe2227", 77.374, 93.546),
        "ResNet152V1_5": ("resnet152-394f9c45", 78.312, 94.046),
        "ResNeXt50_32x4d": ("resnext50_32x4d-7cdf4587", 77.618, 93.698),
        "ResNeXt101_32x8d": ("resnext101_32x8d-8ba56ff5", 79.312, 94.526),
        "WideResNet50_2": ("wide_resnet50_2-95faca4d", 78.468, 94.086),
        "WideResNet101_2": ("wide_resnet101_2-32ee1156", 78.848, 94.284),
    }
    v2 = {
        "ResNet50V1_5": ("resnet50-11ad3fa6", 80.858, 95.434),
        "ResNet101V1_5": ("resnet101-cd907fc2", 81.886, 95.780),
        "ResNet152V1_5": ("resnet152-f82ba261", 82.284, 96.002),
        "ResNeXt50_32x4d": ("resnext50_32x4d-1a0047aa", 81.198, 95.340),
        "ResNeXt101_32x8d": ("resnext101_32x8d-110c445d", 82.834, 96.228),
        "WideResNet50_2": ("wide_resnet50_2-9ba9bcbe", 81.602, 95.758),
        "WideResNet101_2": ("wide_resnet101_2-d733dc28", 82.510, 96.020),
    }
    v1_by_the_recipe_of_v2 = {"ResNeXt101_64x4d": ("resnext101_64x4d-173b62eb", 83.246, 96.454)}
    by_name = {ours: theirs for theirs, ours in folders.TIMM.items()}
    # Their `transforms()`: bilinear, antialiased; shorter side 256 for V1, 232 for V2, centre of 224. timm measured
    # them so, too, but for the last: in 256.
    for tag, resize, timm, sets in (
        ("IMAGENET1K_V1", 256, "tv_in1k", v1),
        ("IMAGENET1K_V2", 232, "tv2_in1k", v2),
        ("IMAGENET1K_V1", 232, None, v1_by_the_recipe_of_v2),
    ):
        for network, (stem, top1, top5) in sets.items():
            name = f"torchvision/{tag}"
            measured = claims.of(f"{by_name[network]}.{timm}", 224)
            accuracy = _claimed(top1, top5)
            accuracy |= {
                key: measured[key]
                for key in ("claimed_top1_real", "claimed_top1_v2")
                if key in measured
            }
            contract = Contract(network, "torch", 224, resize, (), name, "BSD-3-Clause", accuracy)
            file = f"{stem}.pth"
            url = f"https://download.pytorch.org/models/{file}"
            yield (network, name), Published(file, url, stem.rpartition("-")[2], contract)


def _timm():
    by_name = {ours: theirs for theirs, ours in folders.TIMM.items()}
    # Of each set's `pretrained_cfg`: test_input_size and test_crop_pct, where there are none input_size and crop_pct;
    # the shorter side is their quotient, rounded down.
    for tag, size, crop, networks in _TIMMS:
        for network in networks.split():
            arch, name = by_name[network], f"timm/{tag}"
            halves = network.endswith("V2") or tag.startswith("ra4")  # mean and deviation
            facebooks = tag.startswith("fb_")
            contract = Contract(
                network,
                "tf" if halves else "torch",
                size,
                int(size / crop),
                (),
                name,
                "CC-BY-NC-4.0" if facebooks else "Apache-2.0",
                claims.of(f"{arch}.{tag}", size),
                "bilinear" if facebooks else "bicubic",
            )
            url = f"https://huggingface.co/timm/{arch}.{tag}/resolve/main/model.safetensors"
            yield (network, name), Published(f"{arch}.{tag}.safetensors", url, "", contract)


_PLAIN = "ResNet18 ResNet34 ResNet50V1_5 ResNet101V1_5 ResNet152V1_5"
_SEMI = "ResNet18 ResNet50V1_5 ResNeXt50_32x4d ResNeXt101_32x4d ResNeXt101_32x8d ResNeXt101_32x16d"
_GLUONS = "ResNeXt101_32x4d ResNeXt101_64x4d SEResNeXt50_32x4d"
_TIMMS = [  # tag, pixels, crop, networks
    # "ResNet strikes back" (Wightman 2021); h is for hybrids of its recipes.
    ("a1_in1k", 288, 1.0, f"{_PLAIN} ResNet50D SEResNet50 ResNeXt50_32x4d"),
    ("a2_in1k", 288, 1.0, f"{_PLAIN} ResNet50D SEResNet50 ResNeXt50_32x4d"),
    ("a3_in1k", 224, 0.95, f"{_PLAIN} ResNet50D SEResNet50 ResNeXt50_32x4d"),
    ("a1h_in1k", 288, 1.0, "ResNet101V1_5 ResNet152V1_5 ResNeXt50_32x4d ResNet50V2 ResNet101V2"),
    ("a1h_in1k", 224, 1.0, "ResNet50V1_5"),
    *((f"{tag}_in1k", 288, 1.0, "ResNet50V1_5") for tag in ("b1k", "b2k", "c1", "c2", "d")),
    # RandAugment, and what timm called its recipes before.
    ("ra2_in1k", 288, 0.95, "ResNet18D ResNet34D ResNet50D SEResNet50"),
    ("ra2_in1k", 320, 1.0, "ResNet101D ResNet152D ResNet200D SEResNet152D"),
    ("racm_in1k", 288, 0.95, "WideResNet50_2 SEResNeXt50_32x4d"),
    ("c1_in1k", 288, 1.0, "ResNeXt101_64x4d"),
    ("ah_in1k", 288, 1.0, "SEResNeXt101_32x8d SEResNeXt101D_32x8d"),
    ("ra_in1k", 288, 0.95, "ResNet50V1_5 ResNeXt50_32x4d"),
    ("ram_in1k", 288, 0.95, "ResNet50V1_5"),
    ("am_in1k", 224, 0.875, "ResNet50V1_5"),
    ("bt_in1k", 288, 0.95, "ResNet34 ResNet50V1_5"),
    # 3,600 epochs by MobileNetV4's recipe, of 2024.
    (
        "ra4_e3600_r224_in1k",
        288,
        1.0,
        "ResNet34 ResNet18D ResNet50D ResNet18V2 ResNet34V2 ResNet18V2D ResNet34V2D",
    ),
    ("ra4_e3600_r384_in1k", 448, 1.0, "ResNet34V2D"),
    # MXNet's GluonCV (He T. 2018).
    (
        "gluon_in1k",
        224,
        0.875,
        f"{_PLAIN} ResNet50D ResNet101D ResNet152D ResNeXt50_32x4d {_GLUONS}",
    ),
    # Taught by a larger network on pictures with hashtags or on YFCC100M (Yalniz 2019); by hashtags (Mahajan 2018).
    ("fb_swsl_ig1b_ft_in1k", 224, 0.875, _SEMI),
    ("fb_ssl_yfcc100m_ft_in1k", 224, 0.875, _SEMI),
    ("fb_wsl_ig1b_ft_in1k", 224, 0.875, "ResNeXt101_32x8d ResNeXt101_32x16d"),
]


def _keras():
    digests = {
        50: "2cb95161c43110f7111970584f804107",
        101: "f1aeb4b969a6efcfb50fad2f0c20cfc5",
        152: "100835be76be38e30d865e96f2aaae62",
    }
    for depth, digest in digests.items():
        network, name = f"ResNet{depth}", "keras/imagenet"
        file = f"resnet{depth}_weights_tf_dim_ordering_tf_kernels.h5"
        url = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{file}"
        # Converted from the authors' weights for Caffe, measured on one crop of 224 in 256, bilinear. (Keras'
        # `load_img` takes the nearest pixel by default, with which no accuracy was published.)
        contract = Contract(network, "caffe", 224, 256, (), name)
        yield (network, name), Published(file, url, digest, contract)


def _keras_hub():
    # PaddleClas' claims (docs/en/models/ResNet_and_vd_en.md at 03593f9ea), of a centre of 224 in 256, bilinear, or of
    # 320 in 352. The others are timm's sets of these tags, converted.
    paddles = {
        "resnet_vd_18_imagenet": ("ResNet18VD", 224, 256, 72.3, 90.8),
        "resnet_vd_34_imagenet": ("ResNet34VD", 224, 256, 76.0, 93.0),
        "resnet_vd_200_imagenet": ("ResNet200VD", 224, 256, 80.9, 95.3),
        "resnet_vd_50_imagenet": ("ResNet50D", 224, 256, 79.1, 94.4),
        "resnet_vd_101_imagenet": ("ResNet101D", 224, 256, 80.2, 95.0),
        "resnet_vd_152_imagenet": ("ResNet152D", 224, 256, 80.6, 95.3),
        "resnet_vd_50_ssld_imagenet": ("ResNet50D", 224, 256, 82.4, 96.1),
        "resnet_vd_50_ssld_v2_imagenet": ("ResNet50D", 224, 256, 83.0, 96.4),
        "resnet_vd_50_ssld_v2_fix_imagenet": ("ResNet50D", 320, 352, 84.0, 97.0),
        "resnet_vd_101_ssld_imagenet": ("ResNet101D", 224, 256, 83.7, 96.7),
    }
    timms = {
        "resnet_18_imagenet": ("ResNet18", "resnet18.a1_in1k"),
        "resnet_50_imagenet": ("ResNet50V1_5", "resnet50.a1_in1k"),
        "resnet_101_imagenet": ("ResNet101V1_5", "resnet101.a1_in1k"),
        "resnet_152_imagenet": ("ResNet152V1_5", "resnet152.a1_in1k"),
        "resnet_v2_50_imagenet": ("ResNet50V2", "resnetv2_50.a1h_in1k"),
        "resnet_v2_101_imagenet": ("ResNet101V2", "resnetv2_101.a1h_in1k"),
    }
    for preset, (network, size, resize, top1, top5) in paddles.items():
        accuracy = _claimed(top1, top5) | {"claimed_by": "PaddleClas"}
        yield _preset(preset, network, "torch", size, resize, accuracy, "bilinear")
    for preset, (network, timm) in timms.items():
        preprocessing = "tf" if network.endswith("V2") else "torch"
        yield _preset(preset, network, preprocessing, 288, 288, claims.of(timm, 288), "bicubic")


def _preset(preset, network, preprocessing, size, resize, accuracy, interpolation):
    name = f"keras_hub/{preset}"
    contract = Contract(
        network, preprocessing, size, resize, (), name, "Apache-2.0", accuracy, interpolation
    )
    url = f"https://huggingface.co/keras/{preset}/resolve/main"
    members = ("config.json", "task.json", "model.weights.h5", "task.weights.h5")
    return (network, name), Published(preset, url, "", contract, members)


def _claimed(top1, top5):
    return {"claimed_top1": top1 / 100, "claimed_top5": top5 / 100, "on": "ImageNet validation"}


# What weights="imagenet" is, the first that the network has: keras.applications' own, else its publisher's default.
_USUAL = (
    "keras/imagenet", "torchvision/IMAGENET1K_V2", "torchvision/IMAGENET1K_V1", "timm/ra2_in1k", "timm/a1h_in1k",
    "timm/ra4_e3600_r224_in1k", "timm/ah_in1k", "timm/racm_in1k", "timm/gluon_in1k", "timm/fb_wsl_ig1b_ft_in1k",
)  # fmt: skip
_USUAL_OF = {
    "SEResNet50": "timm/a1_in1k",  # timm's default, though it has the set that it gives others by default
    **{f"ResNet{n}VD": f"keras_hub/resnet_vd_{n}_imagenet" for n in (18, 34, 200)},
}
IMAGENET = "imagenet"  # as users of keras.applications write it

PUBLISHED: dict[tuple[str, str], Published] = dict(
    [*_torchvision(), *_timm(), *_keras(), *_keras_hub()]
)  # (network, name) -> Published


def is_name(weights: str | os.PathLike) -> bool:
    """Whether `weights` is meant as a name in `PUBLISHED`, not as a path."""
    text = str(weights)
    named = text == IMAGENET or text.startswith(("torchvision/", "timm/", "keras/", "keras_hub/"))
    return named and not os.path.exists(text)


def known(network: str) -> str:
    """The names that are published for a network, as part of a sentence."""
    names = sorted(name for owner, name in PUBLISHED if owner == network)
    if not names:
        return f"none are published for {network}"
    return (
        f"published for {network} are {IMAGENET} ({usual(network)}), {', '.join(names[:-1])}"
        f"{' and ' * (len(names) > 1)}{names[-1]}"
    )


def usual(network: str) -> str | None:
    """The published set that "imagenet" is for a network; None where nothing is published for it."""
    names = (_USUAL_OF.get(network), *_USUAL)
    return next((name for name in names if (network, name) in PUBLISHED), None)


def fetch(network: str, name: str) -> tuple[pathlib.Path, Contract]:
    """The file of a published weight set and its contract: from the folder that `KERAS_RESNET_WEIGHTS` names, or from
    Keras' cache, which is filled from the set's address.

    Args:
        network: by our name.
        name: of a set in `PUBLISHED`, or "imagenet" for the `usual` one, which the log then names.

    Raises:
        ValueError: there is no such set, its file is missing or cannot be fetched, or is not the published one, or not
            the one of its first use where no digest is published.
    """
    if name == IMAGENET and usual(network):
        name = usual(network)
        _log_once(f"weights={IMAGENET!r} of {network} are {name}.")
    whole = f"{name}_imagenet"  # keras-hub's names all end so
    entry = PUBLISHED.get((network, name)) or PUBLISHED.get((network, whole))
    if entry is None:
        raise ValueError(f"There are no weights {name!r} for {network}: {known(network)}.")
    if not entry.members:
        return _fetched(entry.file, entry.url, entry.digest), entry.contract
    paths = [
        _fetched(f"{entry.file}/{member}", f"{entry.url}/{member}", "") for member in entry.members
    ]
    return paths[0].parent, entry.contract


def _fetched(file, url, digest):
    """Where the file of an address is, there or here."""
    folder = os.environ.get(VARIABLE)
    if folder:
        path = pathlib.Path(folder, file)
        if not path.is_file():
            raise ValueError(f"{VARIABLE}={folder} has no {file}: put the file of {url} there.")
    else:
        place = pathlib.PurePosixPath("keras_resnet", file)
        try:
            path = pathlib.Path(
                keras.utils.get_file(place.name, url, cache_subdir=str(place.parent))
            )
        except Exception as error:  # of the network: URLError, socket.timeout, ...
            home = os.environ.get("KERAS_HOME", "~/.keras")  # as Keras has it
            cache = pathlib.Path(home, place).expanduser()
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ValueError(
                f"{url} cannot be fetched ({reason}): put that file at {cache}, or into a folder "
                f"that {VARIABLE} names."
            ) from None
    _check_digest(path, digest)
    return path


def _check_digest(path, digest):
    """Refuses a file that is not the published one; where no digest is published, not that of its first use."""
    known, whose = digest, "the published"
    record = path.with_name(f"{path.name}.sha256")  # as sha256sum writes it
    if not known and record.is_file():
        known = record.read_text("utf-8").split(" ")[0].strip()
        whose = f"what {record.name} beside it recorded at the first use of"
    kind = "md5" if len(known) == 32 else "sha256"
    found = _digest(path, kind)
    if not found.startswith(known):
        also = f" with {record.name}" if not digest else ""
        raise ValueError(
            f"{path} is not {whose} {path.name}: its {kind.upper()} begins with {found[:8]}, not "
            f"{known[:8]}: remove it{also} and fetch it again."
        )
    if not known:
        with contextlib.suppress(OSError):  # a folder that is only read
            files.write(record, f"{found}  {path.name}\n")


@functools.cache
def _log_once(sentence):
    logger.info(sentence)


def sha256(path: str | os.PathLike) -> str:
    """64 hexadecimal digits: of a file, or of the weights in a folder of Hugging Face's, timm's or keras-hub's,
    files end to end."""
    path = pathlib.Path(path)
    if path.is_dir() and keras_hub.is_preset(path):
        return _end_to_end(keras_hub.weights_files(path))
    if path.is_dir():
        path = peers.weights_file(path)
    if path.name.endswith(".index.json"):
        return _end_to_end(tensors.shards(path))
    return _digest(path, "sha256")


def _end_to_end(paths):
    total = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                total.update(piece)
    return total.hexdigest()


def _digest(path, kind):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
