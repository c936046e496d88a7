"""Spoken words: a residual network hears what was said, in a second of sound.

    python recipes/speech.py --data=speech_fsdd.zip --workdir=runs/speech --baseline
    python recipes/speech.py --data=speech_fsdd.zip --unseen=all --workdir=runs/speech-unseen --baseline

--data is a folder or zip of wavs, by class folders (train/<word>/x.wav and test/<word>/y.wav), or named as in
the Free Spoken Digit Dataset, <class>_<speaker>_<number>.wav, of which its authors test on the numbers 0 to 4.
Any rate and depth is read with soundfile (the extra `sound`), else wavs of whole numbers; what cannot be read,
is empty or longer than a minute is left out and counted, and what has another rate than most is resampled.

--unseen=theo tests on one speaker, who is not heard in training; --unseen=all on each in turn, with a network
each, in folders of their names: final.json has the mean over the speakers.

The network hears the level-free log-mel spectrogram as a picture, --front=waveform the samples themselves by
convolutions of rank 1. Trained from random weights, or by --weights from a file of this recipe (--mode: what of
it trains). Recordings are played faster and slower, moved, and a band and a moment of each muffled (SpecAugment
on the waveform). SGD with momentum 0.9, the rate up in a line and down along half a cosine, labels smoothed by
0.1; the last epoch's weights are kept.
--validate sets recordings apart to choose flags by; the test recordings are looked at once, at the end.

--baseline trains a support vector machine on MFCCs on the same recordings and tests it on the same
(scikit-learn).

It runs on `training.fit`: run again, after whatever stopped it, the same command goes on and ends with the same
weights, bit for bit. The work folder gets flags.txt, versions.txt, metrics.jsonl, tensorboard/, curves.png,
left_out.txt, checkpoint-*.npz, confusion.png, mistakes.tsv (the recordings heard wrong: name, what was said,
what was heard, how sure), model.keras (sound in, probabilities out; its contract has the rate and the class
names) and final.json: correct, examples, accuracy (a share, 0 to 1), baseline (the same of the support vector
machine), recordings (trained on), left_out, resampled, parameters (that trained), weights_sha256, seconds
(training); with --unseen=all, speakers: name -> the same, and accuracy is the mean over them.
"""

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
from keras_resnet.data.augment.sounds import Hearing
from keras_resnet.data.feeds import sounds as feed
from keras_resnet.data.sources import sounds
from keras_resnet.evaluation import plots
from keras_resnet.networks.blocks import SHORTCUTS
from keras_resnet.support import files
from keras_resnet.tasks import speech
from keras_resnet.training import logs, optimizers, runtime, schedules, transfer
from keras_resnet.training.measures import Figures, Measures

FLAGS = flags.FLAGS
SMOOTHING, RISE = 0.1, 0.1  # of the labels; share of the steps in which the rate goes up
MODES = {"full": "full", "last_stage": "last_stage", "frozen": "linear"}
run.define_workdir()
flags.DEFINE_string("data", None, "A folder or zip of wavs: see above.")
flags.DEFINE_string(
    "unseen",
    None,
    "The speaker to test on, or all: each in turn; default: the recordings' own split.",
)
flags.DEFINE_string(
    "validate",
    None,
    "What of the training recordings is evaluated after each epoch and not trained on: a speaker's name, or a share "
    "of each class as 0.1.",
)
flags.DEFINE_bool("baseline", False, "Train and test a support vector machine on MFCCs, too.")
# --- The network
flags.DEFINE_string(
    "weights", "none", "A .keras file of this recipe, to train further; none: a random network."
)
flags.DEFINE_enum(
    "mode",
    "full",
    list(MODES),
    "What trains of --weights: all, the last stage and the head, or the head.",
)
flags.DEFINE_enum("front", "log_mel", speech.FRONTS, "What the network hears.")
flags.DEFINE_enum(
    "shortcut", "B", list(SHORTCUTS), "The paper's shortcuts (3.3); none is the plain network."
)
flags.DEFINE_integer("blocks", 2, "Blocks a stage.", lower_bound=1)
flags.DEFINE_integer("width", 16, "Filters of the first stage.", lower_bound=4)
# --- Training
flags.DEFINE_integer("epochs", 30, "Passes over the training recordings.", lower_bound=1)
flags.DEFINE_integer("batch_size", 50, "Recordings an update.", lower_bound=1)
flags.DEFINE_float("rate", 0.1, "Highest learning rate.", lower_bound=0.0)
flags.DEFINE_float("weight_decay", 1e-3, "Coupled, on kernels.", lower_bound=0.0)
flags.DEFINE_float("speed", 0.2, "Largest change of speed: 0.2 is 0.82 to 1.22 times.", 0.0, 1.0)

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "mode", "front", "shortcut", "blocks", "width", "epochs", "batch_size", "rate", "weight_decay",
    "speed", "seed", "unseen", "validate",
)  # fmt: skip


