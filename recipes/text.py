"""Texts of classes: a residual network over the words, on the scores of a linear model.

    python recipes/text.py --data=text_ag_news.zip --workdir=runs/text --runs=3 --baseline
    python recipes/text.py --preset=sentiment --data=sentiment_rt_polarity.zip --workdir=runs/sentiment --baseline

--data is a file, a folder or a zip: tables (.csv, .tsv, .jsonl) with a class and a text a row, named as AG News'
columns or in its order (class, title, description) or with the class last, where a classes.txt may name what numbers
stand for; files of one text a line, one a class (rt-polarity.pos, .neg); or folders of .txt files, one a class. Files
or folders called test are tested on. What is empty, no UTF-8, of other columns or of an unknown class is left out and
counted, and so is a text to train on that is also in the test.

Two parts answer together, by the sum of their logits. The linear part is logistic regression on TF-IDF of words, pairs
of words and pieces of words. The residual part has an embedding, which begins with what the words' neighbours in the
training texts tell, a convolution and --depth residual blocks of rank 1, and the maximum over the text. In training it
gets for each text the scores of a linear model that was fitted without that text (five folds), and for --alone of the
texts no scores, so that it is good at both. Some words are made unknown ones, which is what words that training did
not have are in prediction.

AdamW, the rate up in a line and down along half a cosine; the last epoch's weights are kept. --validate sets texts
apart to choose flags by; the test is looked at once, at the end. --runs=3 trains three networks, with --seed and those
that follow; --folds=10 tests on each tenth of the texts in turn, with both parts trained on the other nine.

--baseline fits what is usually taken, logistic regression on TF-IDF of words and on naive Bayes' ratios (Wang and
Manning 2012), to the same texts, and trains the plain net of equal depth. --weights begins with the residual part of
such a run's model.keras and its words (--mode: what of it trains); the linear part is fitted to --data.

It runs on `training.fit`: run again, after whatever stopped it, the same command goes on and ends with the same
weights, bit for bit. The work folder gets flags.txt, versions.txt, left_out.txt, mistakes.tsv (place, class, what the
text was taken for, how sure, text), confusion.png, final.json and, for several networks in a folder each,
metrics.jsonl, tensorboard/, curves.png, checkpoint-*.npz and model.keras (strings in, probabilities out). final.json:
correct, examples, accuracy (a share), linear and alone (the same of the two parts, with p of McNemar's test against
both together), baseline (the better of the usual ones on the same test; peers has both), plain (the plain net with the
same linear part), texts (trained on), repeated (training texts that are in the test), left_out, parameters (that
trained), weights_sha256 (of the residual part), seconds (training), seed; of --runs or --folds, seeds, networks (name
-> the same) and as accuracy the mean over them. There p is the highest of the runs', or of all folds together.
"""

import hashlib

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import keras
import numpy as np
from absl import flags
from scipy import special

from keras_resnet import evaluation, training, weights
from keras_resnet.commands import command_line, run
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data import draws
from keras_resnet.data.feeds import words as feed
from keras_resnet.data.sources import texts as sources
from keras_resnet.evaluation import comparing, plots
from keras_resnet.networks import ngrams
from keras_resnet.networks.blocks import SHORTCUTS
from keras_resnet.support import files
from keras_resnet.tasks import linear, speech, text
from keras_resnet.training import logs, optimizers, runtime, schedules, transfer
from keras_resnet.training.measures import Figures, Measures

