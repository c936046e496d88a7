"""Weights in and out: one small file a peer. So far our own `.keras` and `.weights.h5`."""

from keras_resnet.weights.native import check, load, load_into

__all__ = ["check", "load", "load_into"]
