"""How many augmented views of each picture a linear probe wants: accuracy beside the number of views.

    python benchmarks/views.py --weights=r18.safetensors --data=FOLDER --size=96

FOLDER holds train/<class>/... and test/<class>/...; finetune.py's help says how that of CIFAR-10 was made. The frozen
network computes the features of 16 views of each training picture once, as `finetune` does. Then, for each number of
views and each of --splits, a fifth of each class is held out, a head is trained on the rest by finetune's defaults
(SGD with momentum 0.9, 30 epochs of batches of 32, the rate from 0.01 along half a cosine, coupled decay 1e-4, an end
after 8 epochs without a better one), and the best epoch's head is counted. Split s begins with view s, and has an
initial head and an order of its own, so that all numbers of views meet the same luck. The test pictures are reported
beside the held-out ones, and not used to choose.

The table goes to standard error; standard output gets one line of JSON: network, size, pictures, splits, and rows of
views, held_out and test (shares right, means over the splits), their standard errors, and epochs (mean).
"""

import pathlib
import tempfile

import numpy as np
from absl import flags

from keras_resnet import evaluation
from keras_resnet.commands import networks, start
from keras_resnet.commands.progress import say
from keras_resnet.data import draws, sources, views
from keras_resnet.data.augment import windows
from keras_resnet.data.feeds import features
from keras_resnet.training import transfer

FLAGS = flags.FLAGS
networks.define()
flags.DEFINE_string("weights", None, "A .keras file, or whatever `finetune --weights` reads.")
flags.DEFINE_string("data", None, "A folder or zip of pictures by class, with train and test.")
flags.DEFINE_integer("splits", 40, "Trainings for each number of views.", lower_bound=2)
networks.define_view(smallest=32)

VIEWS = (1, 2, 4, 8, 16)
EPOCHS, PATIENCE, BATCH = 30, 8, 32
RATE, MOMENTUM, DECAY, HOLDOUT = 0.01, 0.9, 1e-4, 0.2


def main() -> dict:
    source = sources.load(FLAGS.data)
    model, found = networks.network(FLAGS.weights, trunk=True)
    crop = networks.view_of(model, found.contract)
    trunk = evaluation.logits(model, (crop[0], crop[0]))
    body, _ = transfer.parted(transfer.head(trunk, len(source.class_names), activation=None))
    with tempfile.TemporaryDirectory() as folder:
        kept = features.Features(body.predict_on_batch, pathlib.Path(folder), {}, batch_size=BATCH)
        window = windows.RandomResizedCrop((0.35, 1.0), antialias=True)
        seen = [
            kept.windows(source.train, window, crop[0], seed=0, number=number)()
            for number in range(max(VIEWS))
        ]
        centre = kept.of(source.train, views.center(*crop), "train")()
        test = kept.of(source.test, views.center(*crop), "test")()

    labels, rows = source.train.labels, []
    many = round(HOLDOUT * len(labels))

    def result(number, split):
        rest, held = draws.holdout(labels, many, split + 1)
        order = [seen[(view + split) % len(seen)][rest] for view in range(number)]
        head, epochs = trained(order, labels[rest], centre[held], labels[held], split)
        return (
            share(head, centre[held], labels[held]),
            share(head, test, source.test.labels),
            epochs,
        )

    for number in VIEWS:
        table = np.array([result(number, split) for split in range(FLAGS.splits)])
        mean, error = table.mean(0), table.std(0, ddof=1) / len(table) ** 0.5
        row = {"views": number, "held_out": mean[0], "held_out_error": error[0], "test": mean[1]}
        rows.append(row | {"test_error": error[1], "epochs": mean[2]})
        say(
            f"{number:2} views: {mean[0]:.2%} of the held-out right (standard error {error[0]:.2%}), "
            f"{mean[1]:.2%} of the test ({error[1]:.2%}), {mean[2]:.1f} epochs"
        )
    return {
        "network": model.name,
        "size": crop[0],
        "pictures": len(labels) - many,
        "splits": FLAGS.splits,
        "rows": [{name: round(value, 4) for name, value in row.items()} for row in rows],
    }


def trained(views, labels, held, held_labels, seed):
    """A head's kernel and bias after its best epoch, and how many epochs ran."""
    rng, classes = np.random.default_rng(seed), labels.max() + 1
    limit = (6 / (views[0].shape[1] + classes)) ** 0.5  # Glorot's, Keras' default
    head = [rng.uniform(-limit, limit, (views[0].shape[1], classes)), np.zeros(classes)]
    velocity, per_epoch, best = [0.0, 0.0], len(labels) // BATCH, (-1.0, 0.0)
    kept, since = head, 0
    for epoch in range(EPOCHS):
        order = draws.permutation(seed, epoch, len(labels))
        for step in range(per_epoch):
            rows = order[step * BATCH : (step + 1) * BATCH]
            x = views[epoch % len(views)][rows]
            slope = probabilities(head, x)
            slope[np.arange(BATCH), labels[rows]] -= 1
            slope /= BATCH
            done = (epoch * per_epoch + step) / (EPOCHS * per_epoch)
            rate = RATE * (1 + np.cos(np.pi * done)) / 2
            gradients = x.T @ slope + DECAY * head[0], slope.sum(0)
            velocity = [MOMENTUM * v - rate * g for v, g in zip(velocity, gradients, strict=True)]
            head = [w + v for w, v in zip(head, velocity, strict=True)]
        right = probabilities(head, held)[np.arange(len(held)), held_labels]
        score = share(head, held, held_labels), np.log(right).mean()
        since += 1
        if score > best:
            best, kept, since = score, head, 0
        if since == PATIENCE:
            break
    return kept, epoch + 1


def probabilities(head, x):
    logits = x @ head[0] + head[1]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def share(head, x, labels):
    return (probabilities(head, x).argmax(1) == labels).mean()


if __name__ == "__main__":
    start.run(main, required=("weights", "data"))
