"""local_server.py against TF Serving's documented API, case by case, and client.py against the server.

Sources: https://www.tensorflow.org/tfx/serving/api_rest; for sentences and codes json_tensor.cc,
http_rest_api_util.cc, http_server.cc, get_model_status_impl.cc and predict_util.cc of tensorflow/serving
2.20. With TF_SERVING_URL (http://host:8501) set, the cases of REST run against that server instead; it
must serve, as `tiny`, the folder that `python tests/serving.py FOLDER` writes.
"""

import base64
import io
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import server_process
import serving_kit
import tensorflow as tf
from google.protobuf import json_format, text_format
from PIL import Image


def package(name):
    return pytest.importorskip(name, reason="not installed; the extra `serving` brings it")


requests, grpc, _ = package("requests"), package("grpc"), package("aiohttp")
get_model_metadata_pb2 = package("tensorflow_serving.apis.get_model_metadata_pb2")
get_model_status_pb2 = package("tensorflow_serving.apis.get_model_status_pb2")
model_server_config_pb2 = package("tensorflow_serving.config.model_server_config_pb2")
model_service_pb2_grpc = package("tensorflow_serving.apis.model_service_pb2_grpc")
predict_pb2 = package("tensorflow_serving.apis.predict_pb2")
prediction_log_pb2 = package("tensorflow_serving.apis.prediction_log_pb2")
prediction_service_pb2_grpc = package("tensorflow_serving.apis.prediction_service_pb2_grpc")

from keras_resnet.serving import remote, warmup

TOO_LARGE = "Task size 10000 is larger than maximum input batch size 256"
GOOD = [serving_kit.png(seed) for seed in range(5)]
BROKEN = b"\x89PNG\r\n\x1a\n and no more"  # the tiny model lets this one stop its graph


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return folder, serving_kit.save(folder)


@pytest.fixture(scope="module")
def server(folder):
    with server_process.running("--model_name=tiny", f"--model_base_path={folder[0]}") as server:
        yield server


