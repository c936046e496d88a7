"""The paper's figures as data, against the counted networks and each other."""

import json
import pathlib

from keras_resnet.commands.paper import figures
from keras_resnet.networks import models

COUNTED = pathlib.Path(figures.__file__).parents[1] / "models.json"


def test_table_1_is_the_architecture_of_the_networks_of_these_names():
    counted = {row["name"]: row for row in json.loads(COUNTED.read_text("utf-8"))}
    for name, published in figures.TABLE_1.items():
        network = models.NETWORKS[name]
        assert network.depths == published.blocks and network.widths == figures.FILTERS
        assert network.block.__name__ == published.block
        each = {"basic": 2, "bottleneck": 3}[published.block]
        assert published.layers == 2 + each * sum(published.blocks) == int(name[6:])
        assert counted[name]["parameters"] == published.parameters
        # printed with one digit, cut (ResNet-34) or rounded
        assert abs(counted[name]["macs"] / 1e9 - published.gflops) < 0.1


def test_a_network_has_one_figure_in_all_tables_of_ten_crops():
    both = figures.TABLE_2.keys() & figures.TABLE_3.keys()
    assert both == {("PlainNet34", "none"), ("ResNet34", "A")}
    for key in both:
        assert figures.TABLE_2[key] == figures.TABLE_3[key]


def test_more_scales_and_more_depth_err_less():
    for key, error in figures.TABLE_4.items():
        assert error.top1 < figures.TABLE_3[key].top1 and error.top5 < figures.TABLE_3[key].top5
    for table in (figures.TABLE_3, figures.TABLE_4, figures.ONE_CROP):
        errors = [error.top1 for error in table.values()]
        assert errors == sorted(errors, reverse=True)


def test_every_network_is_one_of_the_package():
    tables = (figures.TABLE_2, figures.TABLE_3, figures.TABLE_4, figures.ONE_CROP)
    named = {name for table in tables for name, _ in table} | figures.TABLE_6.keys()
    assert named | figures.TABLE_1.keys() <= models.NETWORKS.keys()
