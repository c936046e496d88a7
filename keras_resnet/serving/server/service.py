"""What the server is asked for, by whichever protocol."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from keras_resnet.serving.server import intake
from keras_resnet.serving.server.refusals import Code, Refusal
from keras_resnet.serving.server.servables import Model, Servable, not_served


class Service:
    """The calls themselves, for REST and gRPC alike; each raises `Refusal`.

    Args:
        models: what is served.
        max_request_bytes: of one request, packed, unpacked and as tensors; all that are under way hold four times as
            many at most.
        version: that the server says it has.
    """

    def __init__(self, models: Iterable[Model], max_request_bytes: int, version: str):
        self.version = version
        self.models = {model.name: model for model in models}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tensors")
        self.max_request_bytes, self.held = max_request_bytes, intake.Held(4 * max_request_bytes)
        self.answered = self.refused = 0

    async def in_thread(self, function: Callable, *arguments) -> Any:
        """What ``function(*arguments)`` gives, of a thread; two at a time, since each holds what it reads."""

        def call():
            try:
                return function(*arguments)
            except StopIteration as error:  # which a future cannot carry: nobody would be answered
                raise RuntimeError("StopIteration") from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        if name not in self.models:
            raise not_served(name, version)
        return self.models[name].find(version, label)

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> get_model_status_pb2.GetModelStatusResponse:
        if label:
            version = self.find(name, label=label).version
        states = dict(self.models[name].states) if name in self.models else {}
        if version is not None and version not in states:
            raise Refusal(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        if not states:
            raise Refusal(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        wanted = sorted(states, reverse=True) if version is None else [version]
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[states[v] for v in wanted]
        )

    def states(self) -> dict[str, dict[int, get_model_status_pb2.ModelVersionStatus]]:
        """Name of each model -> the states of its versions."""
        return {name: dict(model.states) for name, model in self.models.items()}

    def versions(self, name: str) -> list[int]:
        """The versions of a model that answer, in order."""
        return sorted(self.models[name].served)

    def signature_defs(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> tuple[int, get_model_metadata_pb2.SignatureDefMap]:
        """The number of the version that answers, and its signatures."""
        servable = self.find(name, version, label)
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        return servable.version, signatures
