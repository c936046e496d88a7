"""Peers' networks in PyTorch, built from their tensors' names alone: conversions are compared with them.

Written from the definitions of the peers: nothing of `names` or of the Keras networks is used, so that a wrong stride,
padding, epsilon or order of channels shows as a difference. Needs PyTorch.
"""

import re
from collections.abc import Mapping

import numpy as np


def logits(tensors: Mapping, pictures: np.ndarray, strides_on: str = "3x3") -> np.ndarray:
    """A peer's network, applied to pictures.

    Args:
        tensors: name -> NumPy array, a state dict's.
        pictures: float32 [B,H,W,C], normalised.
        strides_on: "1x1" or "3x3", the convolution of a bottleneck that strides, which names do not say.

    Returns:
        float32 [B,classes].
    """
    import torch

    state = {_torchvision_name(name): torch.from_numpy(np.array(t)) for name, t in tensors.items()}
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pictures, -1, 1)))
    with torch.no_grad():
        if "stages.0.blocks.0.conv1.weight" in state:
            return _second_order(state, x).numpy()
        return _first_order(state, x, strides_on).numpy()


def _torchvision_name(name):
    """Hugging Face's names as torchvision's; others as they are."""
    kinds = {"convolution": "conv", "normalization": "bn"}
    if match := re.fullmatch(r"resnet\.embedder\.embedder\.(\w+)\.(\w+)", name):
        return f"{kinds[match[1]]}1.{match[2]}"
    block = r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\."
    if match := re.fullmatch(block + r"shortcut\.(\w+)\.(\w+)", name):
        place = 0 if match[3] == "convolution" else 1
        return f"layer{int(match[1]) + 1}.{match[2]}.downsample.{place}.{match[4]}"
    if match := re.fullmatch(block + r"layer\.(\d+)\.(\w+)\.(\w+)", name):
        part = f"{kinds[match[4]]}{int(match[3]) + 1}"
        return f"layer{int(match[1]) + 1}.{match[2]}.{part}.{match[5]}"
    return name.replace("classifier.1.", "fc.")


def _conv(state, x, name, stride=1):
    import torch

    kernel = state[f"{name}.weight"]
    groups = x.shape[1] // kernel.shape[1]
    bias = state.get(f"{name}.bias")
    return torch.conv2d(x, kernel, bias, stride, kernel.shape[-1] // 2, groups=groups)


def _norm(state, x, name):
    from torch.nn import functional

    values = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(x, *values, eps=1e-5)


def _first_order(state, x, strides_on):
    import torch
    from torch.nn import functional

    cifar = "linear.weight" in state
    if "conv1.0.weight" in state:  # ResNet-D's deep stem
        x = _norm(state, _conv(state, x, "conv1.0", 2), "conv1.1").relu()
        x = _norm(state, _conv(state, x, "conv1.3"), "conv1.4").relu()
        x = _conv(state, x, "conv1.6")
    else:
        x = _conv(state, x, "conv1", 1 if cifar else 2)
    x = _norm(state, x, "bn1").relu()
    if not cifar:
        x = functional.max_pool2d(x, 3, 2, 1)
    stage = 1
    while f"layer{stage}.0.conv1.weight" in state:
        i = 0
        while f"{(place := f'layer{stage}.{i}')}.conv1.weight" in state:
            x = _block(state, x, place, 2 if stage > 1 and i == 0 else 1, strides_on)
            i += 1
        stage += 1
    head = "linear" if cifar else "fc"
    return torch.addmm(state[f"{head}.bias"], x.mean((2, 3)), state[f"{head}.weight"].T)


def _block(state, x, place, stride, strides_on):
    from torch.nn import functional

    convolutions = 3 if f"{place}.conv3.weight" in state else 2
    strides = {2: (stride, 1), 3: (stride, 1, 1) if strides_on == "1x1" else (1, stride, 1)}
    y = x
    for i, step in enumerate(strides[convolutions], start=1):
        y = _norm(state, _conv(state, y, f"{place}.conv{i}", step), f"{place}.bn{i}")
        if i < convolutions:
            y = y.relu()
    if f"{place}.se.fc1.weight" in state:
        gate = y.mean((2, 3), keepdim=True)
        gate = _conv(state, gate, f"{place}.se.fc1").relu()
        y = y * _conv(state, gate, f"{place}.se.fc2").sigmoid()
    if f"{place}.downsample.2.weight" in state:  # ResNet-D: an average pool strides
        if stride > 1:
            x = functional.avg_pool2d(x, 2, stride, ceil_mode=True, count_include_pad=False)
        x = _norm(state, _conv(state, x, f"{place}.downsample.1"), f"{place}.downsample.2")
    elif f"{place}.downsample.0.weight" in state:
        x = _norm(state, _conv(state, x, f"{place}.downsample.0", stride), f"{place}.downsample.1")
    elif x.shape != y.shape:  # option A
        new = y.shape[1] - x.shape[1]
        x = functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, new // 2, new - new // 2))
    return (x + y).relu()


def _second_order(state, x):
    """timm's resnetv2: norm and ReLU before each convolution, the projection after the first of them."""
    import torch
    from torch.nn import functional

    deep = "stem.conv1.weight" in state  # and then an average pool strides
    if deep:
        x = _norm(state, _conv(state, x, "stem.conv1", 2), "stem.norm1").relu()
        x = _norm(state, _conv(state, x, "stem.conv2"), "stem.norm2").relu()
        x = _conv(state, x, "stem.conv3")
    else:
        x = _conv(state, x, "stem.conv", 2)
    x = functional.max_pool2d(x, 3, 2, 1)
    stage = 0
    while f"stages.{stage}.blocks.0.conv1.weight" in state:
        i = 0
        while f"{(place := f'stages.{stage}.blocks.{i}')}.conv1.weight" in state:
            stride = 2 if stage and i == 0 else 1
            first = _norm(state, x, f"{place}.norm1").relu()
            if f"{place}.downsample.conv.weight" in state:
                x = first
                if deep and stride > 1:
                    x = functional.avg_pool2d(x, 2, stride, ceil_mode=True, count_include_pad=False)
                x = _conv(state, x, f"{place}.downsample.conv", 1 if deep else stride)
            if f"{place}.conv3.weight" in state:
                y = _conv(state, first, f"{place}.conv1")
                y = _conv(state, _norm(state, y, f"{place}.norm2").relu(), f"{place}.conv2", stride)
                y = _conv(state, _norm(state, y, f"{place}.norm3").relu(), f"{place}.conv3")
            else:
                y = _conv(state, first, f"{place}.conv1", stride)
                y = _conv(state, _norm(state, y, f"{place}.norm2").relu(), f"{place}.conv2")
            x, i = x + y, i + 1
        stage += 1
    x = _norm(state, x, "norm").relu().mean((2, 3))
    return torch.addmm(state["head.fc.bias"], x, state["head.fc.weight"].flatten(1).T)
