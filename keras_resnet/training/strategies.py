"""The devices that train together, and what Keras' fit needs on them. For recipes and tests.

On TensorFlow this is tf.distribute: one device, several of one machine, several machines, a TPU. On
Keras' JAX backend it is keras.distribution.DataParallel over all devices that JAX sees.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnet.support import errors, keras_private, quiet
from keras_resnet.training import sums

if TYPE_CHECKING:  # needed on that backend alone
    import tensorflow as tf

KINDS = ("auto", "one", "mirrored", "multi_worker", "tpu")


class Devices:
    """Devices among which each batch is divided equally.

    Args:
        strategy: tf.distribute.Strategy, or None for one device.
        worker, workers: this process' place among those that train together.
        replicas: devices, of all workers.
        distribution: keras.distribution.Distribution, on JAX.
    """

    def __init__(
        self,
        strategy: "tf.distribute.Strategy | None" = None,
        worker: int = 0,
        workers: int = 1,
        replicas: int = 1,
        distribution: keras.distribution.DataParallel | None = None,
    ):
        self.strategy, self.worker, self.workers, self.replicas, self.distribution = (
            strategy, worker, workers, replicas, distribution,
        )  # fmt: skip

    @property
    def chief(self) -> bool:
        """Whether this process writes what a run leaves."""
        return self.worker == 0

    @property
    def part(self) -> tuple[int, int]:
        """(i, n): of each global batch this worker reads the i-th of n equal parts."""
        return self.worker, self.workers

    def scope(self) -> contextlib.AbstractContextManager:
        """Where the network, its optimizer and its metrics must be made, and fit be called."""
        several = self.strategy or self.distribution
        return several.scope() if several else contextlib.nullcontext()

    def check(self, batch_size: int, *, pairs: bool = False) -> None:
        """Refuses a global batch that cannot be divided equally among the replicas.

        Args:
            batch_size: pictures.
            pairs: whether each replica must have an even number, for MixUp and CutMix.

        Raises:
            ValueError: with the nearest sizes that work.
        """
        unit = self.replicas * (2 if pairs else 1)
        if batch_size % unit:
            below, above = batch_size // unit * unit, -(-batch_size // unit) * unit
            sizes = f"{below} or {above}" if below else f"{above}"
            each = "an even number each, to mix in pairs" if pairs else "equally many each"
            raise ValueError(
                f"batch_size={batch_size} cannot be divided among {self.replicas} devices ({each}): "
                f"take {sizes}."
            )

    def model(self) -> type[keras.Model]:
        """The class of which the training model must be."""
        return _multi_worker_model() if self.workers > 1 and self.strategy else keras.Model

    def feed(
        self, dataset: "tf.data.Dataset"
    ) -> "tf.data.Dataset | tf.distribute.DistributedDataset":
        """A worker's dataset of its part of each global batch, as fit takes it."""
        if not self.strategy:
            return dataset
        local = self.replicas // self.workers

        def split(_context):
            batch = dataset.element_spec[1].shape[0]
            return dataset.rebatch(batch // local, drop_remainder=True) if local > 1 else dataset

        return self.strategy.distribute_datasets_from_function(split)

    def predictor(self, model: keras.Model) -> "keras.Model | _Predictor | _JaxPredictor":
        """`model`, or what predicts a batch with all devices of this worker in its place."""
        if keras.backend.backend() == "jax":
            return _JaxPredictor(model)
        return _Predictor(model, self) if self.strategy else model

    def agree(self, model: keras.Model) -> None:
        """Gives all replicas the first one's moving statistics, which are those that are saved.

        Without synchronised batch normalisation each replica has those of the pictures it gets, and what
        is evaluated would be another network than the saved one. All workers must call it.
        """
        if not self.strategy or self.replicas == 1:
            return
        import tensorflow as tf

        statistics = [v for v in model.non_trainable_variables if v.dtype.startswith("float")]
        if not statistics:
            return

        @tf.function
        def take_the_first():
            context = tf.distribute.get_replica_context()
            values = [tf.cast(tf.reshape(v.value, [-1]), tf.float32) for v in statistics]
            flat = tf.concat(values, 0)  # one message in place of two a layer
            first = tf.equal(context.replica_id_in_sync_group, 0)
            flat = context.all_reduce("SUM", tf.where(first, flat, tf.zeros_like(flat)))
            parts = tf.split(flat, [math.prod(v.shape) for v in statistics])
            for variable, part in zip(statistics, parts, strict=True):
                variable.assign(tf.cast(tf.reshape(part, variable.shape), variable.dtype))

        self.strategy.run(take_the_first)

    @property
    def each(self) -> Callable[[list[keras.Variable]], sums.Sums]:
        """`training.fit`'s."""
        if not self.strategy or self.replicas == 1:
            return sums.Sums
        return lambda variables: sums.SumsOfEach(variables, self.strategy)

    @property
    def together(self) -> Callable[[list[bool]], list[bool]] | None:
        """`training.fit`'s: which of some wishes any worker has; None where there is one worker."""
        if self.workers == 1:
            return None
        return lambda wishes: [count > 0 for count in self.total(wishes)]

    def total(self, numbers: Sequence[float]) -> np.ndarray:
        """The sum over all workers of a list of numbers, float64; all must call it."""
        if self.workers == 1:
            return np.asarray(numbers, np.float64)
        if not self.strategy:
            from jax.experimental import multihost_utils

            # As pairs of uint32, since JAX would round float64.
            bits = np.asarray(numbers, np.float64).view(np.uint32)
            return multihost_utils.process_allgather(bits).view(np.float64).sum(axis=0)
        import tensorflow as tf

        part = tf.constant(np.float64(numbers)) / (self.replicas // self.workers)
        values = self.strategy.experimental_distribute_values_from_function(lambda _: part)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()


def devices(
    kind: str, *, tpu: str = "local", zone: str | None = None, project: str | None = None
) -> Devices:
    """The devices that `kind` means. Called before the first network is made.

    Args:
        kind: one of `KINDS`. "auto" is what there is: the workers of TF_CONFIG, all GPUs of this
            machine, or one device.
        tpu, zone, project: which TPU; "local" is the one of this machine.

    Raises:
        ValueError: `kind` is not to be had here, in one sentence.
    """
    if kind not in KINDS:
        raise ValueError(f"The strategy is one of {', '.join(KINDS)}; got {kind!r}.")
    if keras.backend.backend() == "jax":
        return _jax(kind)
    if keras.backend.backend() != "tensorflow":
        if kind in ("auto", "one"):
            return Devices()
        raise ValueError(
            f"The strategy {kind!r} needs KERAS_BACKEND=tensorflow or jax; this is "
            f"{keras.backend.backend()}: take 'one'."
        )
    import tensorflow as tf

    if kind == "tpu":
        return _tpu(tpu, zone, project)
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    if kind == "multi_worker" or (kind == "auto" and cluster):
        if not cluster:
            raise ValueError(
                "The strategy 'multi_worker' finds its workers in the environment variable TF_CONFIG, "
                "which is not set: see recipes/cluster/README.md."
            )
        return _multi_worker(tf)
    units = tf.config.list_logical_devices("GPU")
    if kind == "mirrored":
        units = units or tf.config.list_logical_devices("CPU")
    if kind == "one" or len(units) < 2:
        return Devices()
    strategy = tf.distribute.MirroredStrategy([unit.name for unit in units])
    return Devices(strategy, replicas=strategy.num_replicas_in_sync)


def lost_worker(error: Exception) -> str | None:
    """Where `error` came of another worker's end: a sentence that names it; else None."""
    task = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task")
    kinds = ("UnavailableError", "AbortedError", "InternalError", "CancelledError", "UnknownError")
    text = str(error)
    if task is None or type(error).__name__ not in kinds or "ollective" not in text:
        return None
    found = set(re.findall(r"/job:(\w+)/(?:replica:0/)?task:(\d+)", text))
    lost = sorted(found - {(task["type"], str(task["index"]))})
    which = " and ".join(f"{job} {index}" for job, index in lost) or "another worker"
    return (
        f"The cluster lost {which}. Start all workers again by the same command: they go on from "
        "the last checkpoint."
    )


def _multi_worker(tf):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict()
    chiefs, workers = len(cluster.get("chief", ())), len(cluster.get("worker", ()))
    worker = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return Devices(strategy, worker, chiefs + workers, strategy.num_replicas_in_sync)


def _tpu(tpu, zone, project):
    import tensorflow as tf

    where = "this machine" if tpu == "local" else f"{tpu} in {zone or 'the default zone'}"
    reason = None
    with quiet.start():
        try:
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
                tpu=tpu, zone=zone, project=project
            )
            if tpu != "local":
                tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
        except (
            tf.errors.NotFoundError,
            tf.errors.InvalidArgumentError,
            ValueError,
            OSError,
        ) as error:
            # Behind it stand operations and their attributes.
            reason = errors.first_line(error).partition(". Failed in initialization")[0]
    if reason is not None:
        raise ValueError(
            f"The strategy 'tpu' looked for a TPU on {where} and found none ({reason}): on a TPU VM "
            "`pip install tensorflow-tpu` brings TensorFlow's TPU build, and KERAS_BACKEND=jax with "
            "`pip install jax[tpu]` goes by Keras itself."
        )
    strategy = tf.distribute.TPUStrategy(resolver)
    return Devices(strategy, replicas=strategy.num_replicas_in_sync)


def _jax(kind):
    import jax

    if kind == "multi_worker":
        _join_jax()
    found = jax.devices()
    if kind == "tpu" and found[0].platform != "tpu":
        raise ValueError(
            f"The strategy 'tpu' with KERAS_BACKEND=jax looked for TPU devices and JAX has "
            f"{len(found)} of {found[0].platform}: `pip install jax[tpu]` on a TPU VM."
        )
    if kind == "one" or len(found) == 1:
        return Devices()
    distribution = keras.distribution.DataParallel(devices=found, auto_shard_dataset=False)
    return Devices(None, jax.process_index(), jax.process_count(), len(found), distribution)


def _join_jax():
    """Joins JAX' other processes, where keras.distribution.initialize finds them."""
    try:
        keras.distribution.initialize()
    except (ValueError, RuntimeError) as error:
        reason = errors.first_line(error)
        raise ValueError(
            f"The strategy 'multi_worker' with KERAS_BACKEND=jax found no other processes ({reason}): "
            "on a TPU slice JAX finds them itself; elsewhere set KERAS_DISTRIBUTION_JOB_ADDRESSES, "
            "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID, see "
            "recipes/cluster/README.md."
        ) from None


def _multi_worker_model():
    """Keras 3's fit does not support several workers (keras issue 20585); with these two it does:
    the logs of a step keep an axis that fit can gather over, and no symbolic build is tried."""
    import tensorflow as tf

    class MultiWorkerModel(keras_private.NoSymbolicBuild, keras.Model):
        def train_step(self, data):
            return {
                name: tf.expand_dims(value, 0) for name, value in super().train_step(data).items()
            }

    return MultiWorkerModel


class _Predictor:
    """Predicts each batch in equal parts on all of a worker's replicas."""

    def __init__(self, model, devices):
        import tensorflow as tf

        self._local = devices.replicas // devices.workers
        self._strategy = devices.strategy
        self._run = tf.function(
            lambda parts: devices.strategy.run(
                lambda part: model(part, training=False), args=(parts,)
            )
        )

    def predict_on_batch(self, pictures) -> np.ndarray:
        import tensorflow as tf

        parts = tf.split(pictures, self._local)
        values = self._strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group % self._local]
        )
        results = self._strategy.experimental_local_results(self._run(values))
        return np.concatenate([result.numpy() for result in results])


class _JaxPredictor:
    """Predicts this process' batch in equal parts on the devices of this process: the others may have
    other batches. Leaves the variables' memory alone, which Keras' predict gives away and an
    optimizer's moving average may share."""

    def __init__(self, model):
        import jax

        mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("batch",))
        self._whole, self._parts = (
            jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
            for axes in ((), ("batch",))
        )
        self._model = model
        self._run = jax.jit(
            lambda trained, other, x: model.stateless_call(trained, other, x, training=False)[0]
        )

    def predict_on_batch(self, pictures) -> np.ndarray:
        import jax

        model = self._model
        weights = [
            [jax.device_put(v.value.addressable_data(0), self._whole) for v in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]
        return np.asarray(self._run(*weights, jax.device_put(np.asarray(pictures), self._parts)))
