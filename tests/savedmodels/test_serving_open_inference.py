"""/v2 of local_server.py against the Open Inference Protocol, and by its public client.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, whose shapes of
requests and answers are checked here; tritonclient, of another project, writes requests and reads answers by itself.
"""

import base64

import numpy as np
import pytest
import server_process
import serving_kit
import tensorflow as tf


def package(name):
    return pytest.importorskip(name, reason="not installed; the extra `test` brings it")


requests, _ = package("requests"), package("aiohttp")
GOOD = [serving_kit.png(seed) for seed in range(3)]
SHAPE = (serving_kit.SIDE, serving_kit.SIDE, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return folder, serving_kit.save(folder)


@pytest.fixture(scope="module")
def server(folder):
    flags = "--model_name=tiny", f"--model_base_path={folder[0]}", "--max_request_bytes=1000000"
    with server_process.running(*flags) as server:
        yield server


@pytest.fixture(scope="module")
def ask(server):
    """Asks for JSON; gives the code and the body."""

    def send(path, body=None, method=None, headers=None):
        method = method or ("GET" if body is None else "POST")
        how = {"data": body} if isinstance(body, bytes) else {"json": body}
        response = requests.request(method, server.url + path, headers=headers, timeout=60, **how)
        assert response.headers["Content-Type"].startswith("application/json")
        return response.status_code, response.json()

    return send


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def tensor(array, name="pictures", datatype="UINT8", **more):
    return {"name": name, "shape": list(array.shape), "datatype": datatype, **more}


def files(content=GOOD):
    data = [base64.b64encode(file).decode() for file in content]
    return {
        "name": "image_bytes", "shape": [len(data)], "datatype": "BYTES", "data": data,
        "parameters": {"content_type": "base64"},
    }  # fmt: skip


def by_name(answer):
    return {output["name"]: output for output in answer["outputs"]}


# --- what is there


def test_health_and_server(ask):
    assert ask("/v2/health/live") == (200, {"live": True})
    assert ask("/v2/health/ready") == (200, {"ready": True})
    code, answer = ask("/v2")
    assert code == 200 and answer.keys() == {"name", "version", "extensions"}
    for version in ("", "/versions/1"):
        assert ask(f"/v2/models/tiny{version}/ready") == (200, {"name": "tiny", "ready": True})
    index = [{"name": "tiny", "version": "1", "state": "READY", "reason": ""}]
    assert ask("/v2/repository/index", {}) == (200, index)


def test_metadata(ask):
    code, answer = ask("/v2/models/tiny")
    assert code == 200 and answer["name"] == "tiny" and answer["versions"] == ["1"]
    assert answer["platform"] == "tensorflow_savedmodel"
    assert answer["inputs"] == [{"name": "pictures", "datatype": "UINT8", "shape": [-1, *SHAPE]}]
    assert answer["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(serving_kit.NAMES)]}
    ]
    assert ask("/v2/models/tiny/versions/1") == (code, answer)
    _, answer = ask("/v2/models/tiny?signature_name=predict_bytes")
    assert answer["inputs"] == [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}]
    assert {output["name"]: output["datatype"] for output in answer["outputs"]} == {
        "classes": "BYTES", "scores": "FP32", "indices": "INT32", "valid": "BOOL", "reason": "BYTES",
    }  # fmt: skip


# --- requests


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_tensors_of_numbers(ask, folder, nested, datatype):
    given = pictures(2)
    data = given.tolist() if nested else given.reshape(-1).tolist()
    request = {"id": "42", "inputs": [tensor(given, datatype=datatype, data=data)]}
    if datatype == "FP32":
        request["parameters"] = {"signature_name": "serving_float"}
    code, answer = ask("/v2/models/tiny/versions/1/infer", request)
    assert code == 200 and answer.keys() == {"model_name", "model_version", "id", "outputs"}
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("tiny", "1", "42")
    [output] = answer["outputs"]
    assert output.keys() == {"name", "shape", "datatype", "data"}
    wanted = folder[1].shares(given).numpy()
    assert output["shape"] == list(wanted.shape) and output["datatype"] == "FP32"
    np.testing.assert_allclose(output["data"], wanted.reshape(-1), rtol=2e-6)


