"""/metrics, what Prometheus asks for: requests, seconds, rows, batches, queues, memory."""

import re
from collections.abc import Iterator

import prometheus_client
from prometheus_client import core
from prometheus_client.registry import Collector

from keras_resnet.serving.server import intake
from keras_resnet.serving.server.service import Service

TYPE = prometheus_client.CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_METHODS = ("GET", "HEAD", "POST")
# What a path is a kind of: clients choose paths, so that a label for each would have no end.
_KINDS = {
    "predict": r"/v1/models/[^/:]+.*:predict",
    "metadata": r"/v1/models/.*/metadata|/v2/models/[^/]+(/versions/\d+)?",
    "status": r"/v1/models/[^/:]+(/versions/\d+|/labels/[^/:]+)?|/v2/models/.*/ready|/v2/repository/index",
    "infer": r"/v2/models/.*/infer",
    "health": r"/v2(/health/(live|ready))?",
    "metrics": r"/metrics",
    "page": r"/(docs|openapi\.json|page/[a-z]+\.[a-z]+)?",
}
_KIND = re.compile("|".join(f"(?P<{kind}>{path})" for kind, path in _KINDS.items()), re.I)


class Metrics:
    """What has been counted of a service and its connections."""

    def __init__(self, service: Service, connections: intake.Connections):
        self._registry = registry = prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            "keras_resnet_requests",
            "Requests answered, by the kind of their path.",
            ("protocol", "method", "path", "code"),
            registry=registry,
        )
        self._seconds = prometheus_client.Histogram(
            "keras_resnet_request_seconds",
            "From a request's header to its answer, the body's arrival included.",
            ("protocol", "path"),
            buckets=_SECONDS,
            registry=registry,
        )
        registry.register(_Queues(service, connections))
        prometheus_client.ProcessCollector(registry=registry)  # memory and CPU, where /proc is

    def count(self, protocol: str, method: str, path: str, code: str, seconds: float) -> None:
        """Counts a request.

        Args:
            protocol: "REST" or "gRPC".
            method: HTTP's; "POST" of gRPC.
            path: as it came, or the name of gRPC's method.
            code: of the answer.
            seconds: that it took.
        """
        found = _KIND.fullmatch(path)
        kind = found.lastgroup if found else path if protocol == "gRPC" else "other"
        method = method if method in _METHODS else "other"
        self._requests.labels(protocol, method, kind, code).inc()
        self._seconds.labels(protocol, kind).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)


class _Queues(Collector):
    """Figures that the service keeps anyway, read when they are asked for."""

    def __init__(self, service, connections):
        self._service, self._connections = service, connections

    def collect(self) -> Iterator[core.Metric]:
        labels = ("model", "version", "signature")
        rows = core.CounterMetricFamily(
            "keras_resnet_rows", "Rows (pictures) that were run.", labels=labels
        )
        batches = core.CounterMetricFamily(
            "keras_resnet_batches", "Batches that were run.", labels=labels
        )
        waiting = core.GaugeMetricFamily(
            "keras_resnet_queue_rows", "Rows that wait.", labels=labels
        )
        for name, model in self._service.models.items():
            for version, servable in model.served.items():
                for signature, queue in servable.queues.items():
                    values = (name, str(version), signature)
                    rows.add_metric(values, queue.rows)
                    batches.add_metric(values, queue.batches)
                    waiting.add_metric(values, queue.waiting)
        yield from (rows, batches, waiting)
        yield core.GaugeMetricFamily(
            "keras_resnet_request_bytes",
            "Bytes that requests under way hold.",
            self._service.held.now,
        )
        yield core.GaugeMetricFamily(
            "keras_resnet_connections",
            "REST connections that are open.",
            len(self._connections.open),
        )
