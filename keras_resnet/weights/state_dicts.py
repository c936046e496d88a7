"""Which of a file's tensors are a network's, whatever prefix a trainer gave them and whatever else it saved."""

import re
from typing import NamedTuple

from keras_resnet.weights import names
from keras_resnet.weights.tensors import Tensors

# A tensor of each peer's networks: its prefix in a file is that of all the network's tensors.
_ANCHOR = re.compile(
    r"(?:(.*)\.)?(?:layer1\.0\.conv1\.weight|stages\.0\.blocks\.0\.conv1\.weight"
    r"|embedder\.embedder\.convolution\.weight)"
)
_HEADS = ("fc", "head.fc", "classifier", "head", "linear")
# Beginnings of names in residual networks: a tensor of such a name that ours lacks makes it another network; any other
# tensor is left out.
_KINDRED = re.compile(r"conv|bn|norm|layer|stage|block|stem|downsample|resnet", re.I)
_AVERAGE = re.compile(r"(?:^|[._-])(?:ema|swa|avg|averaged?)(?=[._-])", re.I)
_LISTED = 5  # names of tensors that a sentence lists


class Network(NamedTuple):
    """A network in a file.

    Args:
        tensors: the network's, by the names that its peer gives them.
        peer: its key in `names.NAMINGS`.
        notes: sentences on what was chosen and what was left out.
    """

    tensors: Tensors
    peer: str
    notes: list[str]


def network(found: Tensors, part: str | None = None) -> Network:
    """The one network among a file's tensors.

    Its names may have any prefix, as "state_dict.", "module._orig_mod." or "backbone."; other tensors are left out, and
    a note lists them. Its head may be the only Linear of a Sequential, or be outside the backbone. Of two networks
    where one is by its name the moving average of the other (EMA), the average is taken.

    Args:
        found: all tensors of the file.
        part: prefix of the network that is asked for, without its last dot.

    Raises:
        ValueError: there is no network of a known peer, or there are several; the rest of a sentence.
    """
    listed = [name for name in found if not name.endswith("num_batches_tracked")]
    places = dict.fromkeys(
        f"{match[1]}." if match[1] else "" for name in listed if (match := _ANCHOR.fullmatch(name))
    )
    if not places:
        raise ValueError(
            "its tensors are named as in none of torchvision, timm, Hugging Face's ResNet and "
            f"akamaster's CIFAR nets: {', '.join(listed[:_LISTED])}"
        )
    place, notes = _chosen(list(places), part)
    others = tuple(other for other in places if other not in (place, ""))
    nested = tuple(other for other in others if other.startswith(place))
    within = {
        name.removeprefix(place): name
        for name in listed
        if name.startswith(place) and not name.startswith(nested)
    }
    if "embedder.embedder.convolution.weight" in within:  # Hugging Face's backbone, alone
        within = {f"resnet.{name}": file for name, file in within.items()}
    peer = names.peer_of(within)
    head = _head(found, listed, place, within)
    kept = {
        name: file
        for name, file in within.items()
        if _KINDRED.search(name.partition(".")[0]) and file not in head.values()
    }
    kept |= {f"{names.NAMINGS[peer].head}.{name}": file for name, file in head.items()}
    used = set(kept.values())
    left = [name for name in listed if name not in used and not name.startswith(others)]
    if left:
        more = f" and {len(left) - _LISTED:,} more" if len(left) > _LISTED else ""
        notes.append(
            f"left out is what it holds beside the network: {', '.join(left[:_LISTED])}{more}"
        )
    return Network(found.renamed(kept), peer, notes)


def _chosen(places, part):
    """The prefix of the network that is asked for, or of the only one, or of the average; and notes."""
    labels = [place.rstrip(".") for place in places]
    several = ", ".join(repr(f"#{label}") for label in labels)
    if part is not None:
        fitting = [
            place
            for place, label in zip(places, labels, strict=True)
            if label == part or (part and place.startswith(f"{part}."))
        ]
        if len(fitting) != 1:
            raise ValueError(
                f"{f'#{part}'!r} is not one of the places of a network in it: {several}"
            )
        return fitting[0], []
    if len(places) == 1:
        return places[0], []
    averages = [bool(_AVERAGE.search(place)) for place in places]
    if len(places) == 2 and sum(averages) == 1:
        taken, other = labels if averages[0] else labels[::-1]
        note = (
            f"it holds a network and its moving average; taken is the average, {taken!r}: for the other add "
            f"{f'#{other}'!r} to the path"
        )
        return places[averages.index(True)], [note]
    raise ValueError(f"it holds {len(places)} networks: add one of {several} to its path")


def _head(found, listed, place, within):
    """{"weight": name in the file, "bias": name in the file} of the Linear on the pooled features; empty where there is
    none. It is in the network, or outside of it where the network is the backbone of another.
    """
    width = max((found[name][0] for name in within.values() if len(found[name]) == 4), default=0)
    while True:
        for base in _HEADS:
            inside = [name for name in listed if name.startswith(f"{place}{base}.")]
            matrices = [
                name
                for name in inside
                if re.fullmatch(r"(\d+\.)?weight", name.removeprefix(f"{place}{base}."))
                and _is_matrix(found[name])
            ]
            if len(matrices) == 1 and found[matrices[0]][1] == width:
                stem = matrices[0].removesuffix("weight")
                return {kind: stem + kind for kind in ("weight", "bias") if stem + kind in found}
        if not place:
            return {}
        place = place[: place.rstrip(".").rfind(".") + 1]


def _is_matrix(shape):
    return len(shape) == 2 or (len(shape) == 4 and tuple(shape[2:]) == (1, 1))
