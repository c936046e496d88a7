"""Weights in and out: one small file a peer, and the contract that a set of weights carries."""

from keras_resnet.weights.contract import Contract, contract_of, save
from keras_resnet.weights.found import Found, adapt, find
from keras_resnet.weights.native import load
from keras_resnet.weights.peers import save_safetensors
from keras_resnet.weights.published import sha256

__all__ = [
    "Contract",
    "Found",
    "adapt",
    "contract_of",
    "find",
    "load",
    "save",
    "save_safetensors",
    "sha256",
]
