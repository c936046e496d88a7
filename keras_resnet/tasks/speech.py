"""Spoken words: a network from a second of sound to what was said, and what it is held against.

    net = speech.network(classes=10, rate=8000)     # sound [B,8000] -> logits [B,10]

The same blocks with two fronts: a log-mel spectrogram and convolutions of rank 2 (as for pictures), or the waveform and
convolutions of rank 1.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import keras
import numpy as np

from keras_resnet.data.sources.sounds import Recordings
from keras_resnet.networks import blocks, fronts, models
from keras_resnet.networks.blocks import Order, Shortcut
from keras_resnet.networks.layers import Layers
from keras_resnet.networks.log_mel import LogMel

FRONTS = ("log_mel", "waveform")
_MFCC = 13  # coefficients, the usual number


def network(
    classes: int,
    rate: int,
    *,
    seconds: float = 1.0,
    front: Literal["log_mel", "waveform"] = "log_mel",
    depth: int = 2,
    width: int = 16,
    shortcut: Shortcut = blocks.project,
    dropout: float = 0.3,
    activation: str | Callable | None = None,
    name: str = "speech",
) -> keras.Model:
    """Sound [B,seconds * rate] in float32, of any level -> float32 [B,classes].

    Behind "log_mel" (40 bands, frames of 32 ms every 16 ms): a 5x5 convolution of stride 2 and three stages of basic
    blocks, 6 * depth + 2 layers. Behind "waveform": a convolution of 81 samples and stride 4 (Dai 2017 has 80), a
    max-pool of stride 4, and four stages, all but the first of stride 4.

    Args:
        classes: at least 1.
        rate: samples a second, at least 1,000.
        seconds: what it hears at a time.
        depth: blocks a stage.
        width: filters of the first stage; each further one has twice as many.
        shortcut: of `blocks`; `blocks.none` is the plain net of the same depth.
        dropout: before the classifier, in [0, 1).
        activation: of the classifier; None gives logits.

    Raises:
        ValueError: another front, or what `models.resnet` refuses.
    """
    if front not in FRONTS:
        raise ValueError(f"front must be one of {', '.join(FRONTS)}; got {front!r}.")
    inputs = keras.Input((round(seconds * rate),), name="sound")
    head = functools.partial(
        models.classifier, classes=classes, activation=activation, dropout=dropout
    )
    if front == "log_mel":
        x, stages, strides = fronts.log_mel(inputs, rate), 3, None
        stem = functools.partial(_strided, filters=width)
    else:
        x, stages, strides = fronts.waveform(inputs), 4, (1, 4, 4, 4)
        stem = functools.partial(_long, filters=width)
    return models.resnet(
        x,
        (depth,) * stages,
        tuple(width * 2**i for i in range(stages)),
        stem=stem,
        head=head,
        strides=strides,
        shortcut=shortcut,
        name=name,
    )


def _strided(x, *, order: Order, layers: Layers, filters):
    x = layers.conv(x, filters, 5, 2, name="conv1_conv")
    return order.opening(x, layers=layers, name="conv1")


def _long(x, *, order: Order, layers: Layers, filters):
    x = layers.conv(x, filters, 81, 4, name="conv1_conv")
    x = order.opening(x, layers=layers, name="conv1")
    return layers.max_pool(x, 5, 4, name="pool1_pool")


# --- the simple peer


def mfcc(recordings: Recordings) -> np.ndarray:
    """What a speech recogniser of the years before neural networks heard, float64 [N,F].

    13 mel-frequency cepstral coefficients of each frame (the log-mel spectrogram's first cosines, Davis 1980) and their
    differences from frame to frame: mean and deviation over the recording, and the mean in each fifth of it. The whole
    recording is heard, without silence around it.
    """
    from scipy import fft

    rate = recordings.rate
    frame, step = round(0.032 * rate), round(0.016 * rate)
    heard = LogMel(rate, frame, step, 40)
    rows = []
    for samples in recordings.samples:
        samples = np.pad(samples, (0, max(0, 5 * step + frame - len(samples))))
        frames = keras.ops.convert_to_numpy(heard(samples[None]))[0, :, :, 0].astype(np.float64)
        cepstrum = fft.dct(frames, norm="ortho")[:, :_MFCC]
        both = np.concatenate([cepstrum, np.gradient(cepstrum, axis=0)], 1)
        parts = [part.mean(0) for part in np.array_split(both, 5)]
        rows.append(np.concatenate([both.mean(0), both.std(0), *parts]))
    return np.stack(rows)


def baseline(train: Recordings, test: Recordings) -> np.ndarray:
    """Classes that a support vector machine on MFCCs hears in `test`, int64 [N], by scikit-learn.

    C is chosen by cross-validation in `train`, over speakers where their names are known.
    """
    from sklearn import model_selection, pipeline, preprocessing, svm

    machine = pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC())
    voices = np.array(train.speakers)
    known = len({*train.speakers}) > 1
    folds = model_selection.GroupKFold(min(5, len({*voices}))) if known else 5
    search = model_selection.GridSearchCV(
        machine, {"svc__C": [1.0, 10.0, 100.0], "svc__gamma": ["scale", 1e-3, 3e-4]}, cv=folds
    )
    search.fit(mfcc(train), train.labels, groups=voices if known else None)
    return search.predict(mfcc(test))


# --- what was heard


def judged(
    net: keras.Model, batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """(log-probabilities float64 [N,K], labels int64 [N]) of batches (sound, labels, weights) with weight above 0.

    Args:
        net: sound [B,T] -> logits [B,K].
    """
    from scipy import special

    shares, labels = [], []
    for sound, label, weights in batches:
        real = np.asarray(weights) > 0
        logits = np.asarray(net.predict_on_batch(sound), np.float64)
        shares.append(special.log_softmax(logits, -1)[real])
        labels.append(np.asarray(label)[real])
    return np.concatenate(shares), np.concatenate(labels).astype(np.int64)


def parted(recordings: Recordings, unseen: str | None = None) -> tuple[Recordings, Recordings]:
    """(to train on, to test on): by the recordings' own split, or all of one speaker to test on.

    Raises:
        ValueError: neither is there, or one of the two is empty or lacks a class.
    """
    if unseen is not None:
        known = sorted({*recordings.speakers} - {""})
        if unseen not in known:
            raise ValueError(
                f"There is no speaker {unseen!r}: "
                + (f"there are {', '.join(known)}." if known else "the names do not tell speakers.")
            )
        tested = np.array(recordings.speakers) == unseen
    elif recordings.tested is not None:
        tested = recordings.tested
    else:
        raise ValueError(
            "Nothing tells which recordings are to test on: put them into folders train/<class> and test/<class>."
        )
    parts = [recordings.subset(np.flatnonzero(chosen)) for chosen in (~tested, tested)]
    for part, purpose in zip(parts, ("train", "test"), strict=True):
        missing = sorted({*range(len(recordings.class_names))} - {*part.labels.tolist()})
        if missing and (purpose == "train" or not len(part)):
            raise ValueError(
                f"There is no recording of {recordings.class_names[missing[0]]!r} to {purpose} on: add some."
            )
    return parts[0], parts[1]


def mistakes(
    names: Sequence[str], shares: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> list[tuple[str, str, str, float]]:
    """(name, what it is, what was heard, the probability of that in [0, 1]) of each wrong one, the surest first."""
    heard = shares.argmax(-1)
    wrong = np.flatnonzero(heard != labels)
    rows = [
        (
            names[i],
            class_names[labels[i]],
            class_names[heard[i]],
            float(np.exp(shares[i, heard[i]])),
        )
        for i in wrong
    ]
    return sorted(rows, key=lambda row: (-row[3], row[0]))