FLAGS = flags.FLAGS
MODES = {"full": "full", "last_stage": "last_stage", "frozen": "linear"}
RISE = 0.1  # share of the steps in which the rate goes up
run.define_workdir()
command_line.define_preset()
flags.DEFINE_string("data", None, "A file, folder or zip of texts: see above.")
flags.DEFINE_integer("runs", 1, "Networks to train, each with another seed.", lower_bound=1)
flags.DEFINE_integer(
    "folds", 0, "Tests on each of so many parts of the texts in turn; 0: on the test.", 0
)
flags.DEFINE_float(
    "validate",
    0.0,
    "Share of each class that is evaluated after each epoch, not trained on.",
    0,
    0.9,
)
flags.DEFINE_bool("baseline", False, "Fit the usual linear models, and train the plain net, too.")
# --- The network
flags.DEFINE_string(
    "weights", "none", "A model.keras of this recipe, to begin with; none: a random network."
)
flags.DEFINE_enum(
    "mode",
    "full",
    list(MODES),
    "What trains of --weights: all, the blocks and the head, or the head.",
)
flags.DEFINE_enum(
    "shortcut", "B", list(SHORTCUTS), "The paper's shortcuts (3.3); none is the plain network."
)
flags.DEFINE_integer("depth", 2, "Blocks of two convolutions.", lower_bound=1)
flags.DEFINE_integer("width", 64, "Channels.", lower_bound=1)
flags.DEFINE_integer("length", 64, "Words of a text that the residual part reads.", lower_bound=1)
flags.DEFINE_float("strength", linear.STRENGTH, "scikit-learn's C of the linear part.", 1e-6)
# --- Training
flags.DEFINE_integer("epochs", 8, "Passes over the training texts.", lower_bound=1)
flags.DEFINE_integer("batch_size", 50, "Texts an update.", lower_bound=1)
flags.DEFINE_float("rate", 2e-3, "Highest learning rate.", lower_bound=0.0)
flags.DEFINE_float("weight_decay", 0.05, "Decoupled, on kernels and embeddings.", lower_bound=0.0)
flags.DEFINE_float("dropout", 0.5, "Before the classifier.", 0.0, 0.99)
flags.DEFINE_float("unknown", 0.2, "Share of the words that are made unknown ones.", 0.0, 0.99)
flags.DEFINE_float("alone", 0.5, "Share of the texts without the linear part's scores.", 0.0, 1.0)
flags.DEFINE_float("smoothing", 0.1, "Of the labels.", 0.0, 0.99)

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "mode", "shortcut", "depth", "width", "length", "strength", "epochs", "batch_size", "rate",
    "weight_decay", "dropout", "unknown", "alone", "smoothing", "validate", "folds",
)  # fmt: skip


def main() -> dict:
    refuse()
    runtime.prepare(seed=FLAGS.seed)
    begun = beginning()
    data = sources.load(FLAGS.data)
    say(f"{FLAGS.data}: {data.summary()}")
    if len(data.class_names) < 2:
        raise ValueError(f"{FLAGS.data} holds one class only: there is nothing to tell apart.")
    splits = divided(data)
    workdir = run.make_workdir()
    run.describe(workdir)
    finals, answers, parts = {}, [], {}
    for name, (seed, train, test, repeated) in splits.items():
        folder = workdir
        if len(splits) > 1:
            say(f"--- {name}")
            folder = workdir / name
            folder.mkdir(exist_ok=True)
        if FLAGS.folds or not parts:  # all runs have the same linear models
            parts = linear_parts(train, test)
        finals[name], answer = network(test, seed, begun, parts, folder)
        finals[name] |= {"repeated": len(repeated)}
        answers.append(answer)
        if len(splits) > 1:
            run.finish(folder, finals[name])
        keras.backend.clear_session()
    final = finals[name]
    if len(splits) > 1:
        final = comparing.summed([answer["right"] for answer in answers], FLAGS.folds > 0)
        seeds = [one["seed"] for one in finals.values()]
        final = named(final) | {"seeds": seeds, "networks": finals}
    also = () if FLAGS.folds else repeated
    left_out = [*data.bad, *(f"{place}: is also in the test" for place in also)]
    final["left_out"] = len(left_out)
    files.write(workdir / "left_out.txt", "".join(f"{line}\n" for line in left_out))
    show(workdir, data, answers)
    run.finish(workdir, final)
    beside = ", ".join(
        f"{kind} {final[kind]['accuracy']:.2%}"
        for kind in ("linear", "alone", "plain", "baseline")
        if kind in final
    )
    say(f"{final['accuracy']:.2%} right, {beside}. In {workdir}.")
    return final


