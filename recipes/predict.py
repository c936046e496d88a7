"""Class names of pictures: of a few in a table, of any number over one machine or many by Apache Beam.

    python recipes/predict.py cat.jpg holiday/ --weights=runs/mine/model.keras
    python recipes/predict.py cat.jpg --saved_model=served/mine --top=3
    python recipes/predict.py --saved_model=savedmodels/resnet50/1 --input=pictures/ --output=answers/
    python recipes/predict.py --saved_model=gs://b/resnet50/1 --input='shards/*' --output=gs://b/answers \\
        --format=parquet -- --runner=DataflowRunner --project=mine --region=europe-west4

Without --output: pictures and folders of them are arguments; --weights is a .keras file or any file of weights (of
--model), --saved_model what savedmodels/export.py wrote. Standard output is a table, the likeliest classes of each with
their probabilities; exit code 1 says that some are no pictures, each named with the reason.

With --output, a batch: a SavedModel over all of --input. What follows `--` are Beam's flags: its DirectRunner runs
here, Flink, Spark and Dataflow elsewhere; there --saved_model, --input and --output are paths that all workers see, and
this package is installed. Written are, a shard of --shard_size pictures each: predictions-00000-of-00010.jsonl (or
.parquet) with name, classes, scores and indices, best first; and bad-00000-of-00010.jsonl with name and reason, where
a shard has pictures that are none or cannot be read. Every picture is in one of them, once. The same command makes what
is missing; another model or input in the same folder is refused.

The last line is JSON: pictures, predicted, bad; with --output also shards, made (shards that this run made), without it
answers, a list of file, classes, scores (or reason).
"""

import json
import logging
import sys

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start
from keras_resnet.serving import environment

environment.prepare()
start.prepare(__name__)
import numpy as np
import tensorflow as tf
from absl import flags
from etils import epath

from keras_resnet import evaluation
from keras_resnet.commands import networks, picture_files, trusting
from keras_resnet.commands.progress import say
from keras_resnet.data import images, views
from keras_resnet.data.sources import listing
from keras_resnet.serving import file_operations, saved_model, versions
from keras_resnet.support import files, locks

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "saved_model", None, "A version's folder, or the model's, as savedmodels/export.py writes it."
)
flags.DEFINE_integer("batch_size", 32, "Pictures at a time through the network.", lower_bound=1)
# --- a few pictures
flags.DEFINE_string("weights", None, "A .keras file, or any file of weights, in its place.")
flags.DEFINE_integer("top", 5, "Classes listed for each picture; at most those there are.", 1)
networks.define()
networks.define_view()
# --- a batch
flags.DEFINE_string(
    "input",
    None,
    "A folder, a zip, a TFRecord file, a .txt file with a path a line, or a pattern of these.",
)
flags.DEFINE_string("output", None, "Folder for what is written; made if it is not there.")
flags.DEFINE_enum("format", "jsonl", ["jsonl", "parquet"], "Of the predictions.")
flags.DEFINE_integer("shard_size", 256, "Pictures a shard; all are in memory at once.", 1)
# --- trust
trusting.define()

BEAM_ARGUMENTS = []


def main(*paths) -> dict | tuple[dict, int]:
    if FLAGS.output:
        return batch(paths)
    for name in ("input", "format", "shard_size"):
        if FLAGS[name].present:
            raise ValueError(f"--output is missing, which --{name} needs: {FLAGS['output'].help}")
    return few(paths)


# --- a few pictures


def few(paths):
    """Writes the table; (the figures, the exit code)."""
    if not paths:
        raise ValueError(
            f"Name pictures or folders: {start.name()} cat.jpg holiday/ --weights=FILE; a batch has --input and "
            "--output."
        )
    if bool(FLAGS.weights) == bool(FLAGS.saved_model):
        raise ValueError("Give one of --weights and --saved_model: the network that is asked.")
    pictures = [path for given in paths for path in picture_files.found(given)[0]]
    read, ask = by_weights() if FLAGS.weights else by_saved_model()
    names = [listing.printable(str(path)) for path in pictures]
    width, rows = max(map(len, names)), []
    for first in range(0, len(pictures), FLAGS.batch_size):
        contents = [content(read, path) for path in pictures[first : first + FLAGS.batch_size]]
        good = [each for each in contents if not isinstance(each, str)]
        replies = iter(ask(good) if good else ())
        for each in contents:
            answer = {"reason": each} if isinstance(each, str) else next(replies)
            rows.append({"file": names[len(rows)], **answer})
            print(f"{rows[-1]['file']:{width}}  {line(answer)}", flush=True)
    bad = sum("reason" in row for row in rows)
    figures = {"pictures": len(rows), "predicted": len(rows) - bad, "bad": bad}
    return figures | {"answers": rows}, int(bad > 0)