@pytest.fixture(scope="module")
def post(request):
    """POSTs JSON, or bytes as they are; gives the code and the body."""
    url = os.environ.get("TF_SERVING_URL") or request.getfixturevalue("server").url

    def send(body, path="/v1/models/tiny:predict", method="POST"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = requests.request(method, url + path, data=content, timeout=60)
        assert response.headers["Content-Type"].startswith("application/json")
        return response.status_code, response.json()

    return send


@pytest.fixture(scope="module")
def get(post):
    return lambda path: post(b"", path, "GET")


@pytest.fixture(scope="module")
def stubs(server):
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    yield (
        prediction_service_pb2_grpc.PredictionServiceStub(channel),
        model_service_pb2_grpc.ModelServiceStub(channel),
    )
    channel.close()


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def pictures(count, seed=0):
    shape = (count, serving_kit.SIDE, serving_kit.SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def by_name(request, *keys):
    """A gRPC request of tensors by name."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = (
        "tiny",
        request.pop("signature", ""),
    )
    for name, value in request.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


# --- REST: what is right


def test_rows_of_one_input_and_one_output(post, folder):
    given = pictures(2)
    code, answer = post({"instances": given.tolist()})
    assert code == 200 and answer.keys() == {"predictions"}
    np.testing.assert_allclose(answer["predictions"], folder[1].shares(given), rtol=2e-6)


def test_rows_named_and_bare_are_alike(post):
    given = pictures(2).tolist()
    assert post({"instances": [{"pictures": picture} for picture in given]}) == post(
        {"instances": given}
    )


def test_columns_named_and_bare_are_alike(post, folder):
    given = pictures(3, seed=1)
    code, answer = post({"signature_name": "features", "inputs": given.tolist()})
    assert code == 200 and answer.keys() == {"outputs"}
    np.testing.assert_allclose(answer["outputs"], folder[1].pooled(given), rtol=2e-6)
    named = post({"signature_name": "features", "inputs": {"pictures": given.tolist()}})
    assert named == (code, answer)


def test_floats_take_whole_numbers_and_fractions(post, folder):
    given = pictures(1).astype(np.float32)
    body = {"signature_name": "serving_float", "instances": (given + 0.5).tolist()}
    _, answer = post(body)
    np.testing.assert_allclose(answer["predictions"], folder[1].shares(given + 0.5), rtol=2e-6)
    whole = {"signature_name": "serving_float", "instances": given.astype(int).tolist()}
    _, answer = post(whole)
    np.testing.assert_allclose(answer["predictions"], folder[1].shares(given), rtol=2e-6)


def test_bytes_by_rows_give_objects(post, folder):
    code, answer = post(
        {"signature_name": "predict_bytes", "instances": [b64(GOOD[0]), b64(b""), b64(b"hello")]}
    )
    assert code == 200
    good, empty, unknown = answer["predictions"]
    expected = folder[1].predict_bytes(tf.constant(GOOD[:1]))
    assert good["classes"] == [name.decode() for name in expected["classes"][0].numpy()]
    assert good["indices"] == expected["indices"][0].numpy().tolist()
    np.testing.assert_allclose(good["scores"], expected["scores"][0], rtol=2e-6)
    assert good["valid"] is True and good["reason"] == ""
    assert (empty["valid"], empty["reason"]) == (False, "empty")
    assert (unknown["valid"], unknown["reason"]) == (False, "unknown_format")


def test_bytes_by_columns_give_columns(post):
    body = {"signature_name": "predict_bytes"}
    _, rows = post({**body, "instances": [{"image_bytes": b64(p)} for p in GOOD]})
    code, columns = post({**body, "inputs": {"image_bytes": [b64(picture) for picture in GOOD]}})
    assert code == 200
    assert columns["outputs"] == {
        name: [row[name] for row in rows["predictions"]] for name in rows["predictions"][0]
    }
    assert post({**body, "inputs": [b64(picture) for picture in GOOD]}) == (code, columns)


def test_base64_needs_no_padding(post):
    text = base64.b64encode(GOOD[0] + b"x").decode()
    assert text.endswith("=")
    body = {"signature_name": "predict_bytes", "inputs": [{"b64": text.rstrip("=")}, {"b64": text}]}
    code, answer = post(body)
    assert code == 200
    assert all(rows[0] == rows[1] for rows in answer["outputs"].values())


def test_floats_are_written_in_their_own_digits(post):
    _, answer = post({"signature_name": "features", "instances": pictures(1).tolist()})
    for value in answer["predictions"][0]:
        assert np.float32(value) == np.float32(repr(value)) and len(repr(value)) <= 12


def test_status_and_metadata(get):
    expected = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("/v1/models/tiny", "/v1/models/tiny/versions/1"):
        code, answer = get(path)
        assert (code, answer) == (200, {"model_version_status": [expected]})
        json_format.ParseDict(answer, get_model_status_pb2.GetModelStatusResponse())
    code, answer = get("/v1/models/tiny/metadata")
    assert code == 200 and answer["model_spec"]["version"] == "1"
    signatures = json_format.ParseDict(
        answer["metadata"]["signature_def"], get_model_metadata_pb2.SignatureDefMap()
    ).signature_def
    assert {*signatures} - {"__saved_model_init_op"} == {
        "serving_default",
        "serving_float",
        "features",
        "predict_bytes",
    }
    assert signatures["predict_bytes"].inputs["image_bytes"].dtype == tf.string.as_datatype_enum
    assert {*signatures["predict_bytes"].outputs} == {
        "classes",
        "scores",
        "indices",
        "valid",
        "reason",
    }
    assert get("/v1/models/tiny/versions/1/metadata") == (code, answer)


def test_a_version_can_be_asked_for(post):
    body = {"instances": pictures(1).tolist()}
    assert post(body, "/v1/models/tiny/versions/1:predict") == post(body)


# --- REST: what is wrong

SQUARE = pictures(1)[0].tolist()
BYTES = {"signature_name": "predict_bytes"}
REFUSED = {
    "unknown model": ({"instances": []}, "/v1/models/tony:predict", 404,
                      "Servable not found for request: Latest(tony)"),
    "unknown version": ({"instances": []}, "/v1/models/tiny/versions/7:predict", 404,
                        "Servable not found for request: Specific(tiny, 7)"),
    "a version past 64 bits": ({"instances": []}, f"/v1/models/tiny/versions/{2**63}:predict", 400,
                               "Failed to convert version: .* to numeric."),
    "unknown label": ({"instances": []}, "/v1/models/tiny/labels/x:predict", 400,
                      "Unrecognized servable version label: x"),
    "unknown signature": ({"signature_name": "nix", "instances": [1]}, None, 400,
                          'Serving signature name: "nix" not found in signature def'),
    "signature that is no string": ({"signature_name": 3, "instances": [1]}, None, 400,
                                    "'signature_name' key must be a string value."),
    "no verb": ({"instances": [1]}, "/v1/models/tiny", 400,
                "Malformed request: POST /v1/models/tiny"),
    "unknown verb": ({"instances": [1]}, "/v1/models/tiny:guess", 400, "Malformed request: POST"),
    "no body": (b"", None, 400, "JSON Parse error: The document is empty"),
    "no JSON": (b"{instances: 3}", None, 400, "JSON Parse error: .* at offset: 1"),
    "not UTF-8": (b'{"instances": ["\xff"]}', None, 400, ""),
    "no object": ([1, 2], None, 400, "Is not object"),
    "neither key": ({"pictures": [SQUARE]}, None, 400, "Missing 'inputs' or 'instances' key"),
    "both keys": ({"inputs": [1], "instances": [1]}, None, 400, "expecting only one of"),
    "no instances": ({"instances": []}, None, 400, "No values in 'instances' array"),
    "instances no list": ({"instances": 3}, None, 400, "Expecting 'instances' to be an list/array"),
    "wrong key in a row": ({"instances": [{"image": SQUARE}]}, None, 400,
                           "does not have named input: image"),
    "a key too many": ({"instances": [{"pictures": SQUARE, "x": 1}]}, None, 400,
                       "does not have named input: x"),
    "wrong key in columns": ({"inputs": {"image": [SQUARE]}}, None, 400,
                             "Missing named input: pictures in 'inputs' object."),
    "rows of two kinds": ({"instances": [{"pictures": SQUARE}, SQUARE]}, None, 400,
                          "Expecting object but got list at item 1 of input list"),
    "rows of two kinds, the other way": ({"instances": [SQUARE, {"pictures": SQUARE}]}, None, 400,
                                         "Expecting value/list but got object at item 1"),
    "rows of two sizes": ({"instances": [[[[1]]], [[[1], [2]]]]}, None, 400, "Expecting "),
    "ragged": ({"instances": [[[[1, 2, 3], [1, 2]]]]}, None, 400,
               "Encountered list at unexpected size: 2 at level: 2 expected size: 3"),
    "a number among lists": ({"inputs": [[[[1, 2], 3]]]}, None, 400,
                             "JSON Value: 3 found at incorrect level: 4 in the JSON DOM"),
    "text for numbers": ({"instances": [[[["a"]]]]}, None, 400,
                         'JSON Value: "a" Type: String is not of expected type: uint8'),
    "fractions for integers": ({"instances": [[[[1.5]]]]}, None, 400,
                               "JSON Value: 1.5 Type: Number is not of expected type: uint8"),
    "numbers for text": ({**BYTES, "instances": [5]}, None, 400,
                         "JSON Value: 5 Type: Number is not of expected type: string"),
    "null": ({"instances": [[[[None]]]]}, None, 400, "JSON Value: null Type: Null is not of"),
    "truth for numbers": ({"instances": [[[[True]]]]}, None, 400, "Type: True is not of"),
    "truncated base64": ({**BYTES, "instances": [{"b64": "aGVsb"}]}, None, 400,
                         "Unable to base64 decode"),
    "no base64": ({**BYTES, "inputs": [{"b64": "?!$%"}]}, None, 400, "Unable to base64 decode"),
    "base64 for numbers": ({"instances": [{"b64": "aGVs"}]}, None, 400, "is not of expected type"),
    "wrong shape": ({"instances": [[[[1, 2, 3]]]]}, None, 400, ""),
    "one that stops the graph": ({**BYTES, "inputs": [b64(BROKEN)]}, None, 400, ""),
    "classify": ({"examples": [{}]}, "/v1/models/tiny:classify", 400, "Expected .*signature"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_error_in_json(post, case):
    body, path, expected, sentence = REFUSED[case]
    code, answer = post(body, path or "/v1/models/tiny:predict")
    assert (code, answer.keys()) == (expected, {"error"}), answer
    assert re.search(
        sentence.replace("(", "[(]").replace(")", "[)]"), answer["error"].replace("\n", " ")
    ), answer
    assert 0 < len(answer["error"]) < 1000 and "Traceback" not in answer["error"]
    good = {**BYTES, "inputs": [b64(GOOD[0])]}
    assert post(good)[0] == 200  # it lives


def test_refusals_of_get(get):
    for path, code, sentence in (
        ("/v1/models/tony", 404, "Could not find any versions of model tony"),
        ("/v1/models/tiny/versions/7", 404, "Could not find version 7 of model tiny"),
        ("/v1/models/tony/metadata", 404, "Servable not found for request: Latest(tony)"),
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/tiny/x", 400, "Malformed request: GET /v1/models/tiny/x"),
        ("/v1/models/%0A%00/x", 400, "Malformed request: GET /v1/models/%0A%00/x"),
    ):
        assert get(path) == (code, {"error": sentence})


def test_no_rows_by_columns_is_an_empty_answer(post):
    code, answer = post({**BYTES, "inputs": []})
    assert code == 200
    assert all(rows == [] for rows in answer["outputs"].values())


# --- what only this server promises


@pytest.mark.skipif("TF_SERVING_URL" in os.environ, reason="TF Serving wraps them")
@pytest.mark.parametrize("value", [256, -1, 10**30])
def test_integers_that_do_not_fit_are_refused(post, value):
    code, answer = post({"instances": [[[[value]]]]})
    assert code == 400 and "is not of expected type: uint8" in answer["error"]


@pytest.mark.skipif("TF_SERVING_URL" in os.environ, reason="TF Serving's depends on its flags")
def test_ten_thousand_rows_are_refused(post):
    code, answer = post({**BYTES, "inputs": [""] * 10_000})
    assert (code, answer) == (400, {"error": TOO_LARGE})


# --- gRPC


def test_grpc_answers_as_rest_does(stubs, post):
    predict = stubs[0].Predict
    response = predict(by_name({"signature": "predict_bytes", "image_bytes": GOOD}))
    assert (response.model_spec.version.value, response.model_spec.name) == (1, "tiny")
    _, answer = post({**BYTES, "inputs": [b64(picture) for picture in GOOD]})
    assert {*response.outputs} == {*answer["outputs"]}
    assert tf.make_ndarray(response.outputs["indices"]).tolist() == answer["outputs"]["indices"]
    scores = tf.make_ndarray(response.outputs["scores"])
    assert np.array_equal(scores, np.float32(answer["outputs"]["scores"]))


def test_grpc_filters_outputs_and_cuts_large_batches(stubs, folder):
    given = pictures(100)
    request = by_name({"pictures": given})
    request.output_filter.append("probabilities")
    response = stubs[0].Predict(request)
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["probabilities"]), folder[1].shares(given), rtol=1e-5
    )


def test_grpc_status_and_metadata(stubs):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "tiny"
    [status] = stubs[1].GetModelStatus(request).model_version_status
    assert (status.version, status.state) == (1, status.AVAILABLE)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert stubs[0].GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert "predict_bytes" in signatures.signature_def


@pytest.mark.parametrize(
    "request_, code, sentence",
    [
        ({"nix": [1]}, "INVALID_ARGUMENT", "Sent extra: {nix}. Missing but required: {pictures}."),
        ({"pictures": [1.0]}, "INVALID_ARGUMENT", "to be uint8 but float"),
        ({"pictures": ["a"]}, "INVALID_ARGUMENT", "to be uint8 but string"),
        ({"pictures": np.zeros([1, 2, 2, 3], np.uint8)}, "INVALID_ARGUMENT", "has shape"),
        ({"signature": "nix", "pictures": [1]}, "FAILED_PRECONDITION", '"nix" not found'),
        ({"signature": "predict_bytes", "image_bytes": [""] * 10_000}, "INVALID_ARGUMENT", TOO_LARGE),
    ],
)  # fmt: skip
def test_grpc_refusals(stubs, request_, code, sentence):
    with pytest.raises(grpc.RpcError) as error:
        stubs[0].Predict(by_name(dict(request_)))
    assert (error.value.code().name, sentence in error.value.details()) == (code, True), error.value


def test_grpc_refuses_unknown_models_and_damaged_tensors(stubs):
    request = by_name({"pictures": pictures(1)})
    request.model_spec.name = "tony"
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        stubs[0].Predict(request)
    request = by_name({"pictures": pictures(1)})
    request.inputs["pictures"].tensor_content = b"short"
    with pytest.raises(grpc.RpcError, match="tensor parsing error: pictures"):
        stubs[0].Predict(request)


# --- requests that meet


def test_a_bad_request_does_not_fail_its_neighbours(post):
    """Many at once, so that they share batches; each gets its own answer."""
    alone = {picture: post({**BYTES, "inputs": [b64(picture)]}) for picture in (*GOOD, BROKEN)}
    sent = random.Random(0).choices([*GOOD, BROKEN], k=60)
    assert {*sent} == {*alone}
    got = {}

    def send(i):
        got[i] = post({**BYTES, "inputs": [b64(sent[i])]})

    threads = [threading.Thread(target=send, args=(i,)) for i in range(len(sent))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, picture in enumerate(sent):
        code, answer = got[i]
        assert code == alone[picture][0]
        if code == 200:
            one, other = answer["outputs"], alone[picture][1]["outputs"]
            assert one["indices"] == other["indices"]
            np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-5)


# --- the client


@pytest.fixture
def album(tmp_path):
    """A folder with pictures and one that is none."""
    for i, content in enumerate((*GOOD, b"hello")):
        (tmp_path / f"{i}.png").write_bytes(content)
    (tmp_path / "notes.txt").write_text("no picture by its name")
    return tmp_path


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_client_reads_every_answer(server, folder, scheme):
    port = server.rest_api_port if scheme == "http" else server.port
    predict = remote.connect(f"{scheme}://127.0.0.1:{port}", "tiny", 1)
    got = remote.answers(predict([*GOOD, b""]), 2)
    expected = folder[1].predict_bytes(tf.constant(GOOD))
    for i in range(len(GOOD)):
        names = [name.decode() for name in expected["classes"][i, :2].numpy()]
        assert got[i]["classes"] == names
        np.testing.assert_allclose(got[i]["scores"], expected["scores"][i, :2], rtol=2e-6)
    assert got[-1] == {"error": "empty"}
    with pytest.raises(remote.Refused, match="Servable not found for request: Latest"):
        remote.connect(f"{scheme}://127.0.0.1:{port}", "tony")(GOOD)


def test_client_tries_again():
    waits, answers = [], [remote.Unreached("a"), remote.Unreached("b"), {"classes": []}]

    def predict(pictures):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    tried = remote.persistent(predict, 2, lambda error, seconds: waits.append(seconds))
    assert tried([]) == {"classes": []}
    assert 0.05 <= waits[0] <= 0.1 <= waits[1] <= 0.2
    answers[:] = [remote.Unreached("a"), remote.Unreached("b")]
    with pytest.raises(remote.Unreached, match="b"):
        remote.persistent(predict, 1)([])


def test_client_command(server, album):
    url = f"--server={server.url}"
    done = serving_kit.command(url, "--model=tiny", "--top", "2", "--batch_size=2", album)
    *rows, figures = done.stdout.splitlines()
    assert done.returncode == 1 and len(rows) == 6, done.stderr
    assert re.search(r"0\.png +\d+\.\d% \w+ +\d+\.\d% \w+$", rows[0])
    assert rows[5].endswith("no picture: unknown_format")
    figures = json.loads(figures)
    assert (figures["pictures"], figures["classified"], figures["retries"]) == (6, 5, 0)
    done = serving_kit.command(url, "--model=tiny", "--top=1", "--out=json", album / "0.png")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[0])["file"] == str(album / "0.png")


def test_client_says_what_is_wrong(server, album):
    url = f"--server={server.url}"
    for arguments, code, sentence in (
        ([url, album / "nix.png"], 2, "There is no file or folder"),
        ([url], 2, "Name pictures or folders"),
        ([url, "--model=tony", album], 2, "refused: 404 Servable not found for request"),
        ([url, "--model=tiny", "--top=9", album], 2, "--top=9 is too many: 3 were chosen"),
        (["--server=localhost", album], 2, "is no address: expected http://host:8501"),
        (["--server=http://127.0.0.1:9", "--retries=1", album], 3, "not reached in 2 tries"),
        (["--batch_size=0", album], 2, "batch_size"),
    ):
        done = serving_kit.command(*arguments)
        assert (done.returncode, done.stdout) == (code, ""), (arguments, done)
        assert sentence in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


# --- the process


@pytest.mark.slow
def test_needs_no_keras(run_python, folder):
    """TensorFlow imports Keras by itself where it is; here it is not to be had."""
    out = run_python(
        "import sys; sys.modules['keras'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import local_server, pathlib\n"
        "from keras_resnet.serving.server import servables\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "servable = servables.Servable('tiny', 1, pathlib.Path(sys.argv[2]), servables.Limits(),"
        " ThreadPoolExecutor())\n"
        "print(sorted(servable.signature_defs))",
        str(serving_kit.KIT),
        f"{folder[0]}/1",
    )
    assert "predict_bytes" in out


@pytest.mark.slow
def test_mistakes_end_with_one_sentence(tmp_path):
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "bad.config").write_text("model_config_list { nix: 1 }")
    two = 'config { name: "a" base_path: "b" }'
    (tmp_path / "two.config").write_text(f"model_config_list {{ {two} {two} }}")
    for flags, sentence in (
        ([], "Give one of --model_base_path"),
        (["--weights=a.keras", "--model_base_path=b"], "Give one of --model_base_path"),
        ([f"--weights={tmp_path}/nix.keras"], "there is no such file"),
        ([f"--weights={tmp_path}/bad.config"], "bad.config cannot be exported: export.py: "),
        ([f"--model_base_path={tmp_path}/broken"], "no version that can be served"),
        ([f"--model_config_file={tmp_path}/bad.config"], "is no ModelServerConfig"),
        ([f"--model_config_file={tmp_path}/two.config"], "has the model name 'a' twice"),
    ):
        done = subprocess.run(
            [sys.executable, str(serving_kit.KIT / "local_server.py"), *flags],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and done.stdout == "", done
        assert sentence in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_keras_file_is_served(tmp_path, monkeypatch):
    import telling

    network = telling.network(3)
    network.save(tmp_path / "mine.keras")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    picture = np.asarray(telling.smooth(1, 32, 32))[None]
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    flags = f"--weights={tmp_path}/mine.keras", f"--labels={names}", "--model_name=mine"
    with server_process.running(*flags) as server:
        body = {"instances": picture.tolist()}
        answer = requests.post(f"{server.url}/v1/models/mine:predict", json=body, timeout=60).json()
        wanted = network.predict_on_batch(picture)
        np.testing.assert_allclose(answer["predictions"], wanted, rtol=1e-4, atol=1e-6)
        assert list(tmp_path.glob("keras_resnet_*/1/saved_model.pb"))
        assert server.stop()[0] == 0
    assert not list(tmp_path.glob("keras_resnet_*"))


@pytest.mark.slow
def test_versions_labels_and_warmup(tmp_path):
    """Two versions beside each other, a third that comes and is broken, a fourth that takes over."""
    folder, config = tmp_path / "tiny", tmp_path / "models.config"
    models = {version: serving_kit.save(folder, version, seed=version) for version in (1, 2)}
    text = (serving_kit.KIT / "models.config").read_text()
    given = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    given.model_config_list.config[0].base_path = str(folder)
    config.write_text(text_format.MessageToString(given))
    subprocess.run(
        [sys.executable, str(serving_kit.KIT / "warmup.py"), f"--saved_model={folder}/2",
         f"--pictures={write(tmp_path / 'a.png', GOOD[0])}", "--batch_sizes=1,3"],
        check=True, env={**os.environ, "PYTHONPATH": str(serving_kit.KIT.parent)},
    )  # fmt: skip
    picture = pictures(1)
    with server_process.running(
        f"--model_config_file={config}", "--file_system_poll_wait_seconds=0.05"
    ) as server:
        url = f"{server.url}/v1/models/resnet50"

        def shares(path=""):
            body = {"instances": picture.tolist()}
            answer = requests.post(f"{url}{path}:predict", json=body, timeout=60).json()
            return answer["predictions"]

        def states():
            answer = requests.get(url, timeout=60).json()["model_version_status"]
            return {int(status["version"]): status["state"] for status in answer}

        def wait_for(condition):
            while not condition():
                assert server.process.poll() is None
                time.sleep(0.02)

        for path, version in (
            ("", 2),
            ("/versions/1", 1),
            ("/versions/2", 2),
            ("/labels/stable", 1),
            ("/labels/canary", 2),
        ):
            np.testing.assert_allclose(shares(path), models[version].shares(picture), rtol=1e-5)
        (folder / "3").mkdir()
        wait_for(lambda: 3 in states() and states()[3] == "END")
        np.testing.assert_allclose(shares(), models[2].shares(picture), rtol=1e-5)
        aside = tmp_path / "aside"
        models[4] = serving_kit.save(aside, 4, seed=4)
        os.rename(aside / "4", folder / "4")
        wait_for(lambda: states().get(4) == "AVAILABLE")
        np.testing.assert_allclose(shares(), models[4].shares(picture), rtol=1e-5)
        code, last, said = server.stop()
    assert code == 0 and json.loads(last)["refused"] == 0
    assert "3 cannot be served" in said


def write(path, content):
    path.write_bytes(content)
    return path


def test_warmup_records_replay(tmp_path, stubs):
    """The records are requests that the server answers, at the sizes asked for."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    path = warmup.write(tmp_path, GOOD[:2], (1, 5))
    assert path == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    sizes = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        request.model_spec.name = "tiny"
        outputs = stubs[0].Predict(request).outputs
        assert tf.make_ndarray(outputs["valid"]).all()
        sizes.append(len(tf.make_ndarray(outputs["valid"])))
    assert sizes == [1, 5]
    with pytest.raises(ValueError, match="none of them empty"):
        warmup.write(tmp_path, [b""])
    with pytest.raises(ValueError, match=r"holds no saved_model\.pb"):
        warmup.write(tmp_path / "nix", GOOD)


@pytest.mark.slow
def test_stop_answers_what_was_begun(folder):
    """SIGTERM while requests wait: each of those is answered, or never was taken in."""
    with server_process.running("--model_name=tiny", f"--model_base_path={folder[0]}") as server:
        body = {**BYTES, "inputs": [b64(GOOD[0])] * 256}
        codes, started = [], threading.Barrier(5)

        def send():
            with requests.Session() as session:
                session.get(f"{server.url}/v1/models/tiny", timeout=60)
                started.wait()
                try:
                    url = f"{server.url}/v1/models/tiny:predict"
                    codes.append(session.post(url, json=body, timeout=60).status_code)
                except requests.ConnectionError:
                    codes.append(None)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        time.sleep(0.05)
        code, last, _ = server.stop()
        for thread in threads:
            thread.join()
    figures = json.loads(last)
    assert code == 0
    assert figures["answered"] == 4 + codes.count(200)
    assert set(codes) <= {200, 503, None}


@pytest.mark.slow
def test_a_full_queue_refuses_and_lives(folder):
    with server_process.running(
        "--model_name=tiny", f"--model_base_path={folder[0]}",
        "--max_batch_size=8", "--max_enqueued_batches=1", "--num_batch_threads=1", "--max_request_bytes=100000",
    ) as server:  # fmt: skip
        body, codes, errors = {**BYTES, "inputs": [b64(GOOD[0])] * 8}, [], set()

        def send():
            response = requests.post(f"{server.url}/v1/models/tiny:predict", json=body, timeout=60)
            codes.append(response.status_code)
            errors.add(response.json().get("error", "").partition(";")[0])

        while 503 not in codes:
            threads = [threading.Thread(target=send) for _ in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert set(codes) == {200, 503}
        full = "The batch scheduling queue to which this task was submitted is full"
        assert errors == {"", full}
        large = requests.post(
            f"{server.url}/v1/models/tiny:predict", data=b" " * 200_000, timeout=60
        )
        assert large.status_code == 429 and "at most 100000 bytes" in large.json()["error"]
        patient = remote.persistent(remote.connect(server.url, "tiny"), 20)
        done = []
        threads = [threading.Thread(target=lambda: done.append(patient(GOOD))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 16 and all(answer == done[0] for answer in done)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_killed_and_started_again_under_load(folder, scheme):
    """8 clients, every answer compared; the server is killed with -9 and comes back on its ports."""
    flags = "--model_name=tiny", f"--model_base_path={folder[0]}"
    content = [serving_kit.png(seed) for seed in range(16)]
    expected = folder[1].predict_bytes(tf.constant(content))["indices"].numpy().tolist()
    with server_process.running(*flags) as first:
        port = first.rest_api_port if scheme == "http" else first.port
        ports = {"rest_api_port": first.rest_api_port, "port": first.port}
        stop, wrong, right, retries = threading.Event(), [], [0] * 8, []

        def load(i):
            draw = random.Random(i)
            predict = remote.persistent(
                remote.connect(f"{scheme}://127.0.0.1:{port}", "tiny", timeout=20),
                40,
                lambda error, seconds: retries.append(str(error)),
            )
            while not stop.is_set():
                chosen = [draw.randrange(16) for _ in range(draw.randint(1, 6))]
                try:
                    got = predict([content[c] for c in chosen])["indices"]
                except Exception as error:
                    wrong.append(error)
                    return
                if got != [expected[c] for c in chosen]:
                    wrong.append((chosen, got))
                right[i] += 1

        threads = [threading.Thread(target=load, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        while min(right) < 10 and not wrong:
            time.sleep(0.01)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        with server_process.running(*flags, **ports):
            before = list(right)
            while min(r - b for r, b in zip(right, before, strict=True)) < 10 and not wrong:
                time.sleep(0.01)
            stop.set()
            for thread in threads:
                thread.join()
    assert wrong == []
    assert retries


# --- an export of ours


def bomb():
    """A JPEG of 100 megapixels in 1.6 MB."""
    file = io.BytesIO()
    Image.new("L", (10_000, 10_000)).save(file, "JPEG")
    return file.getvalue()


def peak_bytes(process):
    """The most that a process ever had in memory."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(
    not pathlib.Path("/proc/self/status").exists(), reason="memory is read of /proc"
)
def test_bad_pictures_over_an_export(tmp_path):
    """Each has its reason, the others their answers; the 100 megapixels are never unpacked."""
    import telling

    from keras_resnet.serving import export

    network = telling.network(4)
    names = ["cat", "dog", "żaba", "emu"]
    export.save(network, tmp_path / "net", class_names=names, top=4)
    picture = telling.smooth(1, 32, 32)
    files = {kind: io.BytesIO() for kind in ("PNG", "JPEG")}
    for kind, file in files.items():
        picture.save(file, kind)
    good, jpeg = files["PNG"].getvalue(), files["JPEG"].getvalue()
    shares = network.predict_on_batch(np.asarray(picture)[None])[0]
    sent = [good, b"", b"GIF89a", jpeg[: len(jpeg) // 3], bomb(), good]
    with server_process.running("--model_name=net", f"--model_base_path={tmp_path}/net") as server:
        for address in (server.url, f"grpc://127.0.0.1:{server.port}"):
            predict = remote.connect(address, "net")
            predict([good] * len(sent))
            before = peak_bytes(server.process)
            got = remote.answers(predict(sent), 4)
            assert peak_bytes(server.process) - before < 60e6  # one channel of it would be 100e6
            for answer in (got[0], got[-1]):
                assert answer["indices"] == np.argsort(-shares).tolist()
                np.testing.assert_allclose(answer["scores"], -np.sort(-shares), atol=1e-4)
            assert [answer.get("error") for answer in got[1:5]] == [
                "empty", "unknown_format", "undecodable", "too_large",
            ]  # fmt: skip
        code, last, _ = server.stop()
    assert code == 0 and json.loads(last)["refused"] == 0


@pytest.mark.slow
def test_the_benchmark_compares_every_answer(tmp_path, folder):
    for i in range(6):
        path = tmp_path / "data" / ("a", "b")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(serving_kit.png(i))
    done = subprocess.run(
        [sys.executable, str(serving_kit.KIT.parent / "benchmarks" / "serving.py"), "--seconds=2",
         f"--model_base_path={folder[0]}", f"--data={tmp_path}/data", "--clients=2", "--kill"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(serving_kit.KIT.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["killed"] and figures["requests"] > 10
    assert figures["wrong"] == figures["failed"] == 0
    assert sorted(figures["latency_ms"].values()) == list(figures["latency_ms"].values())