def refuse():
    """What flags contradict each other."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Strings are read by TensorFlow, but KERAS_BACKEND is {keras.backend.backend()}: take it away."
        )
    if FLAGS.folds == 1 or (FLAGS.folds and FLAGS.runs > 1):
        raise ValueError(
            f"--folds takes 2 or more, and one network each; got --folds={FLAGS.folds} --runs={FLAGS.runs}."
        )
    if FLAGS.export and FLAGS.folds:
        raise ValueError("--export takes one network, but --folds trains one for each part.")
    if FLAGS.weights == "none" and FLAGS.mode != "full":
        raise ValueError(
            f"--mode={FLAGS.mode} trains a part of --weights, but there are none: a random network trains whole."
        )
    if FLAGS.baseline and FLAGS.shortcut == "none":
        raise ValueError("--baseline trains the plain net too, but --shortcut=none is that.")
    if FLAGS.baseline and FLAGS.weights != "none":
        raise ValueError(
            "--baseline trains a plain net from the start, but --weights begins with another: leave one out."
        )


def divided(data):
    """{name: (seed, to train on, to test on, texts that were left out of training)} of each network."""
    if FLAGS.folds and data.tested is not None:
        raise ValueError(f"{FLAGS.data} has a test, so --folds has no place: leave it out.")
    if FLAGS.folds:
        parts = text.folds(data, FLAGS.folds, FLAGS.seed)
        return {f"fold-{i}": (FLAGS.seed, *part) for i, part in enumerate(parts, 1)}
    if data.tested is None:
        raise ValueError(
            f"Nothing in {FLAGS.data} tells which texts are to test on: call files or folders test, or take --folds=10."
        )
    parts, seeds = text.parted(data), range(FLAGS.seed, FLAGS.seed + FLAGS.runs)
    return {f"seed-{seed}": (seed, *parts) for seed in seeds}


def linear_parts(train, test):
    """What does not depend on a network's seed: plain texts, out-of-fold scores, the linear part, the usual models."""
    held = None  # what is evaluated after each epoch
    if FLAGS.validate:
        count = max(1, round(FLAGS.validate * len(train)))
        rest, aside = draws.holdout(train.labels, count, FLAGS.seed)
        train, held = train.subset(rest), train.subset(aside)
    plain = linear.plain(train.texts)
    parts = {"train": train, "held": held, "plain": plain}
    say(f"The linear part, on {len(train):,} texts, and five more for their scores.")
    parts["scores"] = linear.out_of_fold(plain, train.labels, FLAGS.seed, FLAGS.strength)
    parts["fitted"] = linear.machine(FLAGS.strength).fit(plain, train.labels)
    if FLAGS.baseline:
        read = linear.plain(test.texts)
        parts["peers"] = {
            name: peer.fit(plain, train.labels).predict(read)
            for name, peer in linear.peers().items()
        }
    return parts


def network(test, seed, begun, parts, folder):
    """Trains and tests one network: (what final.json says of it, what its test has)."""
    train = parts["train"]
    classes = len(train.class_names)
    scored = linear.network(parts["fitted"], classes)
    words = begun["words"] if begun else text.vocabulary(parts["plain"], FLAGS.length)

    def trained(shortcut, folder):
        runtime.prepare(seed=seed)
        folder.mkdir(exist_ok=True)
        net = begun_from(begun["net"], classes) if begun else random(words, parts, seed, shortcut)
        return net, fit(net, seed, words, scored, parts, folder)

    net, seconds = trained(FLAGS.shortcut, folder)
    model = text.whole(words, net, scored)
    found = text.answers(model, test.texts)
    shares = found["together"]
    if FLAGS.baseline:
        plain = text.whole(words, trained("none", folder / "plain")[0], scored)
        found["plain"] = text.answers(plain, test.texts)["together"]
    right = {kind: scores.argmax(-1) == test.labels for kind, scores in found.items()}
    right |= {name: guesses == test.labels for name, guesses in parts.get("peers", {}).items()}
    total = evaluation.total(evaluation.judge(shares, test.labels))
    steps = logs.rows(folder)[-1]["step"]
    row = {"step": steps, "test_loss": total.loss, "test_accuracy": total.accuracy}
    logs.append(folder, row)
    plots.curves(logs.rows(folder), folder / "curves.png", net.name)
    final = {
        **named(comparing.figures(right)),
        "texts": len(train),
        "parameters": sum(int(np.prod(v.shape)) for v in net.trainable_variables),
        "weights_sha256": training.weights_sha256(net),
        "seconds": round(seconds, 1),
        "seed": seed,
    }
    save(model, net, train.class_names, final, folder)
    return final, {"test": test, "shares": shares, "right": right}


def named(found):
    """With the usual models under "peers", and the better of them as "baseline"."""
    usual = {name: found.pop(name) for name in linear.peers() if name in found}
    if not usual:
        return found
    best = max(usual, key=lambda name: usual[name]["accuracy"])
    return found | {"baseline": {"name": best, **usual[best]}, "peers": usual}


def random(words, parts, seed, shortcut):
    """A network that has learned nothing but which words stand together."""
    size, classes = words.size + ngrams.FIRST, len(parts["train"].class_names)
    choices = {"width": FLAGS.width, "depth": FLAGS.depth, "dropout": FLAGS.dropout}
    net = text.network(size, classes, FLAGS.length, shortcut=SHORTCUTS[shortcut], **choices)
    numbers = text.numbers(words, parts["train"].texts)
    net.get_layer("embedding").set_weights([text.vectors(numbers, words.size, FLAGS.width, seed)])
    return net


