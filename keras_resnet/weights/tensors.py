"""Files of named tensors, read without running code in them: safetensors, and PyTorch's pickles."""

from __future__ import annotations

import os
import pathlib
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from keras_resnet.support import errors
from keras_resnet.weights import bounds

# CVE-2025-32434 and CVE-2026-24747: in older ones a checkpoint could run code or overwrite memory, in spite of
# weights_only.
_LEAST_TORCH = (2, 10)
_MOST_PICKLE = 16 << 20  # bytes of a checkpoint's list of tensors: some 100 a tensor
_REAL = ("F64", "F32", "F16", "BF16")  # safetensors' kinds of numbers that weights may be
MOST_SHARDS = 1000

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote up to 1.5
_DEEPEST = 8  # mappings in mappings, of a checkpoint


class Tensors(Mapping[str, tuple[int, ...]]):
    """Name -> shape of a file's tensors; `read(name)` gives one as a float32 NumPy array.

    Args:
        shapes: by name, in the file's order.
        read: gives the values of a name as float32; raises ValueError where they are no real numbers.
        metadata: texts by name, of a safetensors file.
    """

    def __init__(
        self,
        shapes: dict[str, tuple[int, ...]],
        read: Callable[[str], np.ndarray],
        metadata: dict[str, str] | None = None,
    ):
        self._shapes, self.read, self.metadata = shapes, read, metadata or {}

    def __getitem__(self, name):
        return self._shapes[name]

    def __iter__(self):
        return iter(self._shapes)

    def __len__(self):
        return len(self._shapes)

    def renamed(self, names: dict[str, str]) -> Tensors:
        """Some of the tensors under new names: `names` has new name -> the file's."""
        shapes = {new: self._shapes[old] for new, old in names.items()}
        return Tensors(shapes, lambda name: self.read(names[name]), self.metadata)


def opened(path: str | os.PathLike) -> Tensors:
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


def kind(path: str | os.PathLike) -> str | None:
    """ "safetensors", "torch", "torchscript", "index" (of a sharded file) or None, by the file's content.

    Raises:
        ValueError: it is an archive that claims too much or is damaged; the rest of a sentence.
    """
    if str(path).endswith(".index.json"):
        return "index"
    with open(path, "rb") as file:
        head = file.read(16)
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < os.path.getsize(path):
            return "safetensors"
        if head.startswith(_LEGACY):
            return "torch"
        if zipfile.is_zipfile(file):
            with bounds.archive(file) as archive:
                members = archive.namelist()
            if any("/code/" in name for name in members):
                return "torchscript"
            if any(name.endswith("/data.pkl") for name in members):
                return "torch"
        if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
            return "torch"
    return None


def shards(index: pathlib.Path) -> list[pathlib.Path]:
    """The files that an index such as `model.safetensors.index.json` lists, which are beside it.

    Raises:
        ValueError: it is no index, or a file is missing; the rest of a sentence.
    """
    return sorted({index.parent / file for file in _weight_map(index).values()})