def by_weights():
    """(what reads a picture, as the network sees it; what answers a list of these: {classes, scores} of each)."""
    tf.get_logger().setLevel("ERROR")  # it warns that each size is traced
    model, found = networks.network(FLAGS.weights, size=FLAGS.size)
    crop = networks.view_of(model, found.contract)
    net, view = evaluation.logits(model, crop[:1] * 2), views.center(*crop)
    names = networks.class_names(net.output_shape[-1], found.contract)

    def answers(pictures):
        for shares in np.exp(evaluation.score([net], np.stack(pictures))):
            best = np.argsort(-shares, kind="stable")[: FLAGS.top]
            scores = [float(np.float32(shares[i])) for i in best]
            yield {"classes": [names[i] for i in best], "scores": scores}

    return lambda path: view(images.decode(listing.read(path))).numpy(), answers


def by_saved_model():
    """The same, of files' bytes."""
    folder = versions.newest(FLAGS.saved_model)
    file_operations.check(folder, FLAGS.allow_file_operations)
    function = saved_model.load(folder).signatures[saved_model.SIGNATURE]

    def answers(contents):
        for found in saved_model.answers(function, contents):
            if "reason" not in found:
                found = {name: found[name][: FLAGS.top] for name in ("classes", "scores")}
            yield found

    return listing.read, answers


def content(read, path):
    """What is read of a file, or why it cannot be."""
    try:
        return read(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except ValueError as error:
        return str(error)


def line(answer):
    if "reason" in answer:
        return f"no picture: {answer['reason']}"
    pairs = zip(answer["scores"], answer["classes"], strict=True)
    return "  ".join(f"{score:6.1%} {name}" for score, name in pairs)


# --- a batch


def batch(paths):
    """What is missing of the answers is made; the figures."""
    if paths:
        raise ValueError(
            f"Pictures that are arguments are answered without --output; a batch reads --input: got {paths[0]}."
        )
    for name in ("saved_model", "input"):
        if not getattr(FLAGS, name):
            raise ValueError(f"--{name} is missing: {FLAGS[name].help}")
    if FLAGS.weights:
        raise ValueError("--weights is for a few pictures; a batch asks the --saved_model alone.")
    from keras_resnet.serving import beam

    # --- what is to be done
    model = beam.SavedModel(FLAGS.saved_model, FLAGS.batch_size, FLAGS.allow_file_operations)
    model.check()
    items = beam.items_of(FLAGS.input)
    shards = beam.shards_of(items, FLAGS.shard_size)
    output = epath.Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    locks.hold(output)
    check_manifest(
        output / "manifest.json",
        beam.manifest(FLAGS.saved_model, items, FLAGS.shard_size, FLAGS.format),
    )
    there = {path.name for path in output.iterdir()}
    count = len(shards)

    def name(shard):
        return beam.shard_name("predictions", shard.number, count, FLAGS.format)

    missing = [shard for shard in shards if name(shard) not in there]
    say(f"{len(items):,} pictures, {count:,} shards, {len(missing):,} of them to be made.")

    # --- the pipeline
    if missing:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions

        # It logs with all its frames what it raises afterwards.
        logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
        try:
            with apache_beam.Pipeline(options=PipelineOptions(BEAM_ARGUMENTS)) as begun:
                beam.pipeline(begun, missing, model, FLAGS.output, count, FLAGS.format)
        except OSError as error:
            raise OSError(str(error).partition(" [while running")[0]) from None

    # --- what is there now
    there = {path.name for path in output.iterdir()}
    if lost := [name(shard) for shard in shards if name(shard) not in there]:
        raise OSError(
            f"{len(lost)} shards were not made ({lost[0]}, ...): run the same command again."
        )
    bad = sum(
        len((output / other).read_text().splitlines())
        for shard in shards
        if (other := beam.shard_name("bad", shard.number, count, "jsonl")) in there
    )
    return {
        "pictures": len(items),
        "predicted": len(items) - bad,
        "bad": bad,
        "shards": count,
        "made": len(missing),
    }


def check_manifest(path, wanted):
    """Writes it, or refuses a folder whose run was another."""
    if not path.exists():
        files.write(path, json.dumps(wanted, indent=1) + "\n")
        return
    found = json.loads(path.read_text())
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ValueError(
                f"--output={FLAGS.output} holds the answers of another run ({key} was "
                f"{found.get(key)}, is {value}): name another folder, or empty it."
            )


if __name__ == "__main__":
    if "--" in sys.argv:
        at = sys.argv.index("--")
        sys.argv, BEAM_ARGUMENTS = sys.argv[:at], sys.argv[at + 1 :]
    start.run(main, arguments=True, remedies=trusting.REMEDIES)