def main() -> dict:
    if FLAGS.export and FLAGS.unseen == "all":
        raise ValueError(
            "--export takes one network, but --unseen=all trains one for each speaker."
        )
    if FLAGS.weights == "none" and FLAGS.mode != "full":
        raise ValueError(
            f"--mode={FLAGS.mode} trains a part of --weights, but there are none: a random network trains whole."
        )
    runtime.prepare(seed=FLAGS.seed)
    begun = beginning()
    recordings = sounds.load(FLAGS.data, begun[1].rate if begun else None)
    say(f"{FLAGS.data}: {recordings.summary()}")
    if len(recordings.class_names) < 2:
        raise ValueError(f"{FLAGS.data} holds one class only: there is nothing to tell apart.")
    if FLAGS.unseen != "all":
        parts = speech.parted(recordings, FLAGS.unseen)
        workdir = run.make_workdir()
        final = trained(recordings, *parts, begun, workdir)
        run.finish(workdir, final)
        return final
    voices = sorted({*recordings.speakers})
    parts = {voice: speech.parted(recordings, voice) for voice in voices}
    workdir = run.make_workdir()
    run.describe(workdir)
    finals = {}
    for voice in voices:
        say(f"--- {voice}, who is not heard in training")
        (workdir / voice).mkdir(exist_ok=True)
        runtime.prepare(seed=FLAGS.seed)
        finals[voice] = trained(recordings, *parts[voice], begun, workdir / voice)
        run.finish(workdir / voice, finals[voice])
        keras.backend.clear_session()
    final = {**summed(finals), "speakers": finals}
    if FLAGS.baseline:
        final["baseline"] = summed({v: one["baseline"] for v, one in finals.items()})
    run.finish(workdir, final)
    say(f"Mean over {len(voices)} unseen speakers: {final['accuracy']:.2%}.")
    return final


def trained(recordings, train, test, begun, workdir):
    """Trains and tests one network; what final.json says of it."""
    train, held = validated(train)
    classes, rate = recordings.class_names, recordings.rate
    net = network(begun, len(classes), rate)
    length = net.input_shape[1]
    transfer.freeze(net, MODES[FLAGS.mode], "frozen" if FLAGS.mode == "frozen" else "train")
    parameters = sum(int(np.prod(v.shape)) for v in net.trainable_variables)
    steps_per_epoch = draws.steps_per_epoch(len(train), FLAGS.batch_size)
    steps = FLAGS.epochs * steps_per_epoch

    targets = np.eye(len(classes), dtype=np.float32)
    losses = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")

    def begin():
        run.describe(workdir)
        say(
            f"{net.name}: {parameters:,} parameters train, on {len(train):,} recordings; {len(test):,} to test on"
            f"{f', {len(held):,} to choose by' if held else ''}."
        )

    def batches(start_step):
        hearing = Hearing(speed=FLAGS.speed)
        choices = {"augment": hearing, "seed": FLAGS.seed, "start_step": start_step}
        hearings = feed.training(train, FLAGS.batch_size, length, **choices)
        return ((sound, targets[labels]) for sound, labels in hearings)

    def evaluate(after_batch):
        of_held = feed.evaluation(held, 100, length)
        count = evaluation.count(net, of_held, after_batch=after_batch)
        said = f"{count.accuracy:.2%} of {count.examples} {{called}} recordings right"
        values = {"loss": count.loss, "accuracy": count.accuracy}
        return Figures(values, "accuracy", True, said)

    seconds = training.fit(
        net,
        optimizers.SGD(FLAGS.rate, 0.9, coupled_weight_decay=FLAGS.weight_decay),
        batches,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        batch_size=FLAGS.batch_size,
        controller=schedules.Controller(schedules.one_cycle(FLAGS.rate, steps, RISE)),
        workdir=workdir,
        fingerprint=fingerprint(net, train, held),
        measures=Measures(losses, metrics=[accuracy]),
        evaluate=evaluate if held else None,
        unit="recordings",
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        on_begin=begin,
        on_step=Progress(steps, FLAGS.batch_size, "recordings"),
        on_rows=run.draw(workdir, title=net.name),
    )
    shares, labels = speech.judged(net, feed.evaluation(test, 100, length))
    verdicts = evaluation.judge(shares, labels)
    total = evaluation.total(verdicts)
    row = {"step": steps, "test_loss": total.loss, "test_accuracy": total.accuracy}
    logs.append(workdir, row)
    plots.curves(logs.rows(workdir), workdir / "curves.png", net.name)
    plots.confusion(
        evaluation.confusion(verdicts, len(classes)), classes, workdir / "confusion.png"
    )
    wrong = speech.mistakes(test.names, shares, labels, classes)
    lines = [f"{name}\t{said}\t{heard}\t{share:.3f}\n" for name, said, heard, share in wrong]
    files.write(workdir / "mistakes.tsv", "".join(["name\tsaid\theard\tprobability\n", *lines]))
    final = {
        **figures(total.correct, total.examples),
        "recordings": len(train),
        "left_out": run.leave_out(workdir, recordings.bad, "recordings"),
        "resampled": recordings.resampled,
        "parameters": parameters,
        "weights_sha256": training.weights_sha256(net),
        "seconds": round(seconds, 1),
    }
    if FLAGS.baseline:
        right = int((speech.baseline(train, test) == test.labels).sum())
        final["baseline"] = figures(right, len(test))
    save(net, workdir, classes, rate, final)
    beside = (
        f", the support vector machine {final['baseline']['correct']}" if FLAGS.baseline else ""
    )
    say(f"{total.correct} of {total.examples} test recordings right{beside}. In {workdir}.")
    return final


