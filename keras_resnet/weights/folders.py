"""What the config.json beside weights says of their network, in Hugging Face's layout and in timm's."""

import math
import os
import pathlib

from keras_resnet.weights.bounds import are_numbers, read_json
from keras_resnet.weights.contract import Contract

TIMM: dict[str, str] = {  # timm's name -> ours
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50V1_5",
    "resnet101": "ResNet101V1_5",
    "resnet152": "ResNet152V1_5",
    "resnext50_32x4d": "ResNeXt50_32x4d",
    "resnext101_32x4d": "ResNeXt101_32x4d",
    "resnext101_32x8d": "ResNeXt101_32x8d",
    "resnext101_32x16d": "ResNeXt101_32x16d",
    "resnext101_64x4d": "ResNeXt101_64x4d",
    "seresnext50_32x4d": "SEResNeXt50_32x4d",
    "seresnext101_32x8d": "SEResNeXt101_32x8d",
    "seresnext101d_32x8d": "SEResNeXt101D_32x8d",
    "seresnet152d": "SEResNet152D",
    "resnetv2_18d": "ResNet18V2D",
    "resnetv2_34d": "ResNet34V2D",
    "wide_resnet50_2": "WideResNet50_2",
    "wide_resnet101_2": "WideResNet101_2",
}
TIMM |= {f"resnetv2_{depth}": f"ResNet{depth}V2" for depth in (18, 34, 50, 101, 152)}
TIMM |= {f"resnet{depth}d": f"ResNet{depth}D" for depth in (18, 34, 50, 101, 152, 200)}
TIMM |= {f"seresnet{depth}": f"SEResNet{depth}" for depth in (50, 101, 152)}
# Arguments of timm's networks that do not change what a trained one computes.
_HARMLESS = {
    "num_classes", "in_chans", "img_size", "drop_rate", "drop_path_rate", "drop_block_rate",
    "zero_init_last", "pretrained", "pretrained_cfg", "scriptable", "exportable", "checkpoint_path",
}  # fmt: skip
_DEPTHS = {(3, 4, 6, 3): "50", (3, 4, 23, 3): "101", (3, 8, 36, 3): "152"}
_BASIC_DEPTHS = {(2, 2, 2, 2): "ResNet18", (3, 4, 6, 3): "ResNet34"}
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_KNOWN = ("bilinear", "bicubic")


def contract(folder: pathlib.Path, classes: int | None) -> tuple[Contract | None, list[str]]:
    """What a folder's config.json and preprocessor_config.json say.

    Args:
        classes: of the classifier in its weights; None where they have none.

    Returns:
        The contract, None where they say nothing of a network or its input; and a sentence on each thing that they
        ask for and evaluation here does otherwise.

    Raises:
        ValueError: there is no config.json; it cannot be read; it contradicts the weights, or describes a network that
            none of ours computes; the rest of a sentence.
    """
    config = _json(folder / "config.json")
    if {"pretrained_cfg", "architecture", "input_size", "crop_pct"} & config.keys():
        fields, notes, count = _timm(folder, config)
    else:
        fields, notes, count = _huggingface(folder, config)
    if count and classes and count != classes:
        raise ValueError(f"config.json says {count} classes, but its classifier has {classes}")
    if len(fields["class_names"]) != classes:
        fields["class_names"] = ()
    if not any(fields[name] for name in ("network", "preprocessing", "size", "class_names")):
        return None, notes
    if fields["interpolation"] not in _KNOWN:
        notes.append(
            f"pictures were resized by {fields['interpolation']} interpolation, which evaluation here does not know: "
            "bilinear is taken"
        )
        fields["interpolation"] = "bilinear"
    return Contract(**fields), notes


# --- timm's


