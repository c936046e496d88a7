"""What a run goes on from: every variable there is, and what must not change in between."""

from collections.abc import Callable

import keras
import numpy as np
from etils import epath

from keras_resnet.training import checkpoints
from keras_resnet.training.averaging import Average
from keras_resnet.training.checkpoints import Checkpoint
from keras_resnet.training.schedules import Controller
from keras_resnet.training.sums import Sums

_SUM = "metric/"  # in a checkpoint
_STEP_BITS = 48


class State:
    """The state of one run, to and from the checkpoints in its folder.

    Args:
        workdir: of the run; may be gs://.
        model: compiled, its optimizer built.
        sums: of the running epoch's metrics.
        controller: of the rate.
        fingerprint: JSON object, name -> value: what must be the same in a run that goes on.
        average: of the weights, if there is one.
    """

    def __init__(
        self,
        workdir: epath.Path,
        model: keras.Model,
        sums: Sums,
        controller: Controller,
        fingerprint: dict,
        average: Average | None = None,
    ):
        self._workdir, self._model, self._sums = workdir, model, sums
        self._controller, self._fingerprint, self._average = controller, fingerprint, average

    def newest(
        self, steps: int, together: Callable[[list[bool]], list[bool]] | None = None
    ) -> Checkpoint | None:
        """The newest checkpoint that this run, of `steps` in all, can go on from; None where there is
        none at all.

        Args:
            steps: of the whole run.
            together: `training.fit`'s. All processes must find the same checkpoint.

        Raises:
            ValueError: none can be read, it contradicts the fingerprint, is past `steps`, holds other
                variables, or another process finds another one or none that agrees.
        """
        found = failure = None
        try:
            found = checkpoints.newest(self._workdir)
            if found:
                self._check(found, steps)
        except ValueError as error:
            failure = error
        if together:  # one that ended here alone would leave the others waiting for it
            step = found.step if found else 0
            bits = [bool(step >> place & 1) for place in range(_STEP_BITS)]
            failed, *any_of = together([bool(failure), *bits, *(not bit for bit in bits)])
            set_somewhere, clear_somewhere = any_of[:_STEP_BITS], any_of[_STEP_BITS:]
            if failed and not failure:
                failure = ValueError("Another worker cannot resume: its message says why.")
            elif not failed and any(map(all, zip(set_somewhere, clear_somewhere, strict=True))):
                failure = ValueError(
                    f"The workers find checkpoints of different steps in {self._workdir} (this one "
                    f"{f'step {step}' if found else 'none'}): all need the same folder."
                )
        if failure:
            raise failure
        return found

    def restore(self, found: Checkpoint) -> None:
        """Takes up what `newest` found."""
        for name, variable in self._variables().items():
            variable.assign(found.arrays[name])
        self._sums.write(_sums(found.arrays))
        self._controller.restore(found.metadata["controller"])

    def arrays(self) -> dict[str, np.ndarray]:
        """name -> value of every variable. All processes must read them together."""
        arrays = {name: keras.ops.convert_to_numpy(v) for name, v in self._variables().items()}
        return arrays | {f"{_SUM}{i}": value for i, value in enumerate(self._sums.read())}

    def save(self, step: int, arrays: dict[str, np.ndarray], seconds: float) -> None:
        """Writes a checkpoint.

        Args:
            step: that was reached.
            arrays: of `arrays()`.
            seconds: trained so far.

        Raises:
            OSError: it could not be written.
        """
        metadata = {
            "fingerprint": self._fingerprint,
            "controller": self._controller.state(),
            "seconds": seconds,
        }
        checkpoints.save(self._workdir, step, arrays, metadata)

    def _variables(self):
        groups = {
            "trainable": self._model.trainable_variables,
            "other": self._model.non_trainable_variables,
            "optimizer": self._model.optimizer.variables,
            "average": self._average.variables if self._average else [],
        }
        return {f"{group}/{i}": v for group, held in groups.items() for i, v in enumerate(held)}

    def _check(self, found, steps):
        for name, value in self._fingerprint.items():
            before = found.metadata["fingerprint"].get(name)
            if before != value:
                raise ValueError(
                    f"{name}={value} contradicts {found.path}, which was trained with {name}={before} up to "
                    f"step {found.step}: change it back to go on from there, or begin anew in another workdir."
                )
        if found.step > steps:
            raise ValueError(
                f"{found.path} is past the {steps} steps asked for: ask for {found.step} to end with what it has, for "
                "more to go on from there, or begin anew in another workdir."
            )
        wanted = {name: tuple(variable.shape) for name, variable in self._variables().items()}
        held = {
            name: array.shape for name, array in found.arrays.items() if not name.startswith(_SUM)
        }
        if wanted != held or not self._sums.fit(_sums(found.arrays)):
            raise ValueError(
                f"{found.path} holds other variables than this network's: "
                "begin anew in another workdir."
            )


def _sums(arrays):
    """What `Sums.read` gave, of a checkpoint's arrays."""
    return [arrays[f"{_SUM}{i}"] for i in range(sum(name.startswith(_SUM) for name in arrays))]
