"""Which network a file's tensors are of, where neither the file nor the user says."""

import dataclasses
import functools

import keras
import pytest

import keras_resnet
from keras_resnet import applications, weights
from keras_resnet.networks import models
from keras_resnet.networks.layers import Layers
from keras_resnet.weights import names, native, peers, recognise

CIFAR = [name for name, spec in models.NETWORKS.items() if spec.size == 32]


@functools.cache
def build(name, include_top=True, classes=3):
    return applications.get(name)(
        include_top, classes=classes, layers=Layers(kernel_initializer=keras.initializers.Zeros)
    )


def of_peer(name, **arguments):
    """What `find` would give of a peer's file of this network, without the values."""
    model = build(name, **arguments)
    peer = names.peer_for(model)
    content = {
        names.NAMINGS[peer].name(place.layer, place.variable): peers._theirs(place)
        for place in peers.places(model)
    }
    return weights.Found("x", peer, None, weights.Contract(), False, 3, 3, content)


def expected(name):
    """As peers have it: CIFAR's are akamaster's, which are residual, and whose second order nobody publishes."""
    if name in CIFAR and name.startswith("PlainNet"):
        return [name.replace("Plain", "Res")]
    return [recognise.TWINS[name] if recognise._is_older_twin(name) else name]


@pytest.mark.parametrize("name", ["ResNet18", "ResNet18D", "ResNet20"])
def test_a_state_dict_shows_its_network(name):
    assert recognise.networks(of_peer(name), build) == expected(name)


@pytest.mark.slow
def test_every_network_of_the_table_is_recognised_from_a_state_dict():
    for name in keras_resnet.list_models():
        assert recognise.networks(of_peer(name), build) == expected(name), name


def test_a_trunk_and_other_classes_and_strange_shapes():
    trunk = functools.partial(build, include_top=False)
    assert recognise.networks(of_peer("ResNet18", include_top=False), trunk) == ["ResNet18"]
    assert recognise.networks(of_peer("ResNet18"), functools.partial(build, classes=4)) == []
    found = of_peer("ResNet18")
    strange = found.content | {"layer1.0.conv1.weight": (63, 64, 3, 3)}
    assert recognise.networks(dataclasses.replace(found, content=strange), build) == []
    less = {name: shape for name, shape in found.content.items() if "layer4.1" not in name}
    assert recognise.networks(dataclasses.replace(found, content=less), build) == []


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("ResNet18V2", ["ResNet18V2"]),
        ("ResNet20", ["PlainNet20", "ResNet20", "ResNet20V2"]),
    ],
)
def test_keras_weights_show_it_by_shapes_alone(name, alike, tmp_path):
    path = tmp_path / "x.weights.h5"
    build(name).save_weights(path)
    found = weights.find(path, None)
    assert not found.certain
    assert sorted(recognise.networks(found, build)) == alike
    assert native.fits(build(name), found.content) and found.fits(build(name))
