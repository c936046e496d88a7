"""Parsers of texts, fuzzed: each a function `folder -> (strategy, check)`."""

import contextlib
import dataclasses
import json
import socket
import threading

import numpy as np
from hypothesis import strategies as st
from inputs import JSON, NUMBERS, TEXT, mutated, refused

from keras_resnet.serving import remote
from keras_resnet.serving.server import json_tensors


def rest_tensors(folder):
    """`json_tensors`: bodies of REST requests, for signatures of 1 and 2 inputs; the server itself refuses a request to
    one without."""
    dtypes = st.sampled_from([np.dtype(t) for t in ("uint8", "int64", "float32", "bool", "O")])
    signatures = st.integers(1, 2).flatmap(
        lambda count: st.tuples(*[dtypes] * count).map(
            lambda found: dict(zip("ab", found, strict=False))
        )
    )
    rows = st.lists(st.lists(NUMBERS, max_size=3) | NUMBERS | TEXT | st.booleans(), max_size=3)
    named = st.dictionaries(st.sampled_from("abc"), rows | JSON, max_size=3)
    b64 = st.builds(
        lambda text: {"b64": text}, TEXT | st.sampled_from(["", "aGk=", "aGk", "a G k", "****"])
    )
    values = rows | named | st.lists(named, max_size=3) | st.lists(b64, max_size=2) | JSON
    requests = st.dictionaries(
        st.sampled_from(["instances", "inputs", "signature_name"]), values, min_size=1, max_size=2
    )
    bodies = (
        requests.map(lambda request: json.dumps(request).encode())
        | mutated(
            [b'{"instances": [[1, 2], [3, 4]]}', b'{"inputs": {"a": [1], "b": [{"b64": "aGk="}]}}']
        )
        | st.binary(max_size=20)
        | st.integers(1, 100_000).map(lambda depth: b'{"inputs": ' + b"[" * depth)
    )

    def check(body, dtypes, most_rows):
        with refused(ValueError):
            request = json_tensors.parse(body)
            assert repr(request) == repr(json.loads(body))
            arrays, by_row = json_tensors.arrays(request, dtypes, most_rows)
            assert arrays.keys() == dtypes.keys()
            values = request["instances" if by_row else "inputs"]
            for name, array in arrays.items():
                assert array.dtype == dtypes[name]
                assert not array.ndim or len(array) <= most_rows
                if by_row:
                    column = [
                        v[name] if isinstance(v, dict) and "b64" not in v else v for v in values
                    ]
                    assert len(array) == len(column)
                elif isinstance(values, dict) and name in values:
                    column = values[name]
                else:
                    column = values
                if array.dtype != object:  # what NumPy makes of it
                    np.testing.assert_array_equal(array, np.array(column).astype(array.dtype))
            if arrays:
                answer = json.loads(json.dumps(json_tensors.answer(arrays, by_row)))
                assert answer.keys() == {"predictions" if by_row else "outputs"}

    return st.tuples(bodies, signatures, st.integers(1, 4)), lambda case: check(*case)


