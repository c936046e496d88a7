"""What a network is trained by, and what an evaluation found: named figures, of one output or several."""

import math
from typing import Any, NamedTuple

import keras

# What a log's row holds besides.
_TAKEN = {"epoch", "step", "loss", "rate", "input_wait", "seconds"}


class Measures(NamedTuple):
    """Losses and figures of training, in the words of Keras' `compile`: for a network of one output each as it is, for
    one of several a dict, output name -> loss or metrics.

    Args:
        loss: keras.losses.Loss of (targets, outputs), or a dict of them.
        loss_weights: output name -> what its loss is multiplied by in the sum that is trained on; default: 1.
        metrics: a list of keras.metrics.Metric, or a dict of lists: figures for the log. Under a strategy they are made
            within its scope.
        weighted_metrics: the same, of figures that count each example by the weight that comes with its batch.
    """

    loss: Any
    loss_weights: dict[str, float] | None = None
    metrics: Any = ()
    weighted_metrics: Any = ()

    def figures(self) -> dict[str, keras.metrics.Metric]:
        """Name in the log -> metric: "accuracy", or of one output among several "output_accuracy".

        Raises:
            ValueError: two have one name, or one is called as something else in a row of the log.
        """
        named = []
        for group in (self.metrics, self.weighted_metrics):
            by_output = group.items() if isinstance(group, dict) else [("", group)]
            for output, metrics in by_output:
                metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
                before = f"{output}_" if output else ""
                named += [(before + metric.name, metric) for metric in metrics]
        found = dict(named)
        taken = sorted(found.keys() & _TAKEN)
        if len(found) < len(named) or taken:
            names = ", ".join(name for name, _ in named)
            raise ValueError(
                f"Each metric needs another name, and none of {', '.join(sorted(_TAKEN))}; got {names}."
            )
        return found

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compiles `model` for them."""
        model.compile(
            optimizer=optimizer,
            loss=self.loss,
            loss_weights=self.loss_weights,
            metrics=self.metrics or None,
            weighted_metrics=self.weighted_metrics or None,
        )


def of_classifier(
    loss: keras.losses.Loss | None = None, accuracy: keras.metrics.Metric | None = None
) -> Measures:
    """Of a network [B,...] -> logits [B,...,K].

    Args:
        loss, accuracy: of (labels, logits); default: the mean cross-entropy of integer labels, and how many of them
            have the highest logit.
    """
    return Measures(
        loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[accuracy or keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )


class Figures(NamedTuple):
    """What came of an evaluation.

    Args:
        values: name -> figure. One called "loss" says which of two epochs is better where they are otherwise equal:
            that of the lower one.
        decides: the name of the figure by which epochs are compared.
        higher: whether a higher one is better.
        sentence: for the log, in which "{called}" stands for what the examples are called; default: the figures.
    """

    values: dict[str, float]
    decides: str
    higher: bool = True
    sentence: str = ""

    @property
    def error(self) -> float:
        """What is to become small: 1 - the figure that decides where a higher one is better, else that figure."""
        value = float(self.values[self.decides])
        return 1.0 - value if self.higher else value

    def row(self, evaluated: str) -> dict[str, float]:
        """Name in the log -> figure. The error stands there too, where it is not that of "accuracy"."""
        found = {f"{evaluated}_{name}": float(value) for name, value in self.values.items()}
        if self.decides != "accuracy" or not self.higher:
            found[f"{evaluated}_error"] = self.error
        return found

    def words(self, called: str) -> str:
        """The sentence, of examples that are called so."""
        if self.sentence:
            return self.sentence.replace("{called}", called)
        return ", ".join([called, *(f"{name} {value:.4g}" for name, value in self.values.items())])


def error_of(row: dict, evaluated: str = "holdout") -> float | None:
    """The error of the evaluation that a row of the log tells of; infinite where it is no number, None without one."""
    found = row.get(f"{evaluated}_error")
    if found is None and f"{evaluated}_accuracy" in row:
        found = 1.0 - row[f"{evaluated}_accuracy"]
    return math.inf if found is not None and math.isnan(found) else found
