"""Independent networks of peers with random weights and statistics, for the parity of conversions."""

import functools
import importlib.util
import re

import feeders
import numpy as np
import pytest

TIMM = {
    "ResNet18": "resnet18",
    "ResNet34": "resnet34",
    "ResNet50V1_5": "resnet50",
    "ResNet101V1_5": "resnet101",
    "ResNet152V1_5": "resnet152",
    "ResNet18V2": "resnetv2_18",
    "ResNet34V2": "resnetv2_34",
    "ResNet50V2": "resnetv2_50",
    "ResNet101V2": "resnetv2_101",
    "ResNet152V2": "resnetv2_152",
    "ResNet18D": "resnet18d",
    "ResNet34D": "resnet34d",
    "ResNet50D": "resnet50d",
    "ResNet101D": "resnet101d",
    "ResNet152D": "resnet152d",
    "ResNet200D": "resnet200d",
    "ResNet18V2D": "resnetv2_18d",
    "ResNet34V2D": "resnetv2_34d",
    "ResNeXt50_32x4d": "resnext50_32x4d",
    "ResNeXt101_32x4d": "resnext101_32x4d",
    "ResNeXt101_32x8d": "resnext101_32x8d",
    "ResNeXt101_32x16d": "resnext101_32x16d",
    "ResNeXt101_64x4d": "resnext101_64x4d",
    "WideResNet50_2": "wide_resnet50_2",
    "WideResNet101_2": "wide_resnet101_2",
    "SEResNet50": "seresnet50",
    "SEResNet101": "seresnet101",
    "SEResNet152": "seresnet152",
    "SEResNet152D": "seresnet152d",
    "SEResNeXt50_32x4d": "seresnext50_32x4d",
    "SEResNeXt101_32x8d": "seresnext101_32x8d",
    "SEResNeXt101D_32x8d": "seresnext101d_32x8d",
}
TIMMS_ALONE = ("ResNeXt101_32x4d", "ResNeXt101_32x16d")
TORCHVISION = {
    ours: theirs
    for ours, theirs in TIMM.items()
    if not ours.endswith(("D", "V2")) and not ours.startswith("SE") and ours not in TIMMS_ALONE
}


@functools.cache
def torchvision():
    """The package."""
    torch = pytest.importorskip("torch", reason="the reference runs in PyTorch")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    return feeders.import_torchvision(torch)


def timm(network, classes=7):
    """timm's module of our network's name."""
    torchvision()
    return randomised(pytest.importorskip("timm").create_model(TIMM[network], num_classes=classes))


def torchvisions(network, classes=7):
    return randomised(getattr(torchvision().models, TORCHVISION[network])(num_classes=classes))


def huggingface(folder, network, classes=7):
    """transformers' ResNetForImageClassification, saved in `folder`."""
    torchvision()  # which transformers imports
    transformers = pytest.importorskip("transformers")
    basic = network in ("ResNet18", "ResNet34")
    depths = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 6, 3), "101": (3, 4, 23, 3)}
    config = transformers.ResNetConfig(
        depths=list(depths[re.search(r"\d+", network)[0]]),
        hidden_sizes=[64, 128, 256, 512] if basic else [256, 512, 1024, 2048],
        layer_type="basic" if basic else "bottleneck",
        downsample_in_bottleneck=network in ("ResNet50", "ResNet101"),
        num_labels=classes,
    )
    model = randomised(transformers.ResNetForImageClassification(config))
    model.save_pretrained(folder)
    return model


def randomised(module, seed=0):
    """In evaluation mode, each tensor drawn anew so that signals keep their size through any depth, statistics too."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.ndim == 0:
                continue
            if value.ndim > 1:
                fan_in = value[0].numel()
                value.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("weight"):  # below 1: what grows with depth loses digits
                value.uniform_(0.2, 0.8, generator=generator)
            else:
                value.normal_(0, 0.2, generator=generator)
    return module.eval()


def logits(module, pictures):
    """What the module makes of raw pictures [B,H,W,3], after ImageNet's mean and deviation."""
    import torch

    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = np.moveaxis((pictures / 255 - mean) / std, -1, 1).astype(np.float32)
    with torch.no_grad():
        out = module(torch.from_numpy(np.ascontiguousarray(x)))
    return getattr(out, "logits", out).numpy()


def apart(ours, theirs):
    """Largest difference, relative to the largest logit."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return np.abs(ours - theirs).max() / np.abs(theirs).max()
