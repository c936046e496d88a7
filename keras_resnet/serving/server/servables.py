"""SavedModels as TF Serving holds them: versions of a folder, requests run together, warm-up, refusals.

What it does of TF Serving's: the version policies and labels of `models.config`, new version folders
found while it runs, `assets.extra/tf_serving_warmup_requests`, batches of the requests that wait, a
queue that refuses when it is full. What it leaves: everything else.
"""

import functools
import itertools
import logging
import pathlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_resnet.serving import file_operations, warmup
from keras_resnet.serving.server import intake
from keras_resnet.serving.server.answers import INT64
from keras_resnet.serving.server.queue import Limits, Queue
from keras_resnet.serving.server.refusals import Code, Refusal, as_refusal

logger = logging.getLogger(__name__)

State = get_model_status_pb2.ModelVersionStatus.State
WARMUP_BYTES = 256 << 20  # that one of its requests may claim
_INIT = "__saved_model_init_op"


class Servable:
    """One version of one model, loaded and warmed up; loading blocks.

    Args:
        name: of the model.
        version: its number.
        path: of the folder with saved_model.pb.
        limits: of its queues.
        pool: in which its graph is run.
        allow_file_operations: load it though its graph reads or writes files: see `file_operations.check`.

    Raises:
        Exception: whatever TensorFlow finds wrong with the folder.
    """

    def __init__(
        self,
        name: str,
        version: int,
        path: pathlib.Path,
        limits: Limits,
        pool: ThreadPoolExecutor,
        allow_file_operations: bool = False,
    ):
        self.name, self.version, self.limits = name, version, limits
        saved = file_operations.check(path, allow_file_operations)
        self.signature_defs = {
            key: signature
            for graph in saved.meta_graphs
            if "serve" in graph.meta_info_def.tags
            for key, signature in graph.signature_def.items()
        }
        for signature in self.signature_defs.values():
            signature.ClearField("defaults")
        self._loaded = tf.saved_model.load(str(path))
        self.queues = {
            key: Queue(self._caller(key), limits, pool)
            for key in self.signature_defs
            if key != _INIT
        }
        for request in warmup_requests(path):
            signature = request.model_spec.signature_name or "serving_default"
            inputs = intake.arrays(request.inputs, lambda count: None, WARMUP_BYTES)
            self._check(signature, inputs)
            self._caller(signature)(inputs)

    def dtypes(self, signature: str) -> dict:
        """NumPy's dtype of each input; `object` for strings."""
        inputs = self.signature_defs[signature].inputs
        return {k: np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype) for k, info in inputs.items()}

    async def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.

        Raises:
            Refusal: no such signature, or inputs that do not fit it.
        """
        self._check(signature, inputs)
        return await self.queues[signature].run(inputs)

    def _check(self, signature, inputs):
        if signature not in self.signature_defs or signature == _INIT:
            raise Refusal(
                Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.'
            )
        wanted = self.signature_defs[signature].inputs
        if wanted.keys() != inputs.keys():
            extra, missing = inputs.keys() - wanted.keys(), wanted.keys() - inputs.keys()
            sets = [f"{{{','.join(sorted(names))}}}" for names in (inputs, wanted, extra, missing)]
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(wanted)} "
                f"len({sets[0]}) != len({sets[1]}). Sent extra: {sets[2]}. Missing but required: {sets[3]}.",
            )
        for i, (name, info) in enumerate(sorted(wanted.items())):
            dtype, array = tf.as_dtype(info.dtype), inputs[name]
            if array.dtype != dtype.as_numpy_dtype:
                given = "string" if array.dtype == object else tf.as_dtype(array.dtype).name
                raise Refusal(
                    Code.INVALID_ARGUMENT,
                    f"Expects arg[{i}] to be {dtype.name} but {given} is provided",
                )
            shape = tf.TensorShape(info.tensor_shape)
            if not shape.is_compatible_with(array.shape):
                raise Refusal(
                    Code.INVALID_ARGUMENT,
                    f"Input {name!r} has shape {list(array.shape)}; the signature's is {shape}",
                )

    def _caller(self, signature):
        function = self._loaded.signatures[signature]
        dtypes = {key: info.dtype for key, info in self.signature_defs[signature].inputs.items()}

        def call(inputs):
            outputs = function(**{k: tf.constant(v, dtypes[k]) for k, v in inputs.items()})
            # With the dtype, since a single string's array would be no array of objects.
            return {k: np.asarray(t.numpy(), t.dtype.as_numpy_dtype) for k, t in outputs.items()}

        return call


class Model:
    """The versions of one model that its folder and its `ModelConfig` ask for."""

    def __init__(
        self,
        config: model_server_config_pb2.ModelConfig,
        limits: Limits,
        pool: ThreadPoolExecutor,
        allow_file_operations: bool = False,
    ):
        self.name, self._labels = config.name, dict(config.version_labels)
        self._base, self._policy = pathlib.Path(config.base_path), config.model_version_policy
        self._load = functools.partial(
            Servable, limits=limits, pool=pool, allow_file_operations=allow_file_operations
        )
        self._served, self.states, self._warned = {}, {}, None

    @property
    def served(self) -> dict[int, Servable]:
        """The versions that answer, by number."""
        return dict(self._served)

    def find(self, version: int | None = None, label: str | None = None) -> Servable:
        """The newest version, or that of a number or label.

        Raises:
            Refusal: it is not served.
        """
        if label:
            if label not in self._labels:
                raise Refusal(
                    Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}"
                )
            version = self._labels[label]
        served = self._served
        if version is None and served:
            version = max(served)
        if version not in served:
            raise not_served(self.name, version)
        return served[version]

    def refresh(self) -> None:
        """Loads and drops versions as the folder now has them; blocks while it loads.

        A version is dropped when another is there to answer; requests that it has begun end well. Whatever goes wrong
        is logged, once, and what is served stays.
        """
        try:
            self._refresh()
            warning = None
        except OSError as error:
            warning = f"{self._base} cannot be read ({error.strerror}): {self.name} stays as it is."
        except Exception as error:
            warning = f"{self.name} stays as it is: {as_refusal(error)}"
        if warning and warning != self._warned:
            logger.warning("%s", warning)
        self._warned = warning

    def _refresh(self):
        found = self._found()
        wanted = self._wanted(found)
        for version in sorted(wanted - self.states.keys()):
            self._set(version, State.LOADING)
            try:
                servable = self._load(self.name, version, found[version])
            except Exception as error:
                self._set(version, State.END, error)
                reason = self.states[version].status.error_message
                logger.warning("%s cannot be served: %s", found[version], reason)
            else:
                self._served = {**self._served, version: servable}  # replaced: requests read it
                self._set(version, State.AVAILABLE)
                logger.info("%s: version %d is served.", self.name, version)
        if wanted & self._served.keys():
            for version in self._served.keys() - wanted:
                self._served = {k: v for k, v in self._served.items() if k != version}
                self._set(version, State.END)
                logger.info("%s: version %d is no longer served.", self.name, version)
        for version in self.states.keys() - wanted - self._served.keys():
            if self.states[version].state == State.END and version not in found:
                del self.states[version]

    def _found(self):
        """The version folders by number: `1`, or `00000001` as TF Serving's examples write it."""
        return {
            int(path.name): path
            for path in sorted(self._base.iterdir(), reverse=True)
            if re.fullmatch("[0-9]{1,30}", path.name) and int(path.name) < INT64 and path.is_dir()
        }

    def _wanted(self, found):
        kind = self._policy.WhichOneof("policy_choice")
        if kind == "all":
            return set(found)
        if kind == "specific":
            return found.keys() & set(self._policy.specific.versions)
        count = self._policy.latest.num_versions or 1
        return set(sorted(found)[-count:])

    def _set(self, version, state, error=None):
        status = get_model_status_pb2.ModelVersionStatus(version=version, state=state)
        status.status.SetInParent()  # "OK" is spelt out
        if error:
            refused = as_refusal(error)
            status.status.error_code = refused.code.value[0]
            status.status.error_message = str(refused)
        self.states[version] = status


def not_served(name: str, version: int | None) -> Refusal:
    """The answer to a request for a model, or a version of one, that is not there; None means the newest."""
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return Refusal(Code.NOT_FOUND, f"Servable not found for request: {wanted}")


def warmup_requests(path: pathlib.Path) -> Iterator[predict_pb2.PredictRequest]:
    """The PredictRequests that a version brings to be run before it serves, at most 1,000 as in TF Serving."""
    file = path / warmup.FILE
    if file.is_file():
        records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        for record in itertools.islice(records, warmup.MOST):
            try:
                yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            except DecodeError:
                raise ValueError(f"{file} holds a record that is no PredictionLog.") from None
