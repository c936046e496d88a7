"""SavedModels that read or write files are named before they are loaded: each here would touch a canary."""

import os
import pathlib
import pickle
import re
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_resnet.serving import file_operations

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/tensorflow_2_20_ops.txt"
STRINGS = [tf.TensorSpec([None], tf.string, "image_bytes")]


def save(folder, body, **held):
    """A SavedModel whose signature `predict_bytes` is ``body(module, image_bytes) -> string [N]``."""
    module = tf.Module()
    module.weight = tf.Variable([1.0])
    for name, value in held.items():
        setattr(module, name, value)

    @tf.function(input_signature=STRINGS, autograph=False)
    def predict_bytes(image_bytes):
        return {"classes": body(module, image_bytes)}

    tf.saved_model.save(module, str(folder), {"predict_bytes": predict_bytes})
    return folder


def edit(folder, change):
    """Applies ``change(meta graph)`` to the file."""
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(saved.meta_graphs[0])
    path.write_bytes(saved.SerializeToString())
    return folder


def lines(path):
    return tf.data.TextLineDataset(str(path)).batch(9).get_single_element()


def cached(where):
    def body(module, x):
        found = tf.data.Dataset.from_tensor_slices(x).cache(where).batch(9).get_single_element()
        return found

    return body


def printed(path):
    def body(module, x):
        tf.print(x, output_stream=f"file://{path}")
        return x

    return body


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    path.write_text("do not touch\n")
    return path


HOSTILE = {
    "ReadFile": lambda c: lambda module, x: x + tf.io.read_file(str(c)),
    "ReadFile of a request's path": lambda c: lambda module, x: tf.map_fn(tf.io.read_file, x),
    "WriteFile": lambda c: lambda module, x: (tf.io.write_file(str(c), "touched"), x)[1],
    "MatchingFiles": lambda c: lambda module, x: tf.io.matching_files(f"{c.parent}/*"),
    "TextLineDataset": lambda c: lambda module, x: lines(c),
    "TFRecordDataset": lambda c: (
        lambda module, x: tf.data.TFRecordDataset(str(c)).batch(9).get_single_element()
    ),
    "EagerPyFunc": lambda c: lambda module, x: tf.py_function(lambda y: y, [x], tf.string),
    "PyFunc": lambda c: lambda module, x: tf.numpy_function(lambda y: y, [x], tf.string),
    "PrintV2": printed,
    "CacheDatasetV2": lambda c: cached(f"{c}.cache"),
    "SaveV2": lambda c: (
        lambda module, x: (
            tf.raw_ops.SaveV2(
                prefix=str(c), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.zeros([1])]
            ),
            x,
        )[1]
    ),
    "RestoreV2": lambda c: (
        lambda module, x: tf.raw_ops.RestoreV2(
            prefix=str(c), tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.string]
        )[0]
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_operations_are_named_before_loading(tmp_path, canary, case):
    folder = save(tmp_path / "1", HOSTILE[case](canary))
    with pytest.raises(file_operations.UntrustedModel) as raised:
        file_operations.check(folder)
    problem = raised.value.problem
    assert re.search(rf"the operation {case.split()[0]}\b", problem) and "allow" not in problem
    again = pickle.loads(pickle.dumps(raised.value))  # as Beam's workers send it
    assert (str(again), again.problem) == (str(raised.value), problem)
    assert file_operations.check(folder, allow_file_operations=True).meta_graphs
    assert canary.read_text() == "do not touch\n"


def test_harmless_models_pass(tmp_path):
    """A table from an asset, a print to the screen, a cache in memory."""
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")

    def body(module, x):
        tf.print("seen", x)
        return module.names.lookup(cached("")(module, x))

    folder = save(tmp_path / "1", body, names=table(names))
    file_operations.check(folder)
    loaded = tf.saved_model.load(str(folder))
    found = loaded.signatures["predict_bytes"](image_bytes=tf.constant(["cat", "dog"]))
    assert found["classes"].numpy().tolist() == [0, 1]


