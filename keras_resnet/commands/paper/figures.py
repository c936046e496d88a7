"""What the paper reports, table by table: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition",
arXiv 1512.03385 (2015). Errors are in %; None where it gives no figure."""

from typing import NamedTuple

PAPER = "He et al. 2015 (arXiv 1512.03385)"


class Architecture(NamedTuple):
    """A column of Table 1.

    Args:
        layers: convolutions and dense layers, without projections.
        blocks: of each stage.
        block: "basic" or "bottleneck".
        gflops: multiply-adds of one picture, 1e9, as printed: cut or rounded to one place.
        parameters: trainable; the paper prints none, this is the count of its architecture with option B.
    """

    layers: int
    blocks: tuple[int, ...]
    block: str
    gflops: float
    parameters: int


class Error(NamedTuple):
    """Errors on ImageNet's validation pictures, %."""

    top1: float | None
    top5: float | None


# Table 1, at 224 x 224 pixels and 1,000 classes.
TABLE_1 = {
    "ResNet18": Architecture(18, (2, 2, 2, 2), "basic", 1.8, 11_689_512),
    "ResNet34": Architecture(34, (3, 4, 6, 3), "basic", 3.6, 21_797_672),
    "ResNet50": Architecture(50, (3, 4, 6, 3), "bottleneck", 3.8, 25_557_032),
    "ResNet101": Architecture(101, (3, 4, 23, 3), "bottleneck", 7.6, 44_549_160),
    "ResNet152": Architecture(152, (3, 8, 36, 3), "bottleneck", 11.3, 60_192_808),
}
# Filters of the 3x3 convolutions of its stages.
FILTERS = (64, 128, 256, 512)

# Of the tables below the keys are (network, shortcut).
# Table 2 and figure 4: plain and residual, ten crops.
TABLE_2 = {
    ("PlainNet18", "none"): Error(27.94, None),
    ("PlainNet34", "none"): Error(28.54, 10.02),
    ("ResNet18", "A"): Error(27.88, None),
    ("ResNet34", "A"): Error(25.03, 7.76),
}
# Table 3: ten crops.
TABLE_3 = {
    ("PlainNet34", "none"): Error(28.54, 10.02),
    ("ResNet34", "A"): Error(25.03, 7.76),
    ("ResNet34", "B"): Error(24.52, 7.46),
    ("ResNet34", "C"): Error(24.19, 7.40),
    ("ResNet50", "B"): Error(22.85, 6.71),
    ("ResNet101", "B"): Error(21.75, 6.05),
    ("ResNet152", "B"): Error(21.43, 5.71),
}
# Table 4: one network, fully convolutional at five scales.
TABLE_4 = {
    ("ResNet34", "B"): Error(21.84, 5.71),
    ("ResNet34", "C"): Error(21.53, 5.60),
    ("ResNet50", "B"): Error(20.74, 5.25),
    ("ResNet101", "B"): Error(19.87, 4.60),
    ("ResNet152", "B"): Error(19.38, 4.49),
}
# Table 5: six networks averaged, on the test pictures.
TABLE_5 = Error(None, 3.57)
# The centre crop alone, of the models that the authors released.
ONE_CROP = {
    ("ResNet50", "B"): Error(24.7, None),
    ("ResNet101", "B"): Error(23.6, None),
    ("ResNet152", "B"): Error(23.0, None),
}
# Table 6: test error on CIFAR-10. That of ResNet-110 is the best of five runs, whose mean is 6.61 +- 0.16.
TABLE_6 = {
    "ResNet20": 8.75,
    "ResNet32": 7.51,
    "ResNet44": 7.17,
    "ResNet56": 6.97,
    "ResNet110": 6.43,
    "ResNet1202": 7.93,
}
