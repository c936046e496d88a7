"""Evaluation that counts: every example exactly once, in whole numbers.

Scores are kept as logarithms of probabilities in float64. Several views of a picture (ten crops,
scales, mirrors) and several networks are one average of probabilities, as the paper's 3.4 and its
forerunners have it: Krizhevsky 2012, 4.1 for crops, Simonyan 2015, 3.2 for scales and mirrors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_resnet.data import views
from keras_resnet.networks import layers
from keras_resnet.networks.flat import flat
from keras_resnet.support import errors
from keras_resnet.training.measures import Figures


class Count(NamedTuple):
    """What came of an evaluation; `loss` is the mean cross-entropy in nats."""

    correct: int
    examples: int
    loss: float
    top5_correct: int

    @property
    def accuracy(self) -> float:
        """Fraction of the examples that are right, in [0, 1]."""
        return self.correct / self.examples

    @property
    def top5_accuracy(self) -> float:
        """Fraction of the examples whose label is among the five highest scores, in [0, 1]."""
        return self.top5_correct / self.examples

    @property
    def figures(self) -> Figures:
        """As `training.fit` takes them: the accuracy decides."""
        sentence = f"{self.accuracy:.2%} of {self.examples} {{called}} pictures right"
        return Figures({"loss": self.loss, "accuracy": self.accuracy}, "accuracy", True, sentence)


class Verdicts(NamedTuple):
    """What became of N examples.

    Args:
        labels: int64 [N].
        guesses: int64 [N], the classes of the highest scores.
        ranks: int64 [N], how many classes stand before the label's: 0 is right. Of equal scores the
            lower index stands first. A score that is no number stands before the label, and a label
            whose score is no number stands last.
        losses: float64 [N], cross-entropy in nats.
    """

    labels: np.ndarray
    guesses: np.ndarray
    ranks: np.ndarray
    losses: np.ndarray


# --- counting


def count(
    model: keras.Model,
    batches: Iterable[tuple],
    *,
    after_batch: Callable[[], None] = lambda: None,
    sums: Callable[[list[float]], Sequence[float]] | None = None,
) -> Count:
    """Counts the examples whose highest logit is their label's; of sequences each position is an example.

    Args:
        model: pictures [B,...] -> logits [B,K], or sequences [B,...] -> logits [B,T,K].
        batches: of (images [B,...], labels [B], weights [B]), or labels [B,T] and weights [B] or [B,T]; a weight of 0
            marks padding, which is left out.
        after_batch: called after each batch; may raise to end early.
        sums: where each of several workers counts its part: what gives the sums over all workers of
            a list of numbers (`strategies.Devices.total`). It is called once, by every worker,
            whatever happens to it before, so that none waits for another.

    Returns:
        The count of all examples, those of the other workers included.

    Raises:
        ValueError: there is no example, on any worker; another worker failed.
    """
    judged, failure = [], None
    try:
        for images, labels, weights in batches:
            real = _numpy(weights) > 0
            if real.any():  # thousands of bad files in a row need no network
                shares = _log_probabilities(model, images)[real]
                judged.append(
                    judge(shares.reshape(-1, shares.shape[-1]), _numpy(labels)[real].reshape(-1))
                )
            after_batch()
    except Exception as error:
        if sums is None:
            raise
        failure = error
    if sums is None:
        return total(joined(judged))
    ranks, losses = (
        np.concatenate([getattr(verdicts, name) for verdicts in judged] or [np.zeros(0)])
        for name in ("ranks", "losses")
    )
    counted = [failure is not None, len(ranks), (ranks < 1).sum(), losses.sum(), (ranks < 5).sum()]
    failures, examples, correct, loss, top5 = sums([float(number) for number in counted])
    if failure:
        raise failure
    if failures:
        raise ValueError(
            "Another worker could not evaluate its part: the message of that worker says why."
        )
    if not examples:
        raise ValueError("There is no example to evaluate on.")
    return Count(round(correct), round(examples), float(loss / examples), round(top5))


def judge(shares: np.ndarray, labels: np.ndarray) -> Verdicts:
    """Holds scores [N,K], log-probabilities float64, against labels int [N] in 0..K-1."""
    labels = labels.astype(np.int64)
    right = np.take_along_axis(shares, labels[:, None], -1)
    before = ~(shares <= right)  # true of what is no number, too
    before |= (shares == right) & (np.arange(shares.shape[-1]) < labels[:, None])
    return Verdicts(labels, shares.argmax(-1), before.sum(-1), -right[:, 0])


def likeliest(shares: np.ndarray, sets: list[np.ndarray]) -> np.ndarray:
    """Of each picture's right classes, int64 [n] with n > 0, the one of the highest score; int64 [N].

    Held against it, a picture is right if its best guess is any of them (Beyer 2020, 3).
    """
    return np.array([right[row[right].argmax()] for row, right in zip(shares, sets, strict=True)])


def joined(judged: list[Verdicts]) -> Verdicts:
    """The verdicts of all batches.

    Raises:
        ValueError: there is no example.
    """
    if not sum(len(verdicts.labels) for verdicts in judged):
        raise ValueError("There is no example to evaluate on.")
    return Verdicts(*map(np.concatenate, zip(*judged, strict=True)))


def total(verdicts: Verdicts) -> Count:
    """The whole numbers; with five classes or fewer every example counts for the top 5."""
    ranks, losses = verdicts.ranks, verdicts.losses
    n = len(ranks)
    return Count(int((ranks < 1).sum()), n, float(losses.sum() / n), int((ranks < 5).sum()))


def confusion(verdicts: Verdicts, classes: int) -> np.ndarray:
    """int64 [K,K]: how many examples of the row's class were taken for the column's."""
    pairs = verdicts.labels * classes + verdicts.guesses
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def per_class(verdicts: Verdicts) -> list[tuple[int, Count, int | None]]:
    """(class, its count, what its wrong ones were taken for most often) of each class with
    examples; the least accurate first, then by index."""
    rows = []
    for label in np.unique(verdicts.labels):
        its = Verdicts(*(part[verdicts.labels == label] for part in verdicts))
        wrong = its.guesses[its.ranks > 0]
        rows.append(
            (int(label), total(its), int(np.bincount(wrong).argmax()) if len(wrong) else None)
        )
    return sorted(rows, key=lambda row: row[1].accuracy)


# --- scoring


def check(model: keras.Model) -> None:
    """Raises ValueError unless the model has one input [B,H,W,C] and one output [B,K], softmax or logits."""
    net = flat(model)
    layers.channels_last_only(net, "Evaluation, explanations and exports take")
    shape, scores = net.input_shape, net.output_shape
    if not (
        isinstance(shape, tuple)
        and len(shape) == 4
        and isinstance(scores, tuple)
        and len(scores) == 2
    ):
        raise ValueError(
            f"{model.name} takes {shape} and gives {scores}; expected a classifier of pictures: one "
            "input [B,H,W,C], one output [B,classes]."
        )
    last = net.layers[-1]
    if getattr(last, "activation", None) not in (
        keras.activations.softmax,
        keras.activations.linear,
    ):
        raise ValueError(
            f"{model.name} ends in {last.name} without softmax; expected softmax or logits, of a "
            "Dense or an Activation layer."
        )


def logits(model: keras.Model, size: tuple[int | None, int | None]) -> keras.Model:
    """The same network, with the same weights, for pictures of `size` and ending in logits.

    Of any size with (None, None): global average pooling and the classifier behind it are the
    classifier as a 1x1 convolution at every place of the last feature map, then the mean over the
    places (paper, 3.4): both are linear.

    Args:
        model: functional or Sequential, as `check` has it.
        size: (height, width) in pixels.

    Raises:
        ValueError: a network with another head, or one that cannot be applied to that size.
    """
    check(model)
    model = flat(model)
    shape, last = model.input_shape, model.layers[-1]

    def clone(layer):
        config = layer.get_config()
        return type(layer).from_config(
            config | {"activation": "linear"} if layer is last else config
        )

    inputs = keras.Input((*size, shape[-1]), dtype=model.input.dtype)
    try:
        with layers.building():
            network = keras.models.clone_model(model, input_tensors=inputs, clone_function=clone)
            layers.fuse(network)
        network.set_weights(model.get_weights())
    except Exception as error:  # of a layer that only knows the size it was made for
        raise ValueError(
            f"{model.name} was made for pictures of {shape[1]}x{shape[2]} and cannot be applied to "
            f"{'any size' if None in size else f'{size[0]}x{size[1]}'}: {errors.first_line(error)}"
        ) from error
    return network


def score(networks: list[keras.Model], pictures: Any) -> np.ndarray:
    """Probabilities averaged over networks, and over the views of each picture; as logarithms.

    Args:
        networks: with the same K classes, ending in logits.
        pictures: [B,H,W,C], or [B,V,H,W,C] with V views of each.

    Returns:
        float64 [B,K].
    """
    pictures = _numpy(pictures)
    each = pictures.shape[1] if pictures.ndim == 5 else 1
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    scores = np.stack([_log_probabilities(network, flat) for network in networks])
    scores = scores.reshape(len(networks), len(pictures), each, -1)
    return _mean(np.moveaxis(scores, 1, 2).reshape(-1, len(pictures), scores.shape[-1]))


def score_scales(
    networks: list[keras.Model], pictures: Any, scales: list[int], interpolation: str = "bilinear"
) -> np.ndarray:
    """Whole pictures at each scale and mirrored: probabilities averaged over all; as logarithms.

    Args:
        networks: with the same K classes, ending in logits, for pictures of any size.
        pictures: uint8 [B,H,W,C], of one size.
        scales: lengths of the shorter side, pixels (paper, 3.4: 224, 256, 384, 480, 640).
        interpolation: of the resize, "bilinear" or "bicubic".

    Returns:
        float64 [B,K].
    """
    scores = []
    for scale in scales:
        view = views.shorter_side(scale, interpolation)
        resized = np.stack([view(picture) for picture in _numpy(pictures)])
        scores += [score(networks, resized), score(networks, views.mirror(resized))]
    return _mean(np.stack(scores))


def by_shape(batches: Iterable[tuple], batch_size: int, holding: int) -> Iterator[tuple]:
    """Batches of pictures that are alike in size, from batches of one; the order changes.

    Args:
        batches: of (pictures [1,H,W,C], labels [1], weights [1]), H and W any.
        batch_size: at most that many pictures a batch; fewer where no more of a size came.
        holding: pictures kept waiting for others of their size, in all.
    """
    waiting = {}
    for pictures, labels, weights in batches:
        pictures = _numpy(pictures)
        group = waiting.setdefault(pictures.shape, [])
        group.append((pictures, _numpy(labels), _numpy(weights)))
        if len(group) == batch_size:
            yield _batch(waiting.pop(pictures.shape))
        elif sum(map(len, waiting.values())) > holding:
            yield _batch(waiting.pop(max(waiting, key=lambda shape: len(waiting[shape]))))
    yield from map(_batch, waiting.values())


def _batch(group):
    return tuple(map(np.concatenate, zip(*group, strict=True)))


def _log_probabilities(model, pictures):
    known = isinstance(pictures, np.ndarray) or keras.ops.is_tensor(pictures)
    if keras.backend.backend() != "tensorflow" and not known:
        pictures = keras.ops.convert_to_numpy(pictures)  # tf.data's, which only TensorFlow reads
    try:
        scores = np.asarray(model.predict_on_batch(pictures), np.float64)
    except Exception:
        if isinstance(model, keras.Model):
            layers.channels_last_only(model, "Evaluation takes")
        raise
    top = scores.max(-1, keepdims=True)
    return scores - (top + np.log(np.exp(scores - top).sum(-1, keepdims=True)))


def _mean(scores):
    """Logarithm of the mean over the first axis of what has these logarithms."""
    return np.logaddexp.reduce(scores, 0) - np.log(len(scores))


def _numpy(tensor):
    return (
        np.asarray(tensor) if isinstance(tensor, np.ndarray) else keras.ops.convert_to_numpy(tensor)
    )