def table(path):
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(path),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )


@pytest.fixture
def with_table(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\n")
    return save(tmp_path / "1", lambda module, x: module.names.lookup(x), names=table(names))


@pytest.mark.parametrize("name", ["../../canary", "/etc/hostname", "", "a\\..\\b"])
def test_an_asset_elsewhere_is_refused(with_table, name):
    def change(graph):
        graph.asset_file_def[0].filename = name

    with pytest.raises(ValueError, match="its asset .* names another folder"):
        file_operations.check(edit(with_table, change))


def test_an_asset_that_is_a_link_outside_is_refused(with_table, canary):
    asset = with_table / "assets/names.txt"
    asset.unlink()
    asset.symlink_to(canary)
    with pytest.raises(ValueError, match="its asset 'names.txt' is a link to .*canary"):
        file_operations.check(with_table)


def test_a_table_of_another_file_is_refused(with_table, canary):
    """The path is a constant in place of the asset: beside the graph, and in the function itself."""

    def bound(graph):
        [functions] = [
            f for n, f in graph.object_graph_def.concrete_functions.items() if "initializer" in n
        ]
        for node in graph.object_graph_def.nodes:
            if node.WhichOneof("kind") == "asset":
                node.constant.operation = "Const"
        assert functions.bound_inputs

    with pytest.raises(ValueError, match="InitializeTableFromTextFileV2"):
        file_operations.check(edit(with_table, bound))

    def inside(graph):
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "InitializeTableFromTextFileV2":
                    constant = function.node_def.add(name="path", op="Const")
                    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(canary)))
                    node.input[1] = "path:output:0"
                    return

    with pytest.raises(ValueError, match="InitializeTableFromTextFileV2"):
        file_operations.check(edit(with_table, inside))


def saver_of(graph):
    return next(
        f.signature.name
        for f in graph.graph_def.library.function
        if f.signature.name.startswith("__inference__traced_save")
    )


def called_as_an_operation(graph):
    function = graph.graph_def.library.function[0]
    function.node_def.add(name="x", op=saver_of(graph))


def called_by_a_call(graph):
    node = graph.graph_def.library.function[0].node_def.add(name="x", op="PartitionedCall")
    node.attr["f"].func.name = saver_of(graph)


def called_in_an_attribute(graph):
    node = graph.graph_def.library.function[0].node_def.add(name="x", op="MapDataset")
    node.attr["f"].func.name = "other"
    node.attr["f"].func.attr["g"].func.name = saver_of(graph)


def served(graph):
    graph.object_graph_def.concrete_functions[saver_of(graph)].bound_inputs.append(0)


def of_a_session(graph):
    graph.ClearField("object_graph_def")


@pytest.mark.parametrize(
    "change",
    [called_as_an_operation, called_by_a_call, called_in_an_attribute, served, of_a_session],
)
def test_the_saver_is_the_saver_s_alone(tmp_path, change):
    folder = save(tmp_path / "1", lambda module, x: x)
    file_operations.check(folder)
    with pytest.raises(ValueError, match="has the operation SaveV2|has the operation RestoreV2"):
        file_operations.check(edit(folder, change))


def test_a_stream_that_a_caller_names_is_refused(tmp_path):
    def change(graph):
        node = graph.graph_def.library.function[0].node_def.add(name="x", op="PrintV2")
        node.attr["output_stream"].placeholder = "stream"

    folder = save(tmp_path / "1", lambda module, x: x)
    with pytest.raises(ValueError, match="PrintV2"):
        file_operations.check(edit(folder, change))


