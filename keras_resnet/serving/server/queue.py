"""Requests run together: those that wait when a thread is free are one batch."""

import asyncio
import collections
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_resnet.serving.server.refusals import Code, Refusal, as_refusal


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


@dataclasses.dataclass
class _Task:
    inputs: dict
    rows: int  # 0: not to be run with others; it takes the place of one
    done: asyncio.Future

    @property
    def row_shapes(self):
        """Tasks whose rows have the same shapes can be run together."""
        return [(name, array.shape[1:]) for name, array in sorted(self.inputs.items())]


class Queue:
    """The requests to one signature: those that wait when a thread is free run as one batch.

    That is `batch_timeout_micros: 0`: nobody waits for company. A request of more rows than a batch
    is cut (`enable_large_batch_splitting`).

    Args:
        call: ``call(inputs) -> outputs``, arrays by name.
        limits: of what waits and of a batch.
        pool: in which `call` runs.
    """

    def __init__(self, call: Callable, limits: Limits, pool: ThreadPoolExecutor):
        self._call, self._limits, self._pool = call, limits, pool
        self._waiting, self._rows, self._drains = collections.deque(), 0, set()
        self.batches = self.rows = 0  # that have been run

    @property
    def waiting(self) -> int:
        """Rows."""
        return self._rows

    async def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.

        Raises:
            Refusal: too many rows, or too many wait, or what `call` raises.
        """
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
            self._drains.add(asyncio.create_task(self._drain()))
        return await task.done

    async def _drain(self):
        while batch := self._take():
            loop = asyncio.get_running_loop()
            self.batches += 1
            self.rows += sum(max(1, task.rows) for task in batch)
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
        # Here, not when the event loop comes to it: a request in between would count on a drain that has ended.
        self._drains.discard(asyncio.current_task())

    def _take(self):
        """The tasks at the front that fit together; those whose client has gone are dropped."""
        batch, rows = [], 0
        while self._waiting:
            task = self._waiting[0]
            if not task.done.cancelled():
                alone = batch and not (
                    task.rows and batch[0].rows and task.row_shapes == batch[0].row_shapes
                )
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
