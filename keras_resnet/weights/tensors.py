"""Files of named tensors, read without running what is in them: safetensors, and PyTorch's pickles."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

# Bytes that a checkpoint may take: the largest named network has 0.5 GB of weights, an optimizer twice that.
MOST = 4 << 30

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote up to 1.5
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema")
_PREFIXES = ("module.", "_orig_mod.", "model.")


class Tensors(Mapping):
    """Name -> shape of a file's tensors; `read(name)` gives one as a NumPy array.

    `num_batches_tracked` is left out, and what parallel and compiled modules put in front of names.
    """

    def __init__(self, shapes: dict[str, tuple], read: Callable[[str], np.ndarray], metadata=None):
        names = {name: name for name in shapes if not name.endswith("num_batches_tracked")}
        for prefix in _PREFIXES:
            if names and all(name.startswith(prefix) for name in names):
                names = {name.removeprefix(prefix): names[name] for name in names}
        self._names, self._shapes, self._read = names, shapes, read
        self.metadata = metadata or {}

    def __getitem__(self, name):
        return self._shapes[self._names[name]]

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)

    def read(self, name: str) -> np.ndarray:
        return self._read(self._names[name])


def kind(path) -> str | None:
    """ "safetensors", "torch" or None, by the file's content."""
    with open(path, "rb") as file:
        head = file.read(16)
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < os.path.getsize(path):
            return "safetensors"
        if head.startswith(_LEGACY):
            return "torch"
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if any(name.endswith("/data.pkl") for name in archive.namelist()):
                    return "torch"
        if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
            return "torch"
    return None


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
    """
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
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    found = {}
    if isinstance(loaded, Mapping):
        found = {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    if not found or not all(isinstance(name, str) for name in found):
        raise ValueError("it holds no tensors by name: save the model's state_dict()")
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    return Tensors(shapes, lambda name: found[name].float().numpy())


def _line(error):
    return (str(error) or type(error).__name__).strip().splitlines()[0]