def figures(correct, examples):
    return {"correct": correct, "examples": examples, "accuracy": correct / examples}


def summed(finals):
    """Of several speakers: the sums, and the mean of their accuracies."""
    correct, examples = (
        sum(one[key] for one in finals.values()) for key in ("correct", "examples")
    )
    mean = float(np.mean([one["accuracy"] for one in finals.values()]))
    return {"correct": correct, "examples": examples, "accuracy": mean}


def validated(train):
    """(what is trained on, what is evaluated after each epoch or None), by --validate."""
    if FLAGS.validate is None:
        return train, None
    if FLAGS.validate in train.speakers:
        return speech.parted(train, FLAGS.validate)
    try:
        share = float(FLAGS.validate)
        if not 0 < share < 1:
            raise ValueError
    except ValueError:
        known = ", ".join(sorted({*train.speakers} - {""}))
        raise ValueError(
            f"--validate takes a share in (0, 1) or a speaker{f' ({known})' if known else ''}; got {FLAGS.validate}."
        ) from None
    rest, held = draws.holdout(train.labels, max(1, round(share * len(train))), FLAGS.seed)
    return train.subset(rest), train.subset(held)


def beginning():
    """(the network of --weights, its contract); None where there is none."""
    if FLAGS.weights == "none":
        return None
    for name in ("front", "shortcut", "blocks", "width"):
        if run.chosen(name):
            raise ValueError(f"--{name} is what --weights={FLAGS.weights} has: leave it out.")
    contract = weights.contract_of(FLAGS.weights)
    model = weights.load(FLAGS.weights, trust_config=True)
    if contract is None or contract.rate is None or len(model.input_shape) != 2:
        raise ValueError(
            f"--weights={FLAGS.weights} is no network for sound: name a model.keras of this recipe."
        )
    return model, contract


def network(begun, classes, rate):
    """Ending in logits."""
    if begun:
        fresh = keras.models.clone_model(begun[0])
        fresh.set_weights(begun[0].get_weights())
        return transfer.head(fresh, classes, activation=None)
    choices = {"depth": FLAGS.blocks, "width": FLAGS.width, "shortcut": SHORTCUTS[FLAGS.shortcut]}
    return speech.network(classes, rate, front=FLAGS.front, **choices)


def save(net, workdir, classes, rate, final):
    """With softmax, and nothing frozen."""
    saved = transfer.head(net, len(classes))
    saved.layers[-1].set_weights(net.layers[-1].get_weights())
    for layer in saved.layers:
        layer.trainable = True
    accuracy = {name: final[name] for name in ("correct", "examples", "accuracy")}
    contract = weights.Contract(
        preprocessing="own",
        class_names=classes,
        source="recipes/speech.py",
        accuracy=accuracy,
        rate=rate,
    )
    weights.save(saved, workdir / "model.keras", contract)
    if FLAGS.export:
        from keras_resnet.serving import hearing

        say(f"Exported: {hearing.save(saved, FLAGS.export, rate=rate, class_names=classes)}.")


def fingerprint(net, train, held):
    names = [*train.names, "", *(held.names if held else ())]
    return run.agreed(BINDING, f"{len(train)} recordings", names, training.weights_sha256(net))


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"))
