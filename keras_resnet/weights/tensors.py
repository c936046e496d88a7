"""Files of named tensors, read without running what is in them: safetensors, and PyTorch's pickles."""

import json
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping

import numpy as np

# Bytes that a checkpoint may take: the largest named network has 0.5 GB of weights, an optimizer twice that.
MOST = 4 << 30
MOST_SHARDS = 1000

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote up to 1.5
_DEEPEST = 8  # mappings in mappings, of a checkpoint


class Tensors(Mapping):
    """Name -> shape of a file's tensors; `read(name)` gives one as a float32 NumPy array.

    Args:
        shapes: by name, in the file's order.
        read: gives the values of a name; raises ValueError where they are no real numbers.
        metadata: texts by name, of a safetensors file.
    """

    def __init__(self, shapes: dict[str, tuple], read: Callable[[str], np.ndarray], metadata=None):
        self._shapes, self.read, self.metadata = shapes, read, metadata or {}

    def __getitem__(self, name):
        return self._shapes[name]

    def __iter__(self):
        return iter(self._shapes)

    def __len__(self):
        return len(self._shapes)

    def renamed(self, names: dict[str, str]) -> "Tensors":
        """Those that `names` has, new name -> the file's."""
        shapes = {new: self._shapes[old] for new, old in names.items()}
        return Tensors(shapes, lambda name: self.read(names[name]), self.metadata)


def opened(path) -> Tensors:
    """The tensors of a file, or of the shards that an index lists.

    Raises:
        ValueError: it is of another kind, or cannot be read; the rest of a sentence.
    """
    content = kind(path)
    if content == "torchscript":
        raise ValueError(
            "it is a TorchScript program (torch.jit.save), and loading it could run code: where you trust it, save "
            "its weights by torch.save(torch.jit.load(path).state_dict(), 'weights.pth')"
        )
    if content is None:
        raise ValueError(
            "its content is none of .keras, HDF5, safetensors and PyTorch's: it may be cut off, or "
            "something else by that name"
        )
    return {"safetensors": safetensors, "torch": torch, "index": sharded}[content](path)


def kind(path) -> str | None:
    """ "safetensors", "torch", "torchscript", "index" (of a sharded file) or None, by the file's content."""
    if str(path).endswith(".index.json"):
        return "index"
    with open(path, "rb") as file:
        head = file.read(16)
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < os.path.getsize(path):
            return "safetensors"
        if head.startswith(_LEGACY):
            return "torch"
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                members = archive.namelist()
            if any("/code/" in name for name in members):
                return "torchscript"
            if any(name.endswith("/data.pkl") for name in members):
                return "torch"
        if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
            return "torch"
    return None


def shards(index) -> list[pathlib.Path]:
    """The files that `model.safetensors.index.json` or its like lists, beside it.

    Raises:
        ValueError: it is no such index, or a file is missing; the rest of a sentence.
    """
    return sorted({index.parent / file for file in _weight_map(index).values()})


def _weight_map(index):
    try:
        found = json.loads(index.read_text("utf-8"))
        places = dict(found["weight_map"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{index.name} is no index of shards ({_line(error)})") from None
    for file in places.values():
        if not isinstance(file, str) or not file or os.path.basename(file) != file:
            raise ValueError(f"{index.name} lists {file!r}, which is no file beside it")
        if not (index.parent / file).is_file():
            raise ValueError(f"{file} is missing, which {index.name} lists: copy all shards")
    if len(set(places.values())) > MOST_SHARDS:
        raise ValueError(f"{index.name} lists more than {MOST_SHARDS} files")
    return places


def sharded(index) -> Tensors:
    """The tensors of all shards of an index.

    Raises:
        ValueError: a shard cannot be read, or lacks what the index says of it.
    """
    index = pathlib.Path(index)
    places = _weight_map(index)
    parts = {path.name: opened(path) for path in shards(index)}
    for name, file in places.items():
        if name not in parts[file]:
            raise ValueError(f"{file} holds no {name}, which {index.name} lists there")
    shapes = {name: parts[file][name] for name, file in places.items()}
    return Tensors(shapes, lambda name: parts[places[name]].read(name))


def safetensors(path) -> Tensors:
    """
    Raises:
        ValueError: the file is damaged.
    """
    import safetensors

    try:
        file = safetensors.safe_open(path, framework="numpy")
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return Tensors(shapes, lambda name: _float32(path, file, name), file.metadata())
    except (safetensors.SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"it is no whole safetensors file ({error})") from None


def _float32(path, file, name):
    kind = file.get_slice(name).get_dtype()
    if kind != "BF16":  # which NumPy lacks
        return np.asarray(file.get_tensor(name), np.float32)
    with open(path, "rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
        entry = json.loads(raw.read(length))[name]
        start, stop = entry["data_offsets"]
        raw.seek(8 + length + start)
        halves = np.frombuffer(raw.read(stop - start), "<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def torch(path) -> Tensors:
    """What `torch.save` wrote; of mappings in mappings, names are joined by dots: "state_dict.fc.weight".

    Raises:
        ValueError: the file is damaged or too large, wants code run, or holds no tensors by name; or
            PyTorch is not installed.
    """
    if os.path.getsize(path) > MOST:
        raise ValueError(
            f"it takes {os.path.getsize(path):,} bytes, more than a checkpoint of the largest network"
        )
    try:
        import torch
    except ImportError:
        raise ValueError(
            "PyTorch reads it: pip install 'keras-resnet-he[torch]', or convert it to .safetensors "
            "where PyTorch is"
        ) from None
    try:
        loaded = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            raise ValueError(
                "it holds more than tensors, and loading it could run code: save the state_dict alone"
            ) from None
        raise ValueError(f"it is damaged ({_line(error)})") from None
    except Exception as error:  # PyTorch raises RuntimeError, EOFError, OSError, KeyError, ...
        raise ValueError(f"it is damaged ({_line(error)})") from None
    found = {name: value for name, value in _flat(loaded) if isinstance(value, torch.Tensor)}
    if not found:
        raise ValueError("it holds no tensors by name: save the model's state_dict()")
    shapes = {name: () if value.is_nested else tuple(value.shape) for name, value in found.items()}
    return Tensors(shapes, lambda name: _numpy(name, found[name]))


def _flat(mapping, place="", depth=0) -> Iterator[tuple[str, object]]:
    if not isinstance(mapping, Mapping) or depth > _DEEPEST:
        return
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{name}.", depth + 1)
        else:
            yield f"{place}{name}", value


def _numpy(name, tensor):
    """Of a tensor or a parameter, whose numbers are there, one by one."""
    import torch

    unusual = [
        (tensor.is_nested, "is nested"),
        (tensor.layout != torch.strided, "is sparse"),
        (tensor.is_meta, "has no values (of the device meta)"),
        (tensor.is_quantized, "is quantised"),
        (tensor.is_complex(), "holds complex numbers"),
    ]
    for found, what in unusual:
        if found:
            raise ValueError(f"{name} {what}: save it as a plain tensor of real numbers")
    return tensor.detach().float().numpy()


def _line(error):
    return (str(error) or type(error).__name__).strip().splitlines()[0]