def contract_texts(folder):
    """`Contract.loads`: JSON of a contract."""
    from keras_resnet.weights import Contract

    fields = [field.name for field in dataclasses.fields(Contract)]
    means, stds = (st.lists(st.floats(least, 255), min_size=3, max_size=3) for least in (0, 0.1))
    sound = st.fixed_dictionaries(
        {},
        optional={
            "network": st.none() | st.sampled_from(["ResNet50", "ResNet20"]),
            "preprocessing": st.none() | st.sampled_from(["torch", "caffe", "tf", "none", "own"])
            | st.tuples(means, stds, st.booleans()).map(list),
            "size": st.none() | st.integers(1, 1000),
            "resize": st.none() | st.integers(1, 1000),
            "class_names": st.lists(st.text("abcäø字 ", min_size=1, max_size=5), max_size=3, unique=True),
            "source": TEXT,
            "accuracy": st.dictionaries(TEXT, st.integers(0, 9) | st.floats(0, 1), max_size=2),
        },
    )  # fmt: skip
    wild = st.dictionaries(st.sampled_from(fields) | TEXT, JSON, max_size=4)
    mixed = st.builds(lambda a, b: a | b, sound, wild)
    deep = st.integers(1, 100_000).map(lambda depth: '{"accuracy": ' + "[" * depth)
    example = Contract(network="ResNet50", size=224, class_names=("a", "b")).dumps().encode()
    broken = mutated([example]).map(lambda content: content.decode("utf-8", "replace"))
    texts = (mixed | wild | JSON).map(json.dumps) | broken | deep

    def check(text):
        if isinstance(text, dict):  # a sound one is taken as it is
            contract = Contract.loads(json.dumps(text))
            assert json.loads(contract.dumps()) == json.loads(Contract().dumps()) | text
            return
        with refused(ValueError):
            contract = Contract.loads(text)
            assert Contract.loads(contract.dumps()) == contract or "NaN" in contract.dumps()
            assert contract.network is None or isinstance(contract.network, str)
            assert contract.size is None or isinstance(contract.size, int)
            assert contract.resize is None or isinstance(contract.resize, int)
            assert all(isinstance(name, str) for name in contract.class_names)
            assert isinstance(contract.accuracy, dict)
            assert isinstance(contract.source, str)

    return texts | sound, check


def huggingface_configs(folder):
    """`weights.find` of a folder of Hugging Face's, or timm's: config.json and preprocessor_config.json."""
    from safetensors.numpy import save_file

    from keras_resnet.weights import found

    tensors = {
        "resnet.embedder.embedder.convolution.weight": np.zeros((4, 3, 7, 7), np.float32),
        "classifier.1.weight": np.zeros((3, 8), np.float32),
        "classifier.1.bias": np.zeros(3, np.float32),
    }
    save_file(tensors, folder / "model.safetensors")
    some = st.lists(st.integers(-2, 300) | st.floats() | JSON, max_size=4)
    labels = st.dictionaries(st.sampled_from("012x") | TEXT, TEXT | JSON, max_size=4)
    config = st.fixed_dictionaries(
        {},
        optional={
            "depths": st.sampled_from([[3, 4, 6, 3], [2, 2, 2, 2], [3, 4, [6], 3]]) | some | JSON,
            "layer_type": st.sampled_from(["basic", "bottleneck"]) | JSON,
            "downsample_in_bottleneck": st.booleans() | JSON,
            "id2label": labels | JSON,
            "_name_or_path": TEXT | JSON,
            "architecture": st.sampled_from(["resnet50", "resnet18"]) | JSON,
            "pretrained_cfg": st.dictionaries(
                st.sampled_from(["mean", "std", "interpolation", "crop_pct", "input_size", "num_classes"]),
                some | JSON, max_size=4,
            ) | JSON,
        },
    )  # fmt: skip
    preprocessor = st.fixed_dictionaries(
        {},
        optional={
            "image_mean": some | JSON,
            "image_std": some | JSON,
            "size": st.integers(-1, 300)
            | st.dictionaries(st.just("shortest_edge"), NUMBERS | JSON)
            | JSON,
            "crop_pct": st.floats() | JSON,
            "resample": st.integers(-1, 5) | JSON,
        },
    )
    texts = (config | JSON).map(json.dumps).map(str.encode) | st.binary(max_size=20)
    others = (
        st.none() | (preprocessor | JSON).map(json.dumps).map(str.encode) | st.binary(max_size=20)
    )
    deep = st.integers(1, 100_000).map(lambda depth: b'{"depths": ' + b"[" * depth)

    def check(case):
        texts, other = case
        (folder / "config.json").write_bytes(texts)
        path = folder / "preprocessor_config.json"
        path.unlink(missing_ok=True)
        if other is not None:
            path.write_bytes(other)
        with refused(ValueError):
            contract = found.find(str(folder), None).contract
            contract.loads(contract.dumps())
            assert contract.size is None or (isinstance(contract.size, int) and contract.size > 0)
            assert contract.resize is None or isinstance(contract.resize, int)

    return st.tuples(texts | deep, others), check


