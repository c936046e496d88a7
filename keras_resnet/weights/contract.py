"""What a set of weights was trained as, carried by its file, so that nobody has to guess."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile

import h5py
import keras

from keras_resnet.networks import fronts
from keras_resnet.support import files
from keras_resnet.weights import bounds

_MEMBER = "contract.json"  # of a .keras archive, which Keras leaves alone
KEY = "keras_resnet"  # attribute of an .h5 file, metadata of a .safetensors file


@dataclasses.dataclass(frozen=True)
class Contract:
    """What a set of weights was trained as; what is not known is None or empty.

    Args:
        network: name in `keras_resnet.list_models()`, which says which convolution of a block strides.
        preprocessing: "torch", "caffe", "tf", or [means, standard deviations, bgr] in 0..255; "none" for tensors that
            are normalised already, "own" for a normalisation that only the file's graph describes.
        size: pixels, side of the crop that was evaluated.
        resize: pixels, shorter side of the picture that the crop was cut from.
        class_names: in the order of the index.
        source: where the weights come from.
        licence: under which they may be used.
        accuracy: measurements by name, rates as 0 to 1 and counts, and what they were measured on.
        interpolation: of the resize in that evaluation, "bilinear" or "bicubic", antialiased as Pillow's.
        rate: samples a second, of networks for sound.
        thresholds: of a detector, chosen on validation: the least "score" of a box, and the "overlap" (IoU) above which
            of two boxes of a class the surer one is kept.
    """

    network: str | None = None
    preprocessing: str | list | None = None
    size: int | None = None
    resize: int | None = None
    class_names: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    accuracy: dict = dataclasses.field(default_factory=dict)
    interpolation: str = "bilinear"
    rate: int | None = None
    thresholds: dict = dataclasses.field(default_factory=dict)

    def dumps(self) -> str:
        """As JSON, which `loads` reads; so do versions before those fields that came later, where these say nothing."""
        fields = dataclasses.asdict(self)
        if self.rate is None:
            del fields["rate"]
        if not self.thresholds:
            del fields["thresholds"]
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def loads(cls, text: str | bytes) -> Contract:
        """From what `dumps` wrote.

        Raises:
            ValueError: it is something else; the rest of a sentence.
        """
        try:
            fields = bounds.parse(text, "its text")
            if not isinstance(fields, dict):
                raise ValueError(f"it is {bounds.brief(fields)}")
            for name, value in fields.items():
                if name not in _MAY_BE:
                    raise ValueError(f"this version does not know its field {bounds.brief(name)}")
                if not _MAY_BE[name](value):
                    raise ValueError(f"its {name} is {bounds.brief(value)}")
            return cls(**fields | {"class_names": tuple(fields.get("class_names", ()))})
        except ValueError as error:
            raise ValueError(f"its contract cannot be read: {error}") from None


def _is_text(value):
    return isinstance(value, str)


def _is_size(value):
    return value is None or bounds.is_whole(value, 1, 1 << 16)


def _is_preprocessing(value):
    if isinstance(value, list):
        return (
            len(value) in (2, 3)
            and bounds.are_numbers(value[0], 3)
            and bounds.are_numbers(value[1], 3)
            and min(value[1]) > 0
            and all(flag in (True, False) for flag in value[2:])
        )
    return value is None or (isinstance(value, str) and value in (*fronts.MODES, "none", "own"))


_MAY_BE = {
    "network": lambda value: value is None or _is_text(value),
    "preprocessing": _is_preprocessing,
    "size": _is_size,
    "resize": _is_size,
    "class_names": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "source": _is_text,
    "licence": _is_text,
    "accuracy": lambda value: isinstance(value, dict),
    "rate": lambda value: value is None or bounds.is_whole(value, 1, 1 << 20),
    "thresholds": lambda value: (
        isinstance(value, dict) and all(bounds.are_numbers([v], 1) for v in value.values())
    ),
    "interpolation": lambda value: value in ("bilinear", "bicubic"),
}


def normalisation(preprocessing: str | list | tuple | None) -> str | fronts.Preprocessing | None:
    """A contract's `preprocessing`, other than "none" and "own", as the functions that build networks take it."""
    if not isinstance(preprocessing, (list, tuple)):
        return preprocessing
    mean, std, *bgr = preprocessing
    return fronts.Preprocessing(tuple(mean), tuple(std), *map(bool, bgr))


def contract_of(path: str | os.PathLike) -> Contract | None:
    """The contract in a `.keras`, `.h5` or `.safetensors` file of ours; None where there is none.

    Raises:
        ValueError: there is one, but it cannot be read; the rest of a sentence.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(9)
        text = None
        if zipfile.is_zipfile(file):
            with bounds.archive(file) as archive:
                if _MEMBER in archive.namelist():
                    text = bounds.member(archive, _MEMBER, bounds.MOST_JSON)
        elif head.startswith(b"\x89HDF"):
            with h5py.File(file, "r") as h5:
                text = h5.attrs.get(KEY)
        elif head[8:] == b"{":
            text = bounds.safetensors_header(path)[1].get(KEY)
    if text is not None and not isinstance(text, (str, bytes)):
        raise ValueError("its contract cannot be read: it is no text")
    return None if text is None else Contract.loads(text)


def save(model: keras.Model, path: str | os.PathLike, contract: Contract | None = None) -> None:
    """Saves a network as `.keras`, or its weights as `.weights.h5`, with its contract inside; the whole
    file or none.

    Raises:
        ValueError: `path` ends otherwise.
        OSError: the file cannot be written.
    """
    name = str(path)
    if not name.endswith((".keras", ".weights.h5")):
        raise ValueError(f"A network is saved as .keras or .weights.h5; got {name}.")
    with files.aside(path) as part:
        if name.endswith(".keras"):
            model.save(part)
        else:
            model.save_weights(part)
        if contract and name.endswith(".keras"):
            with zipfile.ZipFile(part, "a") as archive:
                archive.writestr(_MEMBER, contract.dumps())
        elif contract:
            with h5py.File(part, "a") as h5:
                h5.attrs[KEY] = contract.dumps()
