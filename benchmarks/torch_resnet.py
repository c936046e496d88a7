"""The paper's ResNet-50 and ResNet-20 in PyTorch: the peer that `contestants.py` trains."""

import torch
from torch import nn
from torch.nn import functional


def resnet50():
    """[B,3,H,W] -> logits [B,1000]; option B, stride on the first 1x1 (paper, Table 1)."""
    stem = [*conv_norm(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    return resnet(stem, 64, (3, 4, 6, 3), (64, 128, 256, 512), 4, 1000)


def resnet20():
    """[B,3,32,32] -> logits [B,10]; option A (paper, 4.2)."""
    return resnet([*conv_norm(3, 16, 3), nn.ReLU(inplace=True)], 16, (3, 3, 3), (16, 32, 64), 1, 10)


def resnet(stem, channels, depths, widths, expansion, classes):
    blocks = []
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for i in range(depth):
            strides = 2 if stage and not i else 1
            blocks.append(Block(channels, width, strides, expansion))
            channels = width * expansion
    net = nn.Sequential(
        *stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return net


class Block(nn.Module):
    """Two 3x3 convolutions, or with expansion > 1 the bottleneck of 1x1, 3x3, 1x1."""

    def __init__(self, channels, width, strides, expansion):
        super().__init__()
        out = width * expansion
        if expansion == 1:
            convs = [(channels, width, 3, strides), (width, out, 3)]
        else:
            convs = [(channels, width, 1, strides), (width, width, 3), (width, out, 1)]
        layers = [layer for conv in convs for layer in (*conv_norm(*conv), nn.ReLU(inplace=True))]
        self.branch = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Identity()
        if expansion == 1 and channels != out:
            self.shortcut = OptionA(out - channels, strides)
        elif channels != out:
            self.shortcut = nn.Sequential(*conv_norm(channels, out, 1, strides))

    def forward(self, x):
        return functional.relu(self.branch(x) + self.shortcut(x), inplace=True)


class OptionA(nn.Module):
    def __init__(self, new, strides):
        super().__init__()
        self.new, self.strides = new, strides

    def forward(self, x):
        x = x[:, :, :: self.strides, :: self.strides]
        return functional.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))


def conv_norm(channels, filters, kernel, strides=1):
    conv = nn.Conv2d(channels, filters, kernel, strides, kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(filters)


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