def _timm(folder, config):
    """A contract's fields, notes and the number of classes, from {architecture, num_classes, pretrained_cfg: {...}},
    timm's layout; or from its old one, with all keys at the top.

    The sizes are those of timm's published accuracies, test_input_size and test_crop_pct, where they are given. Keys
    that are missing have timm's defaults.
    """
    given = config.get("pretrained_cfg", config)
    if not isinstance(given, dict):
        raise ValueError("config.json's pretrained_cfg holds no values by name")
    _refuse_others(config)
    architecture = config.get("architecture") or given.get("architecture") or ""
    if not isinstance(architecture, str):
        raise ValueError("config.json's architecture is no name")
    architecture, _, tag = architecture.partition(".")
    tag = tag or given.get("tag") or ""
    notes = []
    size, crop = given.get("test_input_size") or given.get("input_size"), None
    if size is not None:
        if not are_numbers(size, 3) or not all(type(side) is int and side > 0 for side in size):
            raise ValueError("config.json's input_size is not [channels, height, width]")
        if size[1] != size[2]:
            notes.append(
                f"pictures were of {size[1]}x{size[2]} pixels; square ones are evaluated here"
            )
        size = size[1] if size[1] == size[2] else None
        crop = given.get("test_crop_pct") or given.get("crop_pct") or 0.875
        if not _is_fraction(crop):
            raise ValueError(f"config.json's crop_pct is {crop!r}, not a fraction of 1")
    if given.get("crop_mode", "center") != "center":
        notes.append(
            f"pictures were cropped in the mode {given['crop_mode']!r}; evaluation here takes the centre"
        )
    kinds = [(place, name) for place in (config, given) for name in ("label_names", "labels")]
    names = next((place[name] for place, name in kinds if place.get(name)), ())
    fields = {
        "network": TIMM.get(architecture),
        "preprocessing": _normalisation(given.get("mean"), given.get("std"), 1 / 255),
        "size": size,
        "resize": math.floor(size / crop) if size else None,
        "class_names": _names(names) or _names(config.get("id2label")),
        "source": f"timm: {architecture or os.path.basename(folder)}{f'.{tag}' if tag else ''}",
        "licence": _text(given.get("license")),
        "interpolation": given.get("interpolation") or "bicubic",
    }
    return fields, notes, config.get("num_classes", given.get("num_classes"))


def _refuse_others(config):
    """Raises ValueError where arguments or pooling build what no network of ours computes."""
    arguments = config.get("model_args") or {}
    pooling = config.get("global_pool") or "avg"
    if not isinstance(arguments, dict):
        raise ValueError("config.json's model_args holds no values by name")
    others = {name: value for name, value in arguments.items() if name not in _HARMLESS}
    if others.get("global_pool", pooling) == pooling == "avg":
        others.pop("global_pool", None)
    else:
        others["global_pool"] = others.get("global_pool", pooling)
    if others:
        name, value = next(iter(others.items()))
        raise ValueError(
            f"config.json builds its network with {name}={value!r}, which no network here has"
        )


# --- Hugging Face's ResNetForImageClassification


def _huggingface(folder, config):
    """A contract's fields, notes and the number of classes."""
    depths = config.get("depths", [])
    if not isinstance(depths, list) or not all(isinstance(depth, int) for depth in depths):
        raise ValueError("config.json's depths are no list of whole numbers")
    for name, ours in (("hidden_act", "relu"), ("downsample_in_first_stage", False)):
        if config.get(name, ours) != ours:
            raise ValueError(f"config.json says {name}={config[name]!r}, which no network here has")
    depths = tuple(depths)
    if config.get("layer_type", "bottleneck") == "basic":
        network = _BASIC_DEPTHS.get(depths)
    else:
        first = config.get("downsample_in_bottleneck", False)
        network = f"ResNet{_DEPTHS[depths]}{'' if first else 'V1_5'}" if depths in _DEPTHS else None
    name = config.get("_name_or_path")
    fields = {
        "network": network,
        "preprocessing": None,
        "size": None,
        "resize": None,
        "class_names": _names(config.get("id2label")),
        "source": f"Hugging Face: {name if isinstance(name, str) and name else folder.name}",
        "interpolation": "bilinear",
    }
    notes = []
    if (folder / "preprocessor_config.json").is_file():
        notes = _read_processor(_json(folder / "preprocessor_config.json"), fields)
    return fields, notes, len(fields["class_names"]) or None


