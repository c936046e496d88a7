"""Language modelling: a causal residual network learns which character follows in a plain text.

    python recipes/language.py --data=tinyshakespeare.txt --workdir=runs/language
    python recipes/language.py --data=tinyshakespeare.txt --workdir=runs/language --baseline
    python recipes/language.py --data=tinyshakespeare.txt --shortcut=none --workdir=runs/plain

--data is a text file in UTF-8. Its first 90% are trained on, the next 5% decide which epoch's weights are kept, and the
last 5% are looked at once, at the end. Each part's characters but its first are predicted once each, from all that the
network can see before them (255 characters by default) or all that there are. The measure is the mean cross-entropy, in
nats a character.

The network: an embedding, a causal convolution of 3, and for each of --dilations a pre-activated basic block (He 2016)
of two causal convolutions of 3 that skip so many characters; a classifier at every position. AdamW with decoupled decay
on kernels and embeddings, the rate up in a line and then down along half a cosine; windows are drawn as a function of
(seed, step). Run again, after whatever stopped it, the same command goes on and ends with the same weights, bit for
bit.

--baseline trains two peers of about the same size on as many characters, by the same optimizer, into the work folder's
lstm/ and transformer/, and the plain net of equal depth into plain/. The LSTM's windows are a quarter as long and four
times as many, since it computes one character after the other; in evaluation it sees as much as the network. The
transformer sees --length characters at most: it predicts each from half of them or more.

--weights goes on from the model.keras of such a run, of a text of the same characters: --mode=frozen trains the
classifier alone, last_stage the last block too, full all.

The work folder gets flags.txt, versions.txt, metrics.jsonl (a row an epoch, a pass over the text), tensorboard/,
curves.png, checkpoint-*.npz, best.weights.h5, model.keras (with its contract: the characters are its class names),
sample.txt (what the network goes on with after --prompt) and final.json: nats and accuracy (of the test's characters),
characters (in the test), valid_nats, best_epoch, steps, parameters, generated_per_second (characters, with what is
needed of the past kept between them), recomputed_per_second (from the whole window each time), weights_sha256, seconds
(training); with --baseline, baseline (the better peer by valid_nats) and plain: objects of network, nats, accuracy,
characters, valid_nats, best_epoch, steps, parameters, seconds; and peers, both of them.
"""

import functools
import hashlib
import math
import time

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import keras
import numpy as np
from absl import flags

from keras_resnet import evaluation, training, weights
from keras_resnet.commands import run
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data import draws
from keras_resnet.data.feeds import tokens as feeds
from keras_resnet.data.sources import plain_text
from keras_resnet.evaluation import plots
from keras_resnet.networks import blocks
from keras_resnet.support import files
from keras_resnet.tasks import language
from keras_resnet.training import logs, optimizers, runtime, schedules, stopping, transfer
from keras_resnet.training.measures import Figures
from keras_resnet.weights import contract as contracts
from keras_resnet.weights import native

FLAGS = flags.FLAGS
run.define_workdir()
MODES = {"frozen": "linear", "last_stage": "last_stage", "full": "full"}  # flag -> transfer's
flags.DEFINE_string("data", None, "A text file in UTF-8.")
flags.DEFINE_string(
    "weights", "none", "model.keras of a run to go on from; none: a random network."
)
flags.DEFINE_enum("mode", "full", [*MODES], "What trains: see above.")
flags.DEFINE_enum("shortcut", "B", [*blocks.SHORTCUTS], "The paper's (3.3); none: a plain net.")
flags.DEFINE_bool("baseline", False, "Train the peers and the plain net too: see above.")
flags.DEFINE_integer("steps", 1500, "Updates in all.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Windows an update.", lower_bound=1)
flags.DEFINE_integer("length", 256, "Characters a window.", lower_bound=2)
flags.DEFINE_integer("width", 192, "Channels of the network.", lower_bound=1)
flags.DEFINE_list("dilations", ["1", "2", "4", "8", "16", "32"], "Of each block's convolutions.")
flags.DEFINE_float("dropout", 0.1, "In branches, and before the classifier.", 0.0, 0.99)
flags.DEFINE_float("rate", 3e-3, "Highest learning rate.", lower_bound=0.0)
flags.DEFINE_float("weight_decay", 0.1, "Decoupled, on kernels and embeddings.", lower_bound=0.0)
flags.DEFINE_string(
    "prompt",
    None,
    "What sample.txt goes on from; default: a new line, or what the text begins with.",
)
flags.DEFINE_integer("sample", 1000, "Characters in sample.txt.", lower_bound=0)
flags.DEFINE_float(
    "temperature",
    0.8,
    "Of sample.txt: 1 draws by the network's probabilities, 0 takes the likeliest.",
    0.0,
)

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "mode", "shortcut", "steps", "batch_size", "length", "width", "dilations", "dropout", "rate",
    "weight_decay", "seed",
)  # fmt: skip
RISE = 0.04  # share of the steps before the highest rate
TRANSFORMER_RATE = 1e-3
TIMED = 50  # characters that recomputing is timed over


