"""Training that can be stopped at any moment: the same numbers come out, bit for bit.

`fit` runs Keras' `fit` and is the one callback that it has: it sets the rate, looks for NaN, writes
checkpoints and the log, and ends in good order on SIGTERM. After a stop of any kind, kill -9
included, the same call goes on from the newest checkpoint.

What makes that exact: the batches are a function of the step; checkpoints hold every variable there
is (weights, moving statistics, momenta, the running epoch's metrics, the rate's state); and
every file is written aside and renamed. So a run may be replayed from a checkpoint over what the
log already says: rows past the checkpoint are dropped, and come again with the same values.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from etils import epath

from keras_resnet.networks import layers
from keras_resnet.training import calls, checkpoints, logs, model_weights, waiting
from keras_resnet.training.averaging import Average
from keras_resnet.training.divergence import Losses
from keras_resnet.training.interrupts import Interrupts
from keras_resnet.training.logs import Epoch
from keras_resnet.training.measures import Figures, Measures, error_of, of_classifier
from keras_resnet.training.schedules import Controller
from keras_resnet.training.state import State
from keras_resnet.training.sums import Sums

logger = logging.getLogger(__name__)
_TOGETHER_EVERY = 10  # steps between two questions to the other processes, where there are any
# Steps between two looks at the training error while warming up; the shortest mean that is looked at.
_OBSERVE_EVERY = 100


def fit(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    batches: Callable[[int], Iterable],
    *,
    steps: int,
    steps_per_epoch: int,
    batch_size: int,
    controller: Controller,
    workdir: epath.PathLike,
    fingerprint: dict,
    loss: keras.losses.Loss | None = None,
    accuracy: keras.metrics.Metric | None = None,
    measures: Measures | None = None,
    evaluate: Callable[[Callable[[], None]], Any] | None = None,
    evaluation_model: keras.Model | None = None,
    average: Average | None = None,
    evaluated: str = "holdout",
    called: str | None = None,
    unit: str = "images",
    mend: Callable[[int], bool] | None = None,
    chief: bool = True,
    together: Callable[[list[bool]], list[bool]] | None = None,
    each: Callable[[list], Sums] = Sums,
    checkpoint_seconds: float = 60.0,
    steps_per_call: int | None = None,
    on_begin: Callable[[], None] = lambda: None,
    on_step: Callable[[int, Callable[[], tuple]], None] = lambda step, read: None,
    on_rows: Callable[[list[dict]], None] = lambda rows: None,
) -> float:
    """Trains `model` to `steps`, from the newest checkpoint in `workdir`, or from the start.

    Args:
        model: examples [B,...] -> logits [B,K], or what `measures` take; compiled here.
        optimizer: a new one. Its rate is the controller's.
        batches: ``start_step -> endless batches`` of (examples, targets), or with weights as a third, as Keras' fit
            takes them; a tf.data.Dataset, one that a strategy distributes, or a generator. Batch k must be a
            function of k alone.
        steps: of the whole run, counted from its very start.
        steps_per_epoch: batches an epoch.
        batch_size: examples a batch, for examples a second.
        controller: of the rate.
        workdir: existing folder, which may be gs://, for `checkpoint-*.npz` and `metrics.jsonl`.
        fingerprint: JSON object, name -> value: what must not change between a checkpoint and a resumption.
        loss, accuracy: a classifier's (see `measures.of_classifier`).
        measures: in their place, any losses and figures, of one output or several.
        evaluate: ``after_batch -> Count or Figures`` of held-out examples, asked after each epoch; it calls
            after_batch after each of its batches (see `evaluation.count`), where a signal may end the run with a
            checkpoint. The controller is given the error. The same figure decides in each.
        evaluation_model: the network that `evaluate` reads, where that is not `model` itself: of the same layers, with
            separate variables. Before each evaluation it is given the weights of `copy_weights`. Needed where
            there is an average of the weights, this one or the optimizer's.
        average: of `model`, brought up after the updates at which it is due.
        evaluated: what those examples are called in metrics.jsonl.
        called: what they are called in sentences; default: the same.
        unit: what the examples are called in the log's "<unit>_per_second".
        mend: asked what to do when a batch cannot be made, with the step: True means that the batches of that step,
            asked for again, will come.
        chief: whether this process writes checkpoints and log, and calls `on_step` and `on_rows`; one of many does.
        together: where many processes train: which of some wishes any of them has. All call it at the same steps, so
            that they save, and end, at the same step.
        each: where each of several devices sums up the figures of its examples (`SumsOfEach`).
        checkpoint_seconds: time between two checkpoints; 0 is one a step. One more comes at the end.
        steps_per_call: on JAX, steps that the device takes in one call; what is said to come after each step comes
            after each call, and `batches` gives the batches of a call, stacked [steps_per_call,B,...], which begin
            at multiples of it within an epoch. A checkpoint and its resumption must agree on it. None: step by step.
        on_begin: called once the checkpoint, if there is one, has been found to agree.
        on_step: called by the chief after each step, to show where the run is, with the step and a function ``read()
            -> (epoch from 1 on, the epoch's mean loss, its metrics in their order, share of its time spent waiting for
            input in [0, 1])``; a classifier's one metric is the accuracy in [0, 1]. Reading waits for the device: do
            it seldom.
        on_rows: called with all rows of metrics.jsonl after each epoch.

    Returns:
        Seconds spent training to the last step, over all the processes that took part.

    Raises:
        ValueError: the checkpoint contradicts the fingerprint, is past `steps`, or cannot be read; there is no
            `evaluation_model` for an average that is to be evaluated; metrics' names collide; `measures` beside
            `loss` or `accuracy`; the controller warms up without an accuracy; of `calls.check`.
        Diverged: the loss was NaN or infinite. The last checkpoint is from before that.
        Interrupted: by SIGTERM or SIGINT, with a checkpoint of the step reached.
        OSError: a checkpoint or the log could not be written.
    """
    layers.channels_last_only(model, "Training takes")
    if measures and (loss or accuracy):
        raise ValueError("loss and accuracy are a classifier's: give measures alone.")
    measures = measures or of_classifier(loss, accuracy)
    metrics = measures.figures()
    if controller.warming and "accuracy" not in metrics:
        raise ValueError(
            f"A warm-up ends by the training accuracy, but the metrics are {list(metrics)}: add one of that name."
        )
    calls.check(steps_per_call, _OBSERVE_EVERY if controller.warming else None, average)
    measures.compile(model, optimizer)
    optimizer.build(model.trainable_variables)
    if evaluate:
        model_weights.check_separate(model, evaluation_model, average)
    run = _Run(
        net=model,
        metrics=metrics,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch_size,
        controller=controller,
        workdir=epath.Path(workdir),
        fingerprint=fingerprint | {"steps_per_call": steps_per_call},
        evaluate=evaluate,
        evaluation_model=evaluation_model,
        average=average,
        evaluated=evaluated,
        called=called,
        unit=unit,
        chief=chief,
        together=together,
        each=each,
        checkpoint_seconds=checkpoint_seconds,
        steps_per_call=steps_per_call or 1,
        calls=calls.Calls(model, steps_per_call) if steps_per_call is not None else None,
        on_step=on_step,
        on_rows=on_rows,
    )
    with run.interrupts.caught(lambda: run.saved_step):
        run.resume(on_begin)
        while run.step < steps:
            # One iterator for all whole epochs, one for the rest of a resumed epoch, one for a last partial epoch.
            epoch, done = divmod(run.step, steps_per_epoch)
            whole = not done and steps - run.step >= steps_per_epoch
            try:
                model.fit(
                    run.timed(batches(run.step)),
                    initial_epoch=epoch,
                    epochs=steps // steps_per_epoch if whole else epoch + 1,
                    steps_per_epoch=calls.number(
                        run.step, run.steps_per_call, steps_per_epoch, steps
                    ),
                    shuffle=False,  # the batches are in their order
                    callbacks=run,
                    verbose=0,
                )
            except Exception as error:
                # By name, since TensorFlow may be absent; what `mend` does not repair is raised.
                names = ("InvalidArgumentError", "NotFoundError", "Undecodable")
                of_input = type(error).__name__ in names
                if not (of_input and mend and mend(run.step)):
                    raise
                run.keep_metrics()
        run.end()
    return run.saved_seconds


@dataclasses.dataclass(eq=False)
class _Run(keras.callbacks.CallbackList):
    """One call of `fit`. Being the CallbackList itself it gets a step's logs as tensors; reading them waits."""

    net: keras.Model
    metrics: dict[str, keras.metrics.Metric]
    steps: int
    steps_per_epoch: int
    batch_size: int
    controller: Controller
    workdir: epath.Path
    fingerprint: dict
    evaluate: Callable | None
    evaluation_model: keras.Model | None
    average: Average | None
    evaluated: str
    called: str | None
    unit: str
    chief: bool
    together: Callable | None
    each: Callable
    checkpoint_seconds: float
    steps_per_call: int
    calls: calls.Calls | None
    on_step: Callable
    on_rows: Callable

    def __post_init__(self):
        super().__init__(add_history=True, model=self.net)  # fit returns model.history
        self.loss = self.net.metrics[0]
        summing = (self.loss, *self.metrics.values())
        self.sums = self.each([variable for metric in summing for variable in metric.variables])
        self.state = State(
            self.workdir, self.net, self.sums, self.controller, self.fingerprint, self.average
        )
        self.interrupts = Interrupts(self.together)
        self.step = self.saved_step = 0
        self.rate = None
        self.losses = Losses(lambda: self.saved_step)
        self.seconds_before = self.saved_seconds = 0.0
        self.started = self.saved_at = time.monotonic()
        self.epoch = Epoch(0)

    def seconds(self):
        return self.seconds_before + time.monotonic() - self.started

    # --- what `fit` calls

    def resume(self, on_begin):
        """Takes up the newest checkpoint, if there is one, and cuts the log to it."""
        found = self.state.newest(self.steps, self.together)
        if found:
            self.state.restore(found)
            self.step = self.saved_step = found.step
            self.seconds_before = self.saved_seconds = found.metadata["seconds"]
            if self.chief:
                checkpoints.set_aside(self.workdir, after=found.step)
            logger.info(f"Resuming at step {found.step} of {self.steps} from {found.path}.")
        on_begin()
        self.keep_metrics()
        self.epoch = Epoch(self.step)
        kept = logs.rows_up_to(self.workdir, self.step)
        if self.chief:
            logs.rewrite(self.workdir, kept)
        if self.step and (self.step % self.steps_per_epoch == 0 or self.step == self.steps):
            # A checkpoint of an epoch's last step is from before its evaluation.
            written = [row for row in kept if row["step"] == self.step]
            if written and self.evaluate:
                self.controller.evaluated(error_of(written[0], self.evaluated))
            elif not written:
                self._log_epoch()  # stopped between the epoch's last step and its row
            if written and self.chief and self.step == self.steps:
                self.on_rows(kept)  # no epoch follows that would; it may have been stopped in this
        self._set_rate()

    def keep_metrics(self):
        """Remembers the running epoch's metrics, which Keras' fit sets to zero when it begins."""
        self.metric_values = self.sums.read()

    def timed(self, batches):
        """`batches` for fit, with the time that each is waited for counted."""

        def add(seconds):
            self.epoch.waited += seconds

        if not self.calls:
            return waiting.timed(self.net, batches, add)
        return self.calls.feed(batches, lambda: [*map(self.controller.rate, self._span())], add)

    def _span(self):
        return calls.span(self.step, self.steps_per_call, self.steps_per_epoch, self.steps)

    def end(self):
        """Ends the run by a signal that came after its last batch, too."""
        if self.calls:
            self.calls.end()
        self.interrupts.agree()
        self._stop_if_asked()

    # --- what Keras' fit calls

    def on_train_begin(self, *_, **__):
        pass

    on_train_end = on_train_batch_begin = on_train_begin

    def on_epoch_begin(self, epoch, logs=None):
        # fit has set to zero the metrics it knows of, and before the first step that is not all.
        within = self.step % self.steps_per_epoch
        values = self.metric_values
        self.sums.write(values if within else [np.zeros_like(value) for value in values])
        self.epoch = Epoch(self.step)

    def on_train_batch_end(self, batch, logs=None):
        self.step = self._span().stop
        if self.average and self.average.due(self.step):
            self._sync()
            self.average.update(self.step)
        self.losses.add(self.step, self.rate, logs["loss"])
        within = self.step % self.steps_per_epoch
        ending = within == 0 or self.step == self.steps
        if self.controller.warming and (ending or within % _OBSERVE_EVERY == 0):
            self.controller.observe(1.0 - float(logs["accuracy"]))
        due = self._due()
        if due or ending:
            self.losses.look()
        if self.chief:
            self.on_step(self.step, lambda: self._figures(logs))
        if due or self.step == self.steps:
            self._save()
        self._stop_if_asked()
        if self.step < self.steps:
            self._set_rate()

    def on_epoch_end(self, epoch, logs=None):
        self._log_epoch()

    # --- what they do

    def _figures(self, logs):
        epoch = (self.step - 1) // self.steps_per_epoch + 1
        figures = (float(logs[name]) for name in ("loss", *self.metrics))
        return epoch, *figures, self.epoch.input_wait()

    def _set_rate(self):
        rate = self.controller.rate(self.step)
        if rate != self.rate:
            self._sync()
            self.net.optimizer.learning_rate = rate
            self.rate = rate

    def _sync(self):
        """On JAX the variables live in fit's loop; this brings them back to the model."""
        if hasattr(self.net, "jax_state_sync"):
            self.net.jax_state_sync()

    def _due(self):
        """Whether a checkpoint is: by the time, or because the run is to end."""
        late = time.monotonic() - self.saved_at >= self.checkpoint_seconds
        if self.together and self.checkpoint_seconds and self.step % _TOGETHER_EVERY:
            return False
        late = self.interrupts.agree(late)
        return self.interrupts.ending or late

    def _save(self):
        self.losses.look()
        self._sync()
        arrays = self.state.arrays()  # by all processes: they may be needed for it together
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise self.losses.diverged("A weight is not finite", self.step, self.rate)
        seconds = self.seconds()
        if self.chief:
            self.state.save(self.step, arrays, seconds)
        self.saved_step, self.saved_seconds, self.saved_at = self.step, seconds, time.monotonic()

    def _stop_if_asked(self):
        if self.interrupts.ending:
            if self.saved_step != self.step:
                self._save()
            raise self.interrupts.interrupted(self.step, self.steps)

    def _log_epoch(self):
        row = {
            "epoch": round(self.step / self.steps_per_epoch, 4),
            "step": self.step,
            "loss": float(self.loss.result()),
            **{name: float(metric.result()) for name, metric in self.metrics.items()},
            "rate": self.controller.rate(self.step - 1),
            f"{self.unit}_per_second": round(
                self.epoch.images_per_second(self.step, self.batch_size), 1
            ),
            "input_wait": round(self.epoch.input_wait(), 3),
            "seconds": round(self.seconds(), 1),
        }
        if self.evaluate:
            # Never by weights lent to `net`: a signal in the evaluation saves what `net` holds.
            if self.evaluation_model is not None:
                model_weights.copy_weights(self.net, self.evaluation_model, self.average)
            found = self.evaluate(self._stop_if_asked)
            figures = found if isinstance(found, Figures) else found.figures
            row |= figures.row(self.evaluated)
            self.controller.evaluated(figures.error)
            if self.step < self.steps:
                self._set_rate()
        if not self.chief:
            return
        logs.append(self.workdir, row)
        if self.evaluate:
            logger.info(f"epoch {row['epoch']:g}: {figures.words(self.called or self.evaluated)}")
        self.on_rows(logs.rows(self.workdir))
