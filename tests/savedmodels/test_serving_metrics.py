"""/metrics by Prometheus' parser, /openapi.json by OpenAPI's schema and against the server."""

import re

import pytest
import server_process
import serving_kit


def package(name):
    return pytest.importorskip(name, reason="not installed; the extra `test` brings it")


requests, _ = package("requests"), package("aiohttp")
parser = package("prometheus_client.parser")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    serving_kit.save(folder)
    with server_process.running("--model_name=tiny", f"--model_base_path={folder}") as server:
        yield server


def figures(server):
    """{(name, its labels): value}."""
    response = requests.get(f"{server.url}/metrics", timeout=60)
    assert response.status_code == 200 and response.headers["Content-Type"].startswith("text/plain")
    families = list(parser.text_string_to_metric_families(response.text))
    assert all(family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, frozenset(s.labels.items())): s.value for s in samples}


def changes(server, work):
    before = figures(server)
    work()
    after = figures(server)
    return {
        (name, *sorted(labels)): value - before.get((name, labels), 0)
        for (name, labels), value in after.items()
        if value != before.get((name, labels), 0)
    }


def test_requests_rows_and_batches_are_counted(server):
    predict, rows = f"{server.url}/v1/models/tiny:predict", [[[[0, 0, 0]] * 8] * 8] * 3

    def work():
        for _ in range(2):
            assert requests.post(predict, json={"instances": rows}, timeout=60).ok
        assert requests.post(predict, json={}, timeout=60).status_code == 400
        requests.get(f"{server.url}/v1/models/tiny/x", timeout=60)
        requests.put(f"{server.url}/coffee", timeout=60)

    found = changes(server, work)

    def requests_of(method, path, code):
        labels = ("code", code), ("method", method), ("path", path), ("protocol", "REST")
        return found.get(("keras_resnet_requests_total", *labels))

    assert requests_of("POST", "predict", "200") == 2
    assert requests_of("POST", "predict", "400") == 1
    assert requests_of("GET", "other", "400") == 1
    assert requests_of("other", "other", "404") == 1
    queue = ("model", "tiny"), ("signature", "serving_default"), ("version", "1")
    assert found["keras_resnet_rows_total", *queue] == 6
    assert found["keras_resnet_batches_total", *queue] == 2
    timed = ("path", "predict"), ("protocol", "REST")
    assert found["keras_resnet_request_seconds_count", *timed] == 3
    assert found["keras_resnet_request_seconds_sum", *timed] > 0


def test_rpc_is_counted(server):
    grpc, remote = package("grpc"), package("keras_resnet.serving.remote")
    predict = remote.connect(f"grpc://127.0.0.1:{server.port}", "tiny")
    assert grpc and changes(server, lambda: predict([serving_kit.png(0)]))[
        "keras_resnet_requests_total", ("code", "OK"), ("method", "POST"), ("path", "Predict"), ("protocol", "gRPC")
    ] == 1  # fmt: skip


def test_what_there_is_now(server):
    found = figures(server)
    assert found["keras_resnet_connections", frozenset()] >= 1
    assert found["keras_resnet_request_bytes", frozenset()] == 0
    assert found["process_resident_memory_bytes", frozenset()] > 1e8
    waiting = [value for (name, _), value in found.items() if name == "keras_resnet_queue_rows"]
    assert waiting == [0] * len(waiting) and len(waiting) >= 4


def test_paths_that_clients_invent_add_no_figures(server):
    before = len(figures(server))
    for i in range(20):
        requests.get(f"{server.url}/v1/models/m{i}:predict{i}", timeout=60)
        requests.get(f"{server.url}/{i}", timeout=60)
        requests.get(f"{server.url}/v2/models/m{i}", timeout=60)
    assert len(figures(server)) - before < 60


def test_openapi_describes_what_is_there(server):
    document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    package("openapi_spec_validator").validate(document)
    listed = requests.get(f"{server.url}/docs", timeout=60).text
    for path, methods in document["paths"].items():
        for method in methods:
            where = path.replace("{name}", "tiny").replace("{version}", "1")
            response = requests.request(method, server.url + where, json={}, timeout=60)
            assert response.status_code != 404 and "Malformed" not in response.text, (method, path)
            assert str(response.status_code) in {*document["paths"][path][method]["responses"]}
            assert f"<strong>{method.upper()}</strong> {path}</code>" in listed


def test_pages_have_nothing_from_elsewhere(server):
    for path in ("/", "/docs"):
        response = requests.get(server.url + path, timeout=60)
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
        assert "unsafe" not in str(policy)
        for link in re.findall(r'(?:src|href)="([^"]*)"', response.text):
            assert link.startswith("/")
            assert requests.get(server.url + link, timeout=60).status_code == 200, link
    assert requests.post(f"{server.url}/", data=b"x", timeout=60).status_code == 404
    assert requests.head(f"{server.url}/", timeout=60).status_code == 200