def _weight_map(index):
    try:
        places = dict(bounds.read_json(index)["weight_map"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{index.name} is no index of shards ({errors.first_line(error)})"
        ) from None
    for file in places.values():
        if not isinstance(file, str) or not file or os.path.basename(file) != file:
            raise ValueError(f"{index.name} lists {file!r}, which is no file beside it")
        if not (index.parent / file).is_file():
            raise ValueError(f"{file} is missing, which {index.name} lists: copy all shards")
    if len(set(places.values())) > MOST_SHARDS:
        raise ValueError(f"{index.name} lists more than {MOST_SHARDS} files")
    return places


def sharded(index: str | os.PathLike) -> Tensors:
    """The tensors of all shards of an index.

    Raises:
        ValueError: a shard cannot be read, or lacks a tensor that the index says it has; the rest of a sentence.
    """
    index = pathlib.Path(index)
    places = _weight_map(index)
    parts, many = {}, 0
    for path in shards(index):
        parts[path.name] = opened(path)
        many += len(parts[path.name])
        if many > bounds.MOST_TENSORS:
            raise ValueError(f"its shards hold more than {bounds.MOST_TENSORS:,} tensors")
    for name, file in places.items():
        if name not in parts[file]:
            raise ValueError(f"{file} holds no {name}, which {index.name} lists there")
    shapes = {name: parts[file][name] for name, file in places.items()}
    return Tensors(shapes, lambda name: parts[places[name]].read(name))


def safetensors(path: str | os.PathLike) -> Tensors:
    """What safetensors wrote.

    Raises:
        ValueError: the file is damaged or claims too much; the rest of a sentence.
    """
    import safetensors

    header, metadata = bounds.safetensors_header(path)
    bounds.check_size(os.path.getsize(path), bounds.stored(path))
    try:
        file = safetensors.safe_open(path, framework="numpy")  # checks that sizes and offsets agree
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
        kinds = {name: str(entry["dtype"]) for name, entry in header.items()}
    except Exception as error:  # SafetensorError, OSError, KeyError, TypeError
        raise ValueError(f"it is no whole safetensors file ({errors.first_line(error)})") from None

    def read(name):
        if kinds[name] not in _REAL:
            raise ValueError(f"{name} holds numbers of the kind {kinds[name]}, not real ones")
        if kinds[name] != "BF16":  # which NumPy lacks
            return np.asarray(file.get_tensor(name), np.float32)
        with open(path, "rb") as raw:
            begin = 8 + int.from_bytes(raw.read(8), "little")
            start, stop = header[name]["data_offsets"]
            raw.seek(begin + start)
            halves = np.frombuffer(raw.read(stop - start), "<u2")
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shapes[name])

    return Tensors(shapes, read, metadata)


def torch(path: str | os.PathLike) -> Tensors:
    """What `torch.save` wrote; names in nested mappings are joined by dots: "state_dict.fc.weight".

    Raises:
        ValueError: the file is damaged or too large, would run code, or holds no tensors by name; or PyTorch is
            not installed or too old; the rest of a sentence.
    """
    zipped = zipfile.is_zipfile(path)
    if os.path.getsize(path) > bounds.MOST:
        raise ValueError(
            f"it takes {os.path.getsize(path):,} bytes, more than a checkpoint of the largest network"
        )
    if zipped:
        with open(path, "rb") as file, bounds.archive(file) as archive:
            pickles = [m for m in archive.infolist() if m.filename.endswith("/data.pkl")]
            size = max((member.file_size for member in pickles), default=0)
            if size > _MOST_PICKLE:
                raise ValueError(
                    f"its list of tensors takes {size:,} bytes, more than any network's"
                )
    try:
        import torch
    except ImportError:
        raise ValueError(
            "PyTorch reads it: pip install 'keras-resnet-he[torch]', or convert it to .safetensors "
            "where PyTorch is"
        ) from None
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < _LEAST_TORCH:
        least = ".".join(map(str, _LEAST_TORCH))
        raise ValueError(
            f"PyTorch {torch.__version__} is here, in which a checkpoint can run code (CVE-2025-32434, "
            f"CVE-2026-24747): pip install 'torch>={least}', or convert it to .safetensors elsewhere"
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            raise ValueError(
                "it holds more than tensors, and loading it could run code: save the state_dict alone"
            ) from None
        raise ValueError(f"it is damaged ({errors.first_line(error)})") from None
    except Exception as error:  # PyTorch raises RuntimeError, EOFError, OSError, KeyError, ...
        raise ValueError(f"it is damaged ({errors.first_line(error)})") from None
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
    """Values of a tensor or a parameter, as float32.

    Raises:
        ValueError: they are not plain real numbers in memory; the rest of a sentence.
    """
    import torch

    unusual = [
        (tensor.is_nested, "is nested"),
        (tensor.layout != torch.strided, "is sparse"),
        (tensor.is_meta, "has no values (of the device meta)"),
        (tensor.is_quantized, "is quantised"),
        (not tensor.is_floating_point(), f"holds numbers of the kind {tensor.dtype}"),
    ]
    for found, what in unusual:
        if found:
            raise ValueError(f"{name} {what}: save it as a plain tensor of real numbers")
    return tensor.detach().float().numpy()
