"""SavedModels as TF Serving holds them: versions of a folder, requests run together, warm-up, refusals.

What it does of TF Serving's: the version policies and labels of `models.config`, new version folders
found while it runs, `assets.extra/tf_serving_warmup_requests`, batches of the requests that wait, a
queue that refuses when it is full. What it leaves: everything else.
"""

import asyncio
import collections
import dataclasses
import functools
import itertools
import pathlib
import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import intake
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from intake import Refusal
from tensorflow_serving.apis import get_model_status_pb2, prediction_log_pb2

from keras_resnet.serving import saved_model_ops
from keras_resnet.support.progress import say

Code = grpc.StatusCode
State = get_model_status_pb2.ModelVersionStatus.State
WARMUP = "assets.extra/tf_serving_warmup_requests"
WARMUP_BYTES = 256 << 20  # that one of its requests may claim
_CODES = {code.value[0]: code for code in Code}  # TensorFlow's numbers are gRPC's
_INIT = "__saved_model_init_op"
INT64 = 2**63  # what a version's number is below
_NOISE = re.compile(
    r"\[\[.*?\]\]|\[Op:[^\]]*\]|\{\{.*?\}\}|^(Graph execution error|Detected at|<stack|\(\d+\)).*",
    re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Limits:
    """The names and meanings are those of TF Serving's BatchingParameters."""

    max_batch_size: int = 32
    max_enqueued_batches: int = 8
    num_batch_threads: int = 2

    @property
    def room(self) -> int:
        """Rows that may wait, and the most of one request."""
        return self.max_batch_size * self.max_enqueued_batches


class Servable:
    """One version of one model, loaded and warmed up; loading blocks.

    Args:
        name: of the model.
        version: its number.
        path: of the folder with saved_model.pb.
        limits: of its queues.
        pool: in which its graph is run.
        allow_file_operations: load it though its graph reads or writes files: see `saved_model_ops.check`.

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
        saved = saved_model_ops.check(path, allow_file_operations)
        self.signature_defs = {
            key: signature
            for graph in saved.meta_graphs
            if "serve" in graph.meta_info_def.tags
            for key, signature in graph.signature_def.items()
        }
        for signature in self.signature_defs.values():
            signature.ClearField("defaults")
        self._loaded = tf.saved_model.load(str(path))
        self._queues = {
            key: _Queue(self._caller(key), limits, pool)
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
            Refusal: no such signature, or inputs that are not its own.
        """
        self._check(signature, inputs)
        return await self._queues[signature].run(inputs)

    def _check(self, signature, inputs):
        if signature not in self.signature_defs or signature == _INIT:
            raise Refusal(
                Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.'
            )
        wanted = self.signature_defs[signature].inputs
        if wanted.keys() != inputs.keys():
            names = [",".join(sorted(some)) for some in (
                inputs, wanted, inputs.keys() - wanted.keys(), wanted.keys() - inputs.keys()
            )]  # fmt: skip
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(wanted)} "
                "len({{{}}}) != len({{{}}}). Sent extra: {{{}}}. Missing but required: {{{}}}.".format(
                    *names
                ),
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
            return {key: np.asarray(tensor.numpy()) for key, tensor in outputs.items()}

        return call


