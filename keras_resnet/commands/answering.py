"""An export in a separate process, for `fastest`: ``python -m keras_resnet.commands.answering '{"path": ..., ...}'``.

Its argument has "path", as `executors.load` takes it; "precision", which OpenVINO may compute in; "pictures", an .npy
file of them, uint8 [N,size,size,C]; "batch"; "answers", the .npy file that the probabilities of all pictures go to,
float32 [N,K]. A step is one batch of them, from NumPy to NumPy. Speaks the protocol of `timing`.
"""

import itertools

import numpy as np

from keras_resnet.commands import timing
from keras_resnet.serving import environment, executors


def run(spec: dict, gate: timing.Gate) -> None:
    """Answers all pictures once, then batch after batch as the gate opens."""
    environment.prepare()
    pictures = np.load(spec["pictures"])
    answer = executors.load(spec["path"], spec["batch"], spec["precision"])
    count = -(-len(pictures) // spec["batch"])  # the last batch is filled up from the first one on
    places = np.arange(count * spec["batch"]) % len(pictures)
    batches = [np.ascontiguousarray(pictures[part]) for part in places.reshape(count, -1)]
    np.save(spec["answers"], np.concatenate([answer(batch) for batch in batches])[: len(pictures)])
    gate.say(ready={})
    for step in itertools.count():
        gate(step)
        answer(batches[step % count])


if __name__ == "__main__":
    timing.work(run)
