"""The campaign: kills, fuzzing, mutated pictures and requests to the server, in search of the next fault.

    python benchmarks/campaign/run.py --parts=kills,fuzz,pictures,server --out=benchmarks/results/campaign.json

Runs each part as a separate command (`python benchmarks/campaign/kills.py --help` has what can be set), which puts
what it tried and what failed into the file --out; parts that were run at other times stay in it. Ends with one line of
JSON, and with 1 where something failed.
"""

import json
import pathlib
import subprocess
import sys

import frame  # first of ours: see there
from absl import flags

from keras_resnet.commands import start

FLAGS = flags.FLAGS
PARTS = ("kills", "fuzz", "pictures", "server")
flags.DEFINE_list("parts", list(PARTS), f"Of {', '.join(PARTS)}.")
flags.DEFINE_string("out", str(frame.RESULTS), "File of results.")


def main():
    if unknown := sorted(set(FLAGS.parts) - set(PARTS)):
        raise ValueError(f"--parts takes {', '.join(PARTS)}; got {', '.join(unknown)}.")
    folder, summary = pathlib.Path(__file__).parent, {}
    for part in FLAGS.parts:
        command = [sys.executable, str(folder / f"{part}.py"), f"--out={FLAGS.out}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        lines = done.stdout.splitlines()
        if done.returncode not in (0, 1) or not lines:
            summary[part] = {"ended with code": done.returncode}
            continue
        counts = json.loads(lines[-1])
        summary[part] = {"tried": counts["tried"], "failed": counts["failed"]}
    return summary, int(any(counts.get("failed", 1) for counts in summary.values()))


if __name__ == "__main__":
    start.run(main)
