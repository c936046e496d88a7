"""Class names for any number of pictures, over one machine or many, by Apache Beam.

    python recipes/predict.py --saved_model=savedmodels/resnet50/1 --input=pictures/ --output=answers/
    python recipes/predict.py --saved_model=gs://b/resnet50/1 --input='shards/*' --output=gs://b/answers \\
        --format=parquet -- --runner=DataflowRunner --project=mine --region=europe-west4

What follows `--` are Beam's flags: its DirectRunner runs here, Flink, Spark and Dataflow elsewhere; there
--saved_model, --input and --output are paths that all workers see, and this package is installed.

Written are, a shard of --shard_size pictures each: predictions-00000-of-00010.jsonl (or .parquet) with
name, classes, scores and indices, best first; and bad-00000-of-00010.jsonl with name and reason, where a
shard has pictures that are none or cannot be read. Every picture is in one of them, once. The same
command makes what is missing; another model or input in the same folder is refused.

The last line is JSON: pictures, predicted, bad, shards, made (shards that this run made).
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
from absl import flags
from etils import epath

from keras_resnet.commands import trusting
from keras_resnet.commands.progress import say
from keras_resnet.support import files, locks

FLAGS = flags.FLAGS
flags.DEFINE_string("saved_model", None, "A version's folder, as savedmodels/export.py writes it.")
flags.DEFINE_string(
    "input",
    None,
    "A folder, a zip, a TFRecord file, a .txt file with a path a line, or a pattern of these.",
)
flags.DEFINE_string("output", None, "Folder for what is written; made if it is not there.")
flags.DEFINE_enum("format", "jsonl", ["jsonl", "parquet"], "Of the predictions.")
flags.DEFINE_integer("shard_size", 256, "Pictures a shard; all are in memory at once.", 1)
flags.DEFINE_integer("batch_size", 32, "Pictures at a time through the network.", lower_bound=1)
trusting.define()

BEAM_ARGUMENTS = []


def main() -> dict:
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
            with apache_beam.Pipeline(options=PipelineOptions(BEAM_ARGUMENTS)) as start:
                beam.pipeline(start, missing, model, FLAGS.output, count, FLAGS.format)
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
    start.run(main, required=("saved_model", "input", "output"), remedies=trusting.REMEDIES)