def main() -> dict:
    runtime.prepare(seed=FLAGS.seed)
    if FLAGS.weights == "none" and FLAGS.mode != "full":
        raise ValueError(
            f"--mode={FLAGS.mode} needs --weights: a random network has to train in full."
        )
    dilations = run.integers("dilations")
    if min(dilations) < 1:
        raise ValueError(f"--dilations are at least 1; got {','.join(FLAGS.dilations)}.")
    text = plain_text.load(FLAGS.data)
    sees = language.receptive_field(dilations)
    refuse_short(text, 2 * max(FLAGS.length, sees))
    prompt = first_words(text)
    plain_text.tokens(prompt, text.characters)  # refuses what the text has not
    workdir = run.make_workdir()

    # --- training
    build = functools.partial(
        language.network,
        len(text.characters),
        width=FLAGS.width,
        dilations=dilations,
        dropout=FLAGS.dropout,
    )
    name = "plain" if FLAGS.shortcut == "none" else "language"
    net = build(shortcut=blocks.SHORTCUTS[FLAGS.shortcut], name=name)
    if FLAGS.weights != "none":
        take_up(net, text.characters)
        transfer.freeze(net, MODES[FLAGS.mode], "frozen" if FLAGS.mode == "frozen" else "train")
    view = (2 * max(FLAGS.length, sees), sees - 1)  # window and context in evaluation
    trained = train(net, text, workdir, FLAGS.rate, view)

    # --- result
    final = result(net, text, workdir, view) | {"weights_sha256": training.weights_sha256(net)}
    sample, pace = written(net, text.characters, prompt)
    files.write(
        workdir / "sample.txt",
        f"after {prompt!r}, temperature {FLAGS.temperature:g}, seed {FLAGS.seed}:\n\n{prompt}{sample}\n",
    )
    final |= pace | {"seconds": trained}
    save(net, workdir, text.characters, final)
    if FLAGS.baseline:
        final |= peers(text, workdir, build, view)
    run.finish(workdir, final)
    say(
        f"{final['nats']:.4f} nats a character ({final['nats'] / math.log(2):.3f} bits) on the {final['characters']:,} "
        f"of the test, {final['valid_nats']:.4f} on those it was chosen by. In {workdir}: model.keras, sample.txt, "
        "final.json, curves.png, metrics.jsonl."
    )
    return final


def refuse_short(text, least):
    for name, what in (("train", "train on"), ("valid", "choose by"), ("test", "test on")):
        if len(getattr(text, name)) <= least:
            raise ValueError(
                f"--data={FLAGS.data} has {len(getattr(text, name))} characters to {what}, and needs "
                f"more than {least} (--length, --dilations): take a longer text."
            )


def first_words(text):
    if FLAGS.prompt is None:
        return "\n" if "\n" in text.characters else text.characters[text.train[0]]
    if not FLAGS.prompt:
        raise ValueError("--prompt is empty: give one character at least.")
    return FLAGS.prompt


def take_up(net, characters):
    """Gives the network the weights of a file, of one that was trained on the same characters."""
    try:
        contract = contracts.contract_of(FLAGS.weights)
    except (ValueError, OSError) as error:
        raise ValueError(f"--weights={FLAGS.weights} cannot be read: {error}.") from None
    known = "".join(contract.class_names) if contract else ""
    if known != characters:
        only = "".join(sorted(set(characters) ^ set(known)))
        raise ValueError(
            f"--weights={FLAGS.weights} knows {len(known)} characters and --data={FLAGS.data} has {len(characters)}: "
            f"{only[:40]!r} are in one alone; take a text of the same characters."
        )
    try:
        native.load_into(net, FLAGS.weights, native.shapes(FLAGS.weights))
    except ValueError as error:
        raise ValueError(
            f"--weights={FLAGS.weights} is of another network ({error}): give the --width, --dilations and --shortcut "
            "that it was trained with."
        ) from None


