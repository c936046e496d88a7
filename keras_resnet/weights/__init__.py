"""Weights in and out: one small file a peer, and the contract that a set of weights carries."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    contract="Contract contract_of save",
    found="Found adapt find",
    native="UnknownNetwork load",
    peers="save_safetensors",
    published="sha256",
)