def test_an_operation_that_lacks_its_inputs_is_named(tmp_path):
    def change(graph):
        graph.graph_def.library.function[0].node_def.add(name="x", op="CacheDataset")

    folder = save(tmp_path / "1", lambda module, x: x)
    with pytest.raises(ValueError, match="CacheDataset"):
        file_operations.check(edit(folder, change))


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no saved_model\.pb"):
        file_operations.check(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x0a\xff\xff")
    with pytest.raises(ValueError, match="is damaged, or no SavedModel"):
        file_operations.check(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "saved_model.cpb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a saved_model\.cpb"):
        file_operations.check(tmp_path)


# Words of TensorFlow's names for what reaches files, processes or Python; and which of those with them do not.
WORDS = r"File|(?<!un)Read(?!y)|Write|^(Save|Restore|Snapshot|Load)|Save|Restore|Dump|Matching|PyFunc|Print|Cache"
WORDS += r"|Rpc|Remote|TextLine|TFRecord|CSV|Sql|LMDB|FixedLength|DataService|FromGraph|DeserializeIter|Debug|Vocab"
HARMLESS = r"MemoryCache|SummaryWriter|Write\w*Summary|^Reader|IdentityReader|TPUEmbedding|TensorArray|ReadVariable"
HARMLESS += r"|^Rpc|RpcFuture|^Sharded|BoostedTrees|DebugGradient|DecodeCSV|CopyOnRead|^Print$|RngRead|^Snapshot$"


def test_the_list_is_of_operations_and_whole():
    """Every name is one of TensorFlow's; and those that sound like files are in it, or said to be harmless here."""
    known = set(GOLDEN.read_text().split())
    listed = file_operations._REACHING | file_operations._CACHES | set(file_operations._NAMED_BY)
    assert listed - known <= {"InitializeTRTResource", "RemoteFusedGraphExecute"}
    sounds = {name for name in known if re.search(WORDS, name)}
    assert {name for name in sounds - listed if not re.search(HARMLESS, name)} == set()


# --- those who load


def test_beam_refuses_on_the_worker(tmp_path, canary):
    pytest.importorskip("apache_beam", reason="not installed; the extra `beam` brings it")
    from keras_resnet.serving import beam

    folder = save(tmp_path / "1", HOSTILE["WriteFile"](canary))
    with pytest.raises(ValueError, match="the operation WriteFile"):
        beam.SavedModel(folder).load_model()
    assert beam.SavedModel(folder, allow_file_operations=True).load_model().signatures


COMMANDS = {
    "savedmodels/check.py": ["{0}/1", "--weights=x.keras", "--data=x"],
    "savedmodels/local_server.py": ["--model_base_path={0}", "--port=0", "--rest_api_port=0"],
    "recipes/predict.py": ["--saved_model={0}/1", "--input={0}", "--output={0}/answers"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_the_operation_and_end(tmp_path, canary, command):
    """The operation is in the function that fills a table, which runs as soon as a model is loaded."""
    names = tmp_path / "names.txt"
    names.write_text("cat\n")
    folder = save(tmp_path / "1", lambda module, x: module.names.lookup(x), names=table(names))

    def change(graph):
        for function in graph.graph_def.library.function:
            if "initializer" in function.signature.name:
                for name, text in (("path", str(canary)), ("touched", "touched")):
                    node = function.node_def.add(name=name, op="Const")
                    node.attr["dtype"].type = tf.string.as_datatype_enum
                    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))
                inputs = ["path:output:0", "touched:output:0"]
                function.node_def.add(name="write", op="WriteFile", input=inputs)
                for node in function.node_def:
                    if node.op.startswith("InitializeTable"):
                        node.input.append("^write")

    edit(folder, change)
    arguments = [each.format(tmp_path) for each in COMMANDS[command]]
    done = subprocess.run(
        [sys.executable, str(ROOT / command), *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    assert "has the operation WriteFile" in done.stderr and "allow_file_operations" in done.stderr
    assert canary.read_text() == "do not touch\n"
    tf.saved_model.load(str(folder))  # what it would have done
    assert canary.read_text() == "touched"