def train(net, text, folder, rate, view, share=1):
    """Trains, or goes on, on windows that are 1/share as long and `share` times as many; leaves the best epoch's
    weights in the network. The seconds it took."""
    folder.mkdir(exist_ok=True)
    batch_size, length = share * FLAGS.batch_size, max(FLAGS.length // share, 1)
    parameters = sum(int(np.prod(v.shape)) for v in net.trainable_variables)

    def begin():
        run.describe(folder)
        say(
            f"{net.name}, {parameters:,} parameters that train; {len(text.train):,} characters of "
            f"{len(text.characters)} kinds to train on, {len(text.valid):,} to choose by, {len(text.test):,} to test "
            "on."
        )

    def evaluate(after_batch):
        count = count_of(net, text.valid, view, after_batch)
        sentence = f"{count.loss:.4f} nats a character of the {count.examples:,} to choose by"
        figures = Figures({"loss": count.loss, "accuracy": count.accuracy}, "loss", False, sentence)
        # This epoch's row comes once the best weights are safe.
        if stopping.improves(logs.rows(folder), figures):
            weights.save(net, folder / "best.weights.h5")
        return figures

    seconds = training.fit(
        net,
        optimizers.AdamW(rate, FLAGS.weight_decay, beta_2=0.99, global_clipnorm=1.0),
        lambda start_step: feeds.training(
            text.train, batch_size, length, seed=FLAGS.seed, start_step=start_step
        ),
        steps=FLAGS.steps,
        steps_per_epoch=draws.steps_per_epoch(len(text.train) // length, batch_size),
        batch_size=batch_size,
        controller=schedules.Controller(schedules.one_cycle(rate, FLAGS.steps, RISE)),
        workdir=folder,
        fingerprint=fingerprint(text, net.name),
        evaluate=evaluate,
        unit="windows",
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        on_begin=begin,
        on_step=Progress(FLAGS.steps, batch_size, unit="windows"),
        on_rows=run.draw(folder, title=net.name),
    )
    net.load_weights(str(folder / "best.weights.h5"))
    return round(seconds, 1)


def count_of(net, tokens, view, after_batch=lambda: None):
    return evaluation.count(
        net, feeds.evaluation(tokens, FLAGS.batch_size, *view), after_batch=after_batch
    )


def result(net, text, folder, view):
    """What the test says of the best epoch; the log and the curves have it too."""
    best = stopping.best(logs.rows(folder))
    tested = count_of(net, text.test, view)
    row = {"step": FLAGS.steps, "test_loss": tested.loss, "test_accuracy": tested.accuracy}
    logs.append(folder, row)
    plots.curves(logs.rows(folder), folder / "curves.png", net.name, kept=best["step"])
    return {
        "network": net.name,
        "nats": tested.loss,
        "accuracy": tested.accuracy,
        "characters": tested.examples,
        "valid_nats": best["holdout_loss"],
        "best_epoch": best["epoch"],
        "steps": FLAGS.steps,
        "parameters": net.count_params(),
    }


def written(net, characters, prompt):
    """(what the network writes, how fast it does, and how fast it would by computing the window anew each time)."""
    writer = language.Writer(net, characters)
    write = functools.partial(
        writer, prompt, FLAGS.sample, temperature=FLAGS.temperature, seed=FLAGS.seed
    )
    sample, pace = write(), {}
    if FLAGS.sample:
        began = time.perf_counter()
        write()
        pace["generated_per_second"] = round(FLAGS.sample / (time.perf_counter() - began), 1)
    window = np.zeros((1, FLAGS.length), np.int32)
    net.predict_on_batch(window)
    began = time.perf_counter()
    for _ in range(TIMED):
        net.predict_on_batch(window)
    return sample, pace | {"recomputed_per_second": round(TIMED / (time.perf_counter() - began), 1)}


def save(net, workdir, characters, final):
    for layer in net.layers:
        layer.trainable = True
    contract = weights.Contract(
        class_names=tuple(characters),
        source=f"recipes/language.py on {run.data_name()}",
        accuracy={name: final[name] for name in ("nats", "characters", "valid_nats")},
    )
    weights.save(net, workdir / "model.keras", contract)
    if FLAGS.export:
        say(f"Exported: {language.export(net, FLAGS.export, characters)}.")


def peers(text, workdir, build, view):
    """What the LSTM, the transformer and the plain net come to, trained as the network was."""
    count, length, dropout = len(text.characters), FLAGS.length, FLAGS.dropout
    lstm = functools.partial(language.lstm, count, dropout=dropout)
    transformer = functools.partial(language.transformer, count, length, dropout=dropout)
    plain = functools.partial(build, shortcut=blocks.none, name="plain")
    found = {}
    for make, rate, seen, share in (
        (lstm, FLAGS.rate, view, 4),
        (transformer, TRANSFORMER_RATE, (length, length // 2), 1),
        (plain, FLAGS.rate, view, 1),
    ):
        keras.utils.set_random_seed(FLAGS.seed)
        peer = make()
        seconds = train(peer, text, workdir / peer.name, rate, seen, share)
        found[peer.name] = result(peer, text, workdir / peer.name, seen) | {"seconds": seconds}
    plain = found.pop("plain")
    return {
        "baseline": min(found.values(), key=lambda peer: peer["valid_nats"]),
        "peers": found,
        "plain": plain,
    }


def fingerprint(text, title):
    agreed = {f"--{name}": getattr(FLAGS, name) for name in BINDING}
    digest = hashlib.sha256(text.train.tobytes() + text.characters.encode())
    agreed["--data"] = f"{len(text.train)} characters, {digest.hexdigest()[:12]}"
    if FLAGS.weights != "none":
        with open(FLAGS.weights, "rb") as file:
            agreed["--weights"] = hashlib.file_digest(file, "sha256").hexdigest()
    return agreed | {"network": title, "KERAS_BACKEND": keras.backend.backend()}


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"))