def _read_processor(given, fields):
    """Adds what an image processor does to `fields`; returns sentences on what of it evaluation here does otherwise."""
    scale = given.get("rescale_factor", 1 / 255) if given.get("do_rescale", True) else 1.0
    if not are_numbers([scale]) or not 1e-6 < scale < 1e6:
        raise ValueError(f"preprocessor_config.json's rescale_factor is {scale!r}")
    mean, std = given.get("image_mean"), given.get("image_std")
    if given.get("do_normalize") is False:
        mean, std = [0.0] * 3, [1.0] * 3
    fields["preprocessing"] = _normalisation(mean, std, scale)
    resample = given.get("resample", 2)
    known = type(resample) is int and resample in _RESAMPLE
    fields["interpolation"] = _RESAMPLE[resample] if known else f"an unknown ({resample!r})"
    crop = _sides(given.get("crop_size")) if given.get("do_center_crop") else None
    side, stretched = _sides(given.get("size")), None
    if isinstance(given.get("size"), dict) and "shortest_edge" not in given["size"]:
        stretched = side
    if crop:
        fields["size"], fields["resize"] = crop, side
    elif side:
        crop_pct = given.get("crop_pct") or 0.875
        if not _is_fraction(crop_pct):
            raise ValueError(
                f"preprocessor_config.json's crop_pct is {crop_pct!r}, not a fraction of 1"
            )
        large = "crop_pct" in given and side >= 384  # ConvNext's processor
        stretched = side if large else stretched
        fields["size"], fields["resize"] = side, side if stretched else int(side / crop_pct)
    if stretched:
        return [
            f"pictures were stretched to {stretched}x{stretched}; evaluation here takes the centre"
        ]
    return []


def _sides(given):
    """Pixels of a square's side, or of a shorter side; None where there is neither."""
    if isinstance(given, dict):
        edges = [given[key] for key in ("shortest_edge", "height", "width") if key in given]
        given = edges[0] if edges and len(set(map(str, edges))) == 1 else None
    return given if type(given) is int and given > 0 else None


# --- values that may be anything


def _json(path):
    try:
        found = read_json(path)
    except OSError:
        raise ValueError(f"the folder holds no {path.name}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no values by name")
    return found


def _is_fraction(value):
    return are_numbers([value]) and 0.01 <= value <= 1


def _normalisation(mean, std, scale):
    """[means, standard deviations, bgr] in 0..255, from those of pictures times `scale`; None if neither is given."""
    if mean is None and std is None:
        return None
    if are_numbers(mean, 1) and are_numbers(std, 1):  # gray
        mean, std = 3 * mean, 3 * std
    if not are_numbers(mean, 3) or not are_numbers(std, 3) or min(std) <= 0:
        raise ValueError(
            f"its mean {mean!r} and standard deviation {std!r} are not those of R, G and B"
        )
    return [[m / scale for m in mean], [s / scale for s in std], False]


def _names(given):
    """Class names from a list, or from {index: name} without a gap; () for anything else and for LABEL_0, ..."""
    if isinstance(given, dict):
        ordered = {int(key): name for key, name in given.items() if str(key).isdecimal()}
        whole = sorted(ordered) == list(range(len(given)))
        given = [ordered[i] for i in range(len(given))] if whole else ()
    if not isinstance(given, (list, tuple)) or not all(isinstance(name, str) for name in given):
        return ()
    return () if all(name.startswith("LABEL_") for name in given) else tuple(given)


def _text(value):
    return value if isinstance(value, str) else ""