def test_files_and_chosen_outputs(ask, folder):
    request = {
        "parameters": {"signature_name": "predict_bytes"},
        "inputs": [files([*GOOD, b""])],
        "outputs": [{"name": "classes"}, {"name": "valid"}, {"name": "reason"}],
    }
    code, answer = ask("/v2/models/tiny/infer", request)
    assert code == 200 and list(by_name(answer)) == ["classes", "valid", "reason"]
    wanted = folder[1].predict_bytes(tf.constant(GOOD))["classes"].numpy()
    classes = by_name(answer)["classes"]
    assert classes["shape"] == [4, serving_kit.TOP] and classes["datatype"] == "BYTES"
    assert classes["data"][:9] == [name.decode() for name in wanted.reshape(-1)]
    assert by_name(answer)["valid"]["data"] == [True, True, True, False]
    assert by_name(answer)["reason"]["data"] == ["", "", "", "empty"]


def test_strings_are_their_utf_8(ask):
    """No picture, but the reason tells a string of none from one of some letters."""
    request = {
        "parameters": {"signature_name": "predict_bytes"},
        "inputs": [
            {"name": "image_bytes", "shape": [2], "datatype": "BYTES", "data": ["", "żaba"]}
        ],
    }
    _, answer = ask("/v2/models/tiny/infer", request)
    assert by_name(answer)["reason"]["data"] == ["empty", "unknown_format"]


@pytest.mark.parametrize("binary", [False, True])
def test_another_projects_client(server, folder, binary):
    client = package("tritonclient.http").InferenceServerClient(server.url.partition("//")[2])
    http = package("tritonclient.http")
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tiny")
    assert client.get_model_metadata("tiny")["platform"] == "tensorflow_savedmodel"
    assert client.get_model_repository_index()[0]["state"] == "READY"
    given = pictures(3, seed=1)
    sent = http.InferInput("pictures", list(given.shape), "UINT8")
    sent.set_data_from_numpy(given, binary_data=binary)
    wanted = [http.InferRequestedOutput("probabilities", binary_data=binary)]
    for outputs in (wanted, None):
        answer = client.infer("tiny", [sent], outputs=outputs, request_id="7")
        assert answer.get_response()["id"] == "7"
        np.testing.assert_allclose(
            answer.as_numpy("probabilities"), folder[1].shares(given), rtol=2e-6
        )
    if binary:  # bytes that are no UTF-8
        sent = http.InferInput("image_bytes", [len(GOOD)], "BYTES")
        sent.set_data_from_numpy(np.array(GOOD, object), binary_data=True)
        answer = client.infer("tiny", [sent], parameters={"signature_name": "predict_bytes"})
        expected = folder[1].predict_bytes(tf.constant(GOOD))
        for name in ("classes", "indices", "reason"):
            np.testing.assert_array_equal(answer.as_numpy(name), expected[name].numpy())
    with pytest.raises(package("tritonclient.utils").InferenceServerException, match="no output"):
        client.infer("tiny", [sent], outputs=[http.InferRequestedOutput("nix")])
    client.close()


# --- what is wrong