def fit(net, seed, words, scored, parts, folder):
    """Trains a network to the end; the seconds it took."""
    train, held = parts["train"], parts["held"]
    numbers = text.numbers(words, train.texts)
    steps_per_epoch = draws.steps_per_epoch(len(train), FLAGS.batch_size)
    steps = FLAGS.epochs * steps_per_epoch
    transfer.freeze(net, MODES[FLAGS.mode], "frozen" if FLAGS.mode == "frozen" else "train")
    beside = held and text.judged(scored, held.texts)
    read = held and text.numbers(words, held.texts)

    def evaluate(after_batch):
        shares = special.log_softmax(text.judged(net, read) + beside, -1)
        after_batch()
        count = evaluation.total(evaluation.judge(shares, held.labels))
        sentence = f"{count.accuracy:.2%} of {count.examples} {{called}} texts right"
        return Figures({"loss": count.loss, "accuracy": count.accuracy}, "accuracy", True, sentence)

    return training.fit(
        text.on_scores(net),
        optimizers.AdamW(FLAGS.rate, FLAGS.weight_decay, global_clipnorm=1.0),
        lambda start_step: feed.training(
            numbers,
            parts["scores"],
            np.eye(len(train.class_names), dtype=np.float32)[train.labels],
            FLAGS.batch_size,
            unknown=FLAGS.unknown,
            alone=FLAGS.alone,
            seed=seed,
            start_step=start_step,
        ),
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        batch_size=FLAGS.batch_size,
        controller=schedules.Controller(schedules.one_cycle(FLAGS.rate, steps, RISE)),
        workdir=folder,
        fingerprint=fingerprint(train, held, seed, net.name),
        measures=Measures(
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=FLAGS.smoothing),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        ),
        evaluate=evaluate if held else None,
        unit="texts",
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        on_begin=lambda: run.describe(folder),
        on_step=Progress(steps, FLAGS.batch_size, "texts"),
        on_rows=run.draw(folder, title=net.name),
    )


def beginning():
    """What --weights has: its words, its residual part, its length; None where there is none."""
    if FLAGS.weights == "none":
        return None
    for name in ("shortcut", "depth", "width", "length"):
        if run.chosen(name):
            raise ValueError(f"--{name} is what --weights={FLAGS.weights} has: leave it out.")
    model = weights.load(FLAGS.weights, trust_config=True)
    try:
        return {"words": model.get_layer(text.WORDS), "net": model.get_layer(text.RESIDUAL)}
    except ValueError:
        raise ValueError(
            f"--weights={FLAGS.weights} is no network for texts: name a model.keras of this recipe."
        ) from None


def begun_from(net, classes):
    """A copy, with a new classifier where the classes are other ones."""
    fresh = keras.models.clone_model(net)
    fresh.set_weights(net.get_weights())
    return fresh if net.output_shape[-1] == classes else transfer.head(fresh, classes, None)


def save(model, net, classes, final, folder):
    for layer in net.layers:
        layer.trainable = True
    accuracy = {name: final[name] for name in ("correct", "examples", "accuracy")}
    contract = weights.Contract(
        preprocessing="own", class_names=classes, source="recipes/text.py", accuracy=accuracy
    )
    weights.save(model, folder / "model.keras", contract)
    if FLAGS.export and final["seed"] == FLAGS.seed:
        from keras_resnet.serving import reading

        say(f"Exported: {reading.save(model, FLAGS.export, class_names=classes)}.")


def show(workdir, data, answers):
    """Draws which class was taken for which, and writes mistakes.tsv: of the first run, or of all folds."""
    shown = answers if FLAGS.folds else answers[:1]
    shares = np.concatenate([answer["shares"] for answer in shown])
    tests = [answer["test"] for answer in shown]
    labels = np.concatenate([test.labels for test in tests])
    texts = {name: one for test in tests for name, one in zip(test.names, test.texts, strict=True)}
    counts = evaluation.confusion(evaluation.judge(shares, labels), len(data.class_names))
    plots.confusion(counts, data.class_names, workdir / "confusion.png")
    wrong = speech.mistakes(list(texts), shares, labels, data.class_names)
    lines = [
        f"{name}\t{known}\t{taken}\t{share:.3f}\t{' '.join(texts[name].split())}\n"
        for name, known, taken, share in wrong
    ]
    head = "place\tclass\ttaken for\tprobability\ttext\n"
    files.write(workdir / "mistakes.tsv", "".join([head, *lines]))


def fingerprint(train, held, seed, title):
    agreed = {f"--{name}": getattr(FLAGS, name) for name in BINDING}
    digest = hashlib.sha256()
    for texts in filter(None, (train, held)):
        digest.update("\n".join([*texts.texts, ""]).encode() + texts.labels.tobytes())
    agreed["--data"] = f"{len(train)} texts, {digest.hexdigest()[:12]}"
    agreed["--seed"] = seed
    if FLAGS.weights != "none":
        with open(FLAGS.weights, "rb") as file:
            agreed["--weights"] = hashlib.file_digest(file, "sha256").hexdigest()
    return agreed | {"network": title}


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"))
