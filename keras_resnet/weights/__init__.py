"""Weights in and out: one small file a peer, and the contract that a set of weights carries.

Peers are other packages whose weights are read and written: torchvision, timm, Hugging Face's, keras-hub,
keras.applications.
Errors that are called "the rest of a sentence" begin in small letters: the caller puts the file's name in front.
"""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    contract="Contract contract_of save",
    found="Found adapt find",
    keras_hub_writer="save_preset",
    native="UnknownNetwork load",
    peers="save_safetensors",
    published="sha256",
)