class Model:
    """The versions of one model that its folder and its `ModelConfig` ask for."""

    def __init__(self, config, limits: Limits, pool: ThreadPoolExecutor, **loading):
        self.name, self._labels = config.name, dict(config.version_labels)
        self._base, self._policy = pathlib.Path(config.base_path), config.model_version_policy
        self._load = functools.partial(Servable, limits=limits, pool=pool, **loading)
        self._served, self.states, self._said = {}, {}, None

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
            wanted = (
                f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
            )
            raise Refusal(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return served[version]

    def refresh(self):
        """Loads and drops versions as the folder now has them; blocks while it loads.

        A version is dropped when another is there to answer; requests that it has begun end well. Whatever goes wrong
        is said, once, and what is served stays.
        """
        try:
            self._refresh()
            said = None
        except OSError as error:
            said = f"{self._base} cannot be read ({error.strerror}): {self.name} stays as it is."
        except Exception as error:
            said = f"{self.name} stays as it is: {as_refusal(error)}"
        if said and said != self._said:
            say(said)
        self._said = said

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
                say(f"{found[version]} cannot be served: {reason}")
            else:
                self._served = {**self._served, version: servable}  # replaced: requests read it
                self._set(version, State.AVAILABLE)
                say(f"{self.name}: version {version} is served.")
        if wanted & self._served.keys():
            for version in self._served.keys() - wanted:
                self._served = {k: v for k, v in self._served.items() if k != version}
                self._set(version, State.END)
                say(f"{self.name}: version {version} is no longer served.")
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


def warmup_requests(path: pathlib.Path):
    """The PredictRequests that a version brings to be run before it serves, at most 1,000 as in TF Serving."""
    file = path / WARMUP
    if file.is_file():
        records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        for record in itertools.islice(records, 1000):
            try:
                yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            except DecodeError:
                raise ValueError(f"{file} holds a record that is no PredictionLog.") from None


def as_refusal(error: Exception) -> Refusal:
    """What an exception of TensorFlow's says, in one line and with its own code."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, tf.errors.OpError):
        words = " ".join(_NOISE.sub("", error.message).split())
        return Refusal(_CODES.get(error.error_code, Code.UNKNOWN), words or type(error).__name__)
    if isinstance(error, ValueError):
        return Refusal(Code.INVALID_ARGUMENT, str(error))
    if isinstance(error, MemoryError):
        return Refusal(Code.RESOURCE_EXHAUSTED, "There is no memory left for this request.")
    if isinstance(error, FileNotFoundError):
        return Refusal(Code.NOT_FOUND, str(error))
    return Refusal(Code.INTERNAL, f"{type(error).__name__}: {error}")


# --- the queue


@dataclasses.dataclass
class _Task:
    inputs: dict
    rows: int  # 0: not to be run with others; it takes the place of one
    done: asyncio.Future

    @property
    def form(self):
        """Tasks of one form can be run together."""
        return [(name, array.shape[1:]) for name, array in sorted(self.inputs.items())]


class _Queue:
    """The requests to one signature: those that wait when a thread is free run as one batch.

    That is `batch_timeout_micros: 0`: nobody waits for company. A request of more rows than a batch
    is cut (`enable_large_batch_splitting`).
    """

    def __init__(self, call, limits, pool):
        self._call, self._limits, self._pool = call, limits, pool
        self._waiting, self._rows, self._drains = collections.deque(), 0, set()

    async def run(self, inputs):
        lengths = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
        rows = lengths.pop() if len(lengths) == 1 else 0
        size, room = self._limits.max_batch_size, self._limits.room
        if rows > room:
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"Task size {rows} is larger than maximum input batch size {room}",
            )
        if self._rows + max(1, rows) > room:
            raise Refusal(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{self._rows} rows wait and {room} may",
            )
        if rows <= size:
            return await self._enqueue(inputs, rows)
        parts = await asyncio.gather(
            *(
                self._enqueue({k: v[i : i + size] for k, v in inputs.items()}, min(size, rows - i))
                for i in range(0, rows, size)
            )
        )
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    async def _enqueue(self, inputs, rows):
        task = _Task(inputs, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(task)
        self._rows += max(1, rows)
        if len(self._drains) < self._limits.num_batch_threads:
            drain = asyncio.create_task(self._drain())
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)
        return await task.done

    async def _drain(self):
        while batch := self._take():
            loop = asyncio.get_running_loop()
            try:
                results = await loop.run_in_executor(self._pool, self._execute, batch)
            except Exception as error:  # no thread, no memory: nobody waits for ever
                results = [as_refusal(error)] * len(batch)
            for task, result in zip(batch, results, strict=True):
                if task.done.cancelled():  # the client has gone
                    continue
                if isinstance(result, Refusal):
                    task.done.set_exception(result)
                else:
                    task.done.set_result(result)

    def _take(self):
        """The tasks at the front that fit together; those whose client has gone are dropped."""
        batch, rows = [], 0
        while self._waiting:
            task = self._waiting[0]
            if not task.done.cancelled():
                alone = batch and not (task.rows and batch[0].rows and task.form == batch[0].form)
                if alone or (batch and rows + task.rows > self._limits.max_batch_size):
                    break
                batch.append(task)
                rows += task.rows
            self._waiting.popleft()
            self._rows -= max(1, task.rows)
        return batch

    def _execute(self, batch):
        """Each task's outputs, or its `Refusal`; one bad request does not fail its neighbours."""
        names, rows = batch[0].inputs, [task.rows for task in batch]
        try:
            if len(batch) == 1:
                return [self._call(batch[0].inputs)]
            outputs = self._call(
                {name: np.concatenate([task.inputs[name] for task in batch]) for name in names}
            )
            if any(len(array) != sum(rows) for array in outputs.values()):
                raise Refusal(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors",
                )
        except Exception as error:
            if len(batch) == 1:
                return [as_refusal(error)]
            return [self._execute([task])[0] for task in batch]
        cuts = np.cumsum(rows)[:-1]
        parts = {name: np.split(array, cuts) for name, array in outputs.items()}
        return [{name: part[i] for name, part in parts.items()} for i in range(len(batch))]