def client_answers(folder):
    """`remote.rest` and `remote.answers`: what a server says, over a real connection."""
    server = socket.create_server(("127.0.0.1", 0))
    response = [b""]

    def serve():
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                got = len(head.partition(b"\r\n\r\n")[2])
                while got < length:
                    got += len(connection.recv(65536))
                connection.sendall(response[0])

    threading.Thread(target=serve, daemon=True).start()
    predict = remote.rest(f"http://127.0.0.1:{server.getsockname()[1]}", "m", timeout=5)
    sound = {
        "classes": [["a", "b"]],
        "scores": [[0.75, 0.25]],
        "indices": [[1, 0]],
        "valid": [True],
        "reason": [""],
    }
    outputs = st.builds(
        lambda more, less: {k: v for k, v in {**sound, **more}.items() if k not in less},
        st.dictionaries(
            st.sampled_from(list(sound)), JSON | st.lists(JSON, max_size=2), max_size=2
        ),
        st.sets(st.sampled_from(list(sound)), max_size=1),
    )
    bodies = (
        (st.builds(lambda o: {"outputs": o}, outputs | JSON) | JSON).map(json.dumps).map(str.encode)
        | mutated([json.dumps({"outputs": sound}).encode()])
        | st.binary(max_size=20)
        | st.integers(1, 100_000).map(lambda depth: b'{"outputs": ' + b"[" * depth)
    )
    lines = st.sampled_from(
        [b"200 OK", b"400 Bad Request", b"404 Not Found", b"500 Oops", b"503 Later", b"302 Found", b"x", b"-1 -"]
    )  # fmt: skip
    headers = st.sampled_from(
        [b"", b"Location: http://127.0.0.1:9/elsewhere\r\n", b"Content-Encoding: gzip\r\n",
         b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Type: text/html\r\n"]
    )  # fmt: skip

    def check(case):
        line, header, body = case
        response[0] = b"HTTP/1.1 " + line + b"\r\nConnection: close\r\n" + header + b"\r\n" + body
        with refused(remote.Refused, remote.Unreached, ValueError):
            rows = remote.answers(predict([b"picture"]), top=2)
            assert len(rows) == 1
            for row in rows:
                assert row.keys() in ({"classes", "scores", "indices"}, {"error"})
                if "error" not in row:
                    assert all(isinstance(name, str) for name in row["classes"])
                    assert all(isinstance(score, int | float) for score in row["scores"])
            json.dumps(rows, ensure_ascii=False)

    return st.tuples(lines | st.just(b"200 OK"), headers | st.just(b""), bodies), check


def label_files(folder):
    """`label_files`: what is written as names with tabs and indices, or in order, is read so."""
    from keras_resnet.support import label_files as files

    path = folder / "labels.txt"
    word = st.sampled_from(
        ["cat", "golden retriever", "n01440764", "7", "0", "1", "caf\u00e9", "\u5b57", "a\x85b"]
    )
    names = st.lists(word | TEXT, max_size=4)
    lines = st.lists(
        st.lists(word | TEXT | st.integers(-1, 4).map(str), max_size=4).map(" ".join)
        | st.builds("{}\t{}".format, word | TEXT, st.integers(-1, 4) | TEXT),
        max_size=5,
    ).map("\n".join)
    texts = lines.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=30)
    texts |= mutated(
        ["\ufeffcat 0\r\ndog 1\r\n".encode(), b"cat\t1\ndog\t0\n", b"cat\ndog\nbird\n"]
    )

    def check(case):
        content, folders = case
        path.write_bytes(content)
        with refused(ValueError):
            rows, ordered = files.read(path, folders)
            assert rows and all(isinstance(name, str) and index >= 0 for name, index in rows)
            if ordered:
                assert [index for _, index in rows] == list(range(len(rows)))
        with refused(ValueError):
            found = files.names(path)
            files.check(found)
            if "\t" not in "".join(found):  # written with tabs they are the same names again
                path.write_text("".join(f"{n}\t{i}\n" for i, n in enumerate(found)), "utf-8-sig")
                assert files.names(path) == found

    return st.tuples(texts, names), check
