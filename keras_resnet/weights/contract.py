"""What a set of weights was trained as, carried by its file: nothing about a net has to be guessed."""

import dataclasses
import json
import zipfile

import h5py
import keras

from keras_resnet import files

_MEMBER = "contract.json"  # of a .keras archive, which Keras leaves alone
KEY = "keras_resnet"  # attribute of an .h5 file, metadata of a .safetensors file


@dataclasses.dataclass(frozen=True)
class Contract:
    """What a set of weights was trained as; what is not known is None or empty.

    Args:
        network: name in `keras_resnet.list_models()`, which says where a block strides.
        preprocessing: "torch", "caffe", "tf", or [means, standard deviations, bgr] in 0..255; "none" for tensors that
            are normalised already, "own" for what only the file's graph does.
        size: pixels, side of the crop that was evaluated.
        resize: pixels, shorter side of the picture that the crop was cut from.
        class_names: in the order of the index.
        source: where the weights come from.
        licence: under which they may be used.
        accuracy: figures by name, shares 0 to 1 and counts; with what they were measured on.
        interpolation: of the resize in that evaluation, "bilinear" or "bicubic", antialiased as Pillow's.
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

    def dumps(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def loads(cls, text: str) -> "Contract":
        """
        Raises:
            ValueError: not what `dumps` wrote.
        """
        try:
            fields = json.loads(text)
            return cls(**fields | {"class_names": tuple(fields.get("class_names", ()))})
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"Its contract cannot be read ({error}).") from None


def contract_of(path) -> Contract | None:
    """The contract in a `.keras`, `.h5` or `.safetensors` file of ours; None where there is none.

    Raises:
        ValueError: there is one, but it cannot be read.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(8)
        text = None
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if _MEMBER in archive.namelist():
                    text = archive.read(_MEMBER).decode()
        elif head.startswith(b"\x89HDF"):
            with h5py.File(file, "r") as h5:
                text = h5.attrs.get(KEY)
        elif file.seek(8) and file.read(1) == b"{":
            file.seek(8)
            length = int.from_bytes(head, "little")
            if length <= 100_000_000:  # safetensors' own bound
                header = json.loads(file.read(length))
                text = header.get("__metadata__", {}).get(KEY)
    return None if text is None else Contract.loads(text)


def save(model: keras.Model, path, contract: Contract | None = None) -> None:
    """Saves a network as `.keras`, or its weights as `.weights.h5`, with its contract inside; whole
    or not at all.

    Raises:
        ValueError: another suffix.
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
