"""Peers' weights -> ours, and ours -> theirs, by `names.NAMINGS`."""

import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np

from keras_resnet.networks.repeat import Repeat
from keras_resnet.support import files
from keras_resnet.weights import folders, names, state_dicts, tensors
from keras_resnet.weights.contract import KEY, Contract


class Place:
    """One tensor of our network: a layer's variable, or one block's part of a `Repeat`'s.

    Args:
        layer, variable: its names, as in a network without loops.
        holder: the variable, which a `Repeat` stacks for all its blocks.
        index: of the block in the `Repeat`; None elsewhere.
        times: how many blocks that has.
    """

    def __init__(
        self,
        layer: str,
        variable: str,
        holder: keras.Variable,
        index: int | None = None,
        times: int = 1,
    ):
        self.layer, self.variable = layer, variable
        self._holder, self._index, self._times = holder, index, times
        shape = tuple(holder.shape)
        if index is not None:
            shape = shape[1:] if len(shape) > 1 else (shape[0] // times,)
        self.shape = shape

    def _parts(self, values):
        return values.reshape(self._times, *self.shape)[self._index]

    def read(self) -> np.ndarray:
        """Its values."""
        values = keras.ops.convert_to_numpy(self._holder)
        return values if self._index is None else self._parts(values)

    def write(self, values: np.ndarray) -> None:
        """Assigns values of its shape."""
        if self._index is not None:
            whole = np.array(keras.ops.convert_to_numpy(self._holder))
            self._parts(whole)[...] = values
            values = whole
        self._holder.assign(values)


def places(model: keras.Model) -> list[Place]:
    """All tensors of a network of ours, by layer and variable."""
    found = []
    for layer in model.layers:
        if isinstance(layer, Repeat):
            patterns = layer.block.trainable_variables + layer.block.non_trainable_variables
            for pattern, holder in zip(patterns, layer.weights, strict=True):
                name, variable = pattern.path.split("/")[-2:]
                found += [
                    Place(
                        name.replace("_block_", f"_block{i + 2}_"), variable, holder, i, layer.times
                    )
                    for i in range(layer.times)
                ]
        else:
            found += [Place(layer.name, v.path.split("/")[-1], v) for v in layer.weights]
    return found


class Read(NamedTuple):
    """The content of a peer's file or folder.

    Args:
        tensors: of its network, by the peer's names.
        peer: its key in `names.NAMINGS`.
        contract: what the file or folder says of itself; None where it says nothing.
        classes: of its classifier; None where it has none.
        channels: of the pictures that it reads.
        notes: sentences on what was chosen, left out, or is done otherwise here.
    """

    tensors: tensors.Tensors
    peer: str
    contract: Contract | None
    classes: int | None
    channels: int
    notes: list[str]


def read(path: str | os.PathLike, part: str | None = None) -> Read:
    """What a peer's file, or a folder of Hugging Face's or timm's, holds.

    Args:
        part: which of several networks in it: see `state_dicts.network`.

    Raises:
        ValueError: it cannot be read, or no known peer names its tensors so; the rest of a sentence.
    """
    folder = pathlib.Path(path)
    whole = folder.is_dir()
    if whole and not (folder / "config.json").is_file():
        raise ValueError("the folder holds no config.json")
    found = tensors.opened(weights_file(folder) if whole else path)
    network, peer, notes = state_dicts.network(found, part)
    naming = names.NAMINGS[peer]
    head = network.get(f"{naming.head}.weight")
    stems = [naming.name(layer, "kernel") for layer in ("conv1_conv", "conv1_1_conv")]
    stem = next((network[stem] for stem in stems if stem in network), ())
    if len(stem) != 4:
        raise ValueError("its first convolution is missing, or has the shape of something else")
    classes = head and head[0]
    contract = None
    if KEY in found.metadata:
        contract = Contract.loads(found.metadata[KEY])
    elif whole:
        contract, more = folders.contract(folder, classes)
        notes = notes + more
    return Read(network, peer, contract, classes, stem[1], notes)


def weights_file(folder: pathlib.Path) -> pathlib.Path:
    """The file of weights in Hugging Face's or timm's folder; the index where they are in shards.

    Raises:
        ValueError: there is none; the rest of a sentence.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        for found in (folder / name, folder / f"{name}.index.json"):
            if found.is_file():
                return found
    raise ValueError("the folder holds no model.safetensors and no pytorch_model.bin")


def load(model: keras.Model, found: tensors.Tensors, peer: str) -> None:
    """Gives `model` a peer's tensors, all or none.

    Raises:
        ValueError: they do not fit, or hold values that are no finite numbers; the rest of a sentence.
    """
    clauses, ours = differences(model, found, peer)
    if clauses:
        raise ValueError(f"{len(clauses)} of {len(ours)} tensors differ: {'; '.join(clauses[:5])}")
    values = {name: found.read(name) for name in ours}
    check_finite(values.items())
    for name, place in ours.items():
        place.write(names.to_ours(values[name], place.shape))


def differences(
    model: keras.Model, found: tensors.Tensors, peer: str
) -> tuple[list[str], dict[str, Place]]:
    """A clause for each tensor in which a network of ours and a peer's differ by name or shape, and the network's
    tensors by the peer's names."""
    naming = names.NAMINGS[peer]
    try:
        ours = {naming.name(place.layer, place.variable): place for place in places(model)}
    except ValueError as error:  # it has a layer that the peer's networks never have
        return [str(error)], {}
    clauses = [f"{name} {found[name]} is not in the network" for name in found if name not in ours]
    for name, place in ours.items():
        if name not in found:
            clauses.append(f"{name} {_theirs(place)} is not in the file")
        elif _fitted(found[name], len(place.shape)) != place.shape:
            clauses.append(f"{name} is {found[name]}, the network's {_theirs(place)}")
    return clauses, ours


def check_finite(named: Iterable[tuple[str, np.ndarray]]) -> None:
    """Refuses NaN and infinity.

    Raises:
        ValueError: the first (name, array) that holds one; the rest of a sentence.
    """
    for name, value in named:
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds values that are not finite: the training diverged")


def save_safetensors(
    model: keras.Model, path: str | os.PathLike, wanted: str | None, contract: Contract | None
) -> str:
    """Writes a network's weights under a peer's names; the whole file or none.

    Args:
        wanted: the peer, as `names.peer_for` takes it.

    Returns:
        The peer's key in `names.NAMINGS`.

    Raises:
        ValueError: the wanted one has no such network.
        OSError: the file cannot be written.
    """
    from safetensors.numpy import save_file

    peer = names.peer_for(model, wanted)
    named = {}
    for place in places(model):
        name = names.NAMINGS[peer].name(place.layer, place.variable)
        convolution = "_se_" in place.layer or peer == "timm-v2"
        named[name] = names.to_theirs(place.read(), convolution)
    metadata = {"format": "pt"} | ({KEY: contract.dumps()} if contract else {})
    with files.aside(path) as part:
        save_file(named, part, metadata)
    return peer


def _theirs(place):
    """The shape that it has with peers."""
    shape = place.shape
    return (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape


def _fitted(shape, rank):
    """A peer's shape in our order of axes."""
    if len(shape) < 2:
        return tuple(shape)
    ours = (*shape[2:], shape[1], shape[0])
    return ours[-2:] if rank == 2 and set(ours[:-2]) <= {1} else ours
