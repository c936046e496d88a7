"""Evaluation that counts: every example exactly once, in whole numbers."""

from typing import NamedTuple

import keras
import numpy as np


class Count(NamedTuple):
    """What came of an evaluation; `loss` is the mean cross-entropy in nats."""

    correct: int
    examples: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of the examples that are right, in [0, 1]."""
        return self.correct / self.examples


def count(model: keras.Model, batches, *, after_batch=lambda: None) -> Count:
    """Counts the examples whose highest logit is their label's.

    Args:
        model: pictures [B,...] -> logits [B,K].
        batches: of (images [B,...], labels [B], weights [B]); a weight of 0 marks padding, which is
            left out.
        after_batch: called after each batch; may raise to end early.

    Raises:
        ValueError: there is no example.
    """
    correct, examples, losses = 0, 0, []
    for images, labels, weights in batches:
        logits = np.asarray(model.predict_on_batch(images), np.float64)
        real = _numpy(weights) > 0
        logits, labels = logits[real], _numpy(labels)[real]
        correct += int((logits.argmax(-1) == labels).sum())
        examples += len(labels)
        top = logits.max(-1, keepdims=True)
        normalizer = top[:, 0] + np.log(np.exp(logits - top).sum(-1))
        losses.append(float((normalizer - logits[np.arange(len(labels)), labels]).sum()))
        after_batch()
    if not examples:
        raise ValueError("There is no example to evaluate on.")
    return Count(correct, examples, sum(losses) / examples)


def _numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)