ONE = tensor(pictures(1), data=pictures(1).reshape(-1).tolist())
WRONG = {
    "no JSON": (b"{", 400, "JSON Parse error"),
    "no inputs": ({}, 400, "inputs is a list"),
    "inputs of none": ({"inputs": []}, 400, "inputs is a list"),
    "an input without a name": ({"inputs": [{"shape": [1]}]}, 400, "has a name"),
    "two of a name": ({"inputs": [ONE, ONE]}, 400, "which no other has"),
    "another name": ({"inputs": [ONE | {"name": "x"}]}, 400, "Sent extra: {x}"),
    "no datatype": ({"inputs": [ONE | {"datatype": "TEXT"}]}, 400, "datatype is one of BOOL"),
    "another datatype": ({"inputs": [ONE | {"datatype": "INT64"}]}, 400, "to be uint8 but int64"),
    "a list as datatype": ({"inputs": [ONE | {"datatype": []}]}, 400, "datatype is one of BOOL"),
    "a value that does not fit": ({"inputs": [ONE | {"data": [256] * 192}]}, 400, "256"),
    "values that are none": ({"inputs": [ONE | {"data": [None] * 192}]}, 400, "Null"),
    "no shape": ({"inputs": [ONE | {"shape": None}]}, 400, "shape is a list"),
    "a shape below 0": ({"inputs": [ONE | {"shape": [-1, 8, 8, 3]}]}, 400, "sizes from 0 on"),
    "a shape of many axes": ({"inputs": [ONE | {"shape": [1] * 33}]}, 400, "at most 32 sizes"),
    "a shape that claims more": ({"inputs": [ONE | {"shape": [2, 8, 8, 3]}]}, 400, "has [192]"),
    "a shape of many rows": ({"inputs": [ONE | {"shape": [10**9, 8, 8, 3]}]}, 400, "Task size"),
    "another shape": ({"inputs": [ONE | {"shape": [1, 192]}]}, 400, "the signature's is"),
    "no data": ({"inputs": [{k: v for k, v in ONE.items() if k != "data"}]}, 400, "has no data"),
    "data that is a number": ({"inputs": [ONE | {"data": 1}]}, 400, "data is a list"),
    "data that is ragged": ({"inputs": [ONE | {"data": [[1], [1, 2]]}]}, 400, "unexpected size"),
    "no base64": (
        {"parameters": {"signature_name": "predict_bytes"}, "inputs": [files() | {"data": ["%"] * 3}]},
        400, "base64",
    ),
    "another signature": ({"parameters": {"signature_name": "nix"}, "inputs": [ONE]}, 400, "no signature 'nix'"),
    "a signature that is a list": ({"parameters": {"signature_name": []}, "inputs": [ONE]}, 400, "strings, numbers"),
    "parameters that are a list": ({"parameters": [], "inputs": [ONE]}, 400, "parameters of the request"),
    "another output": ({"inputs": [ONE], "outputs": [{"name": "nix"}]}, 400, "no output 'nix'"),
    "an id that is a number": ({"id": 1, "inputs": [ONE]}, 400, "id is a string"),
    "bytes that are not there": ({"inputs": [ONE | {"parameters": {"binary_data_size": 4}}]}, 400, "in place of data"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_one_sentence(ask, case):
    body, code, sentence = WRONG[case]
    got, answer = ask("/v2/models/tiny/infer", body)
    assert got == code and answer.keys() == {"error"}
    assert sentence in answer["error"]


@pytest.mark.parametrize(
    "length, sentence", [("x", "not a length"), ("9999", "not a length"), ("2", "inputs is a")]
)
def test_a_wrong_length_of_the_json(ask, length, sentence):
    headers = {"Inference-Header-Content-Length": length}
    code, answer = ask("/v2/models/tiny/infer", b"{}abc", headers=headers)
    assert code == 400 and sentence in answer["error"]


def test_strings_that_are_longer_than_their_bytes(server):
    """Of a binary tensor: no memory is taken for what is only claimed."""
    header = (
        b'{"parameters": {"signature_name": "predict_bytes"}, "inputs": [{"name": "image_bytes", "shape": [1], '
        b'"datatype": "BYTES", "parameters": {"binary_data_size": 5}}]}'
    )
    for raw in (b"\xff\xff\xff\xffa", b"\0\0\0\0a", b"\1\0\0\0"):
        response = requests.post(
            f"{server.url}/v2/models/tiny/infer", data=header + raw, timeout=60,
            headers={"Inference-Header-Content-Length": str(len(header))},
        )  # fmt: skip
        assert response.status_code == 400 and "error" in response.json()


def test_places_that_are_not_there(ask):
    assert ask("/v2/models/nix/infer", {"inputs": [ONE]})[0] == 404
    assert ask("/v2/models/tiny/versions/9/infer", {"inputs": [ONE]})[0] == 404
    for path in (
        "/v2/models/nix",
        "/v2/models/nix/ready",
        "/v2/models/tiny/versions/9",
        "/v2/nix",
        "/v2x",
    ):
        code, answer = ask(path)
        assert code == 404 and answer.keys() == {"error"}, path
    assert ask(f"/v2/models/tiny/versions/{10**40}")[0] == 400
    for path, method in (
        ("/v2/models/tiny/infer", "GET"),
        ("/v2/models/tiny", "POST"),
        ("/v2", "PUT"),
    ):
        code, answer = ask(path, method=method)
        assert code == 400 and "Malformed request" in answer["error"]


def test_a_body_that_is_too_large(ask):
    code, answer = ask("/v2/models/tiny/infer", b" " * 1_000_001)
    assert code == 429 and "at most 1000000 bytes" in answer["error"]
