"""Finds, before a SavedModel is loaded, its operations that reach files, other processes or Python.

A graph is a program: TensorFlow has operations that read and write any file that the process may, and a SavedModel's
functions run as soon as it is loaded (to fill its tables) or asked. What a classifier needs is two of them, each in a
place where it can do nothing else: the variables' saver, which a loaded model never calls, and tables filled from a
file in the model's `assets`.
"""

import itertools
import os
import pathlib
from typing import TYPE_CHECKING

from etils import epath

if TYPE_CHECKING:
    from tensorflow.core.protobuf import saved_model_pb2

_SAVER = {"SaveV2", "RestoreV2", "MergeV2Checkpoints"}
_TABLES = {"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"}
_REACHING = {
    *_SAVER,
    *_TABLES,
    # files, read
    *("ReadFile", "MatchingFiles", "Restore", "RestoreSlice", "DTensorRestoreV2", "RecordInput"),
    *("WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2", "LMDBReader"),
    *("TFRecordReader", "TFRecordReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2"),
    *("TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "CSVDataset", "CSVDatasetV2"),
    *("FixedLengthRecordDataset", "FixedLengthRecordDatasetV2", "LMDBDataset", "SqlDataset"),
    *("MatchingFilesDataset", "LoadDataset", "SnapshotChunkDataset", "SnapshotDatasetReader"),
    *("SnapshotNestedDatasetReader", "ListSnapshotChunksDataset", "ExperimentalCSVDataset"),
    *("ExperimentalLMDBDataset", "ExperimentalSqlDataset", "ExperimentalMatchingFilesDataset"),
    *("GenerateVocabRemapping", "LoadAndRemapMatrix", "InitializeTRTResource"),
    # files, written
    *("WriteFile", "Save", "SaveSlices", "DistributedSave", "SaveDataset", "SaveDatasetV2"),
    *("DatasetToTFRecord", "ExperimentalDatasetToTFRecord", "SnapshotDataset", "SnapshotDatasetV2"),
    *(
        "CreateSummaryFileWriter",
        "CreateSummaryDbWriter",
        "CalibrationStatisticsSaver",
        "DumpTensor",
    ),
    "FileSystemSetConfiguration",
    # other processes and Python
    *("PyFunc", "PyFuncStateless", "EagerPyFunc", "RemoteCall", "RemoteFusedGraphExecute"),
    *("RpcCall", "RpcClient", "RpcServer", "RpcServerRegister", "RpcServerStart"),
    *("DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4"),
    *("RegisterDataset", "RegisterDatasetV2"),
    # a graph that is hidden in a string
    *("DatasetFromGraph", "DeserializeIterator"),
}
# These only where they are given a file or an address: the attributes that name it. A dataset is cached in memory
# where its second input is "".
_NAMED_BY = {
    "FixedUnigramCandidateSampler": "vocab_file",
    "Skipgram": "filename",
    "DecodeProtoV2": "descriptor_source",
    "EncodeProto": "descriptor_source",
    "DebugIdentity": "debug_urls",
    "DebugIdentityV2": "debug_urls",
    "DebugIdentityV3": "debug_urls",
    "DebugNanCount": "debug_urls",
    "DebugNumericSummary": "debug_urls",
    "DebugNumericSummaryV2": "debug_urls",
    "PrintV2": "output_stream",
}
_CACHES = {"CacheDataset", "CacheDatasetV2"}
_HARMLESS = (b"", b"local://", b"stdout", b"stderr", b"log(info)", b"log(warning)", b"log(error)")


class UntrustedModel(ValueError):
    """A SavedModel's graph could read or write files.

    Args:
        problem: a sentence that says so, without its remedy and full stop.
    """

    def __init__(self, problem: str):
        super().__init__(
            f"{problem}: if you trust it as you would a program, load it with allow_file_operations=True."
        )
        self.problem = problem

    def __reduce__(self):  # Beam's workers send it
        return type(self), (self.problem,)


def check(
    folder: str | os.PathLike, allow_file_operations: bool = False
) -> "saved_model_pb2.SavedModel":
    """Reads `saved_model.pb`, and refuses a model whose graph could read or write files.

    Args:
        folder: with saved_model.pb, local or behind a URL.
        allow_file_operations: the model is trusted as a program is.

    Returns:
        The `SavedModel` message.

    Raises:
        FileNotFoundError: no SavedModel is there.
        UntrustedModel: it has such an operation, which the sentence names.
        ValueError: it is damaged, or in a format that is not read.
        OSError: it cannot be read.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    folder = epath.Path(folder)
    path = folder / "saved_model.pb"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no saved_model.pb: name a version's folder.")
    if (folder / "saved_model.cpb").exists():  # TensorFlow would take this one
        raise ValueError(
            f"{folder} holds a saved_model.cpb, a graph cut into chunks, which is not read here."
        )
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except DecodeError:
        raise ValueError(f"{path} is damaged, or no SavedModel.") from None
    if not allow_file_operations and (found := reaching(saved) or _strange_asset(folder, saved)):
        raise UntrustedModel(
            f"{folder} is not loaded: {found}, so that it could read or write files"
        )
    return saved


def reaching(saved: "saved_model_pb2.SavedModel") -> str:
    """The first operation of a `SavedModel` message that reaches beyond it and where it is; "" for none."""
    for graph in saved.meta_graphs:
        functions = {f.signature.name: f for f in graph.graph_def.library.function}
        called_by = _callers(graph.graph_def, functions)
        # TensorFlow loads any other model as a session does, whose graph calls its saver by itself.
        objects = len(saved.meta_graphs) == 1 and graph.HasField("object_graph_def")
        saver = _saver_functions(graph, called_by) if objects else ()
        for node in graph.graph_def.node:
            if _reaches(node, graph.graph_def.node):
                return f"its graph has the operation {node.op}"
        for name, function in functions.items():
            for node in function.node_def:
                allowed = (node.op in _SAVER and name in saver) or (
                    objects
                    and node.op in _TABLES
                    and _reads_an_asset(node, function, graph, called_by)
                )
                if not allowed and _reaches(node, function.node_def):
                    return f"its function {name} has the operation {node.op}"
    return ""


def _reaches(node, beside):
    if node.op in _NAMED_BY:
        attribute = node.attr[_NAMED_BY[node.op]]
        values = [attribute.s, *attribute.list.s]
        filled_in_by_a_caller = bool(attribute.placeholder)
        return filled_in_by_a_caller or any(value not in _HARMLESS for value in values)
    if node.op in _CACHES:
        return _constant(_second(node), beside) != b""
    return node.op in _REACHING


def _second(node):
    """The name of its second input, "" where it has none."""
    return node.input[1] if len(node.input) > 1 else ""


def _constant(name, beside):
    """The value of the text that an input is; None where that is not a constant."""
    for node in beside:
        if node.name == name.partition(":")[0] and node.op == "Const":
            values = node.attr["value"].tensor.string_val
            return values[0] if values else b""
    return None


def _callers(graph_def, functions):
    """{function: the nodes' names of the main graph, and "function name/" for functions, that refer to it}."""
    found = {}

    def refer(nodes, prefix):
        for node in nodes:
            for name in (node.op, *_named_functions(node.attr)):  # an operation may be a function
                found.setdefault(name, set()).add(prefix or node.name)

    refer(graph_def.node, "")
    for name, function in functions.items():
        refer(function.node_def, f"{name}/")
    return found


def _named_functions(attributes):
    for attribute in attributes.values():
        for function in (attribute.func, *attribute.list.func):
            if function.name:
                yield function.name
                yield from _named_functions(function.attr)


def _saver_functions(graph, called_by):
    """Those that the saver alone calls, which nothing calls in a model that is loaded as objects."""
    saver = graph.saver_def
    nodes = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    served = graph.object_graph_def.concrete_functions
    outputs = {
        info.name.partition(":")[0]
        for signature in graph.signature_def.values()
        for info in signature.outputs.values()
    }
    return {
        name
        for name, callers in called_by.items()
        if callers <= nodes and name not in served and not nodes & outputs
    }


def _reads_an_asset(node, function, graph, called_by):
    """Whether the file of a table is one of the model's assets, bound to the function when it is loaded."""
    name, objects = function.signature.name, graph.object_graph_def
    inputs = [argument.name for argument in function.signature.input_arg]
    bound = (
        objects.concrete_functions[name].bound_inputs if name in objects.concrete_functions else ()
    )
    if len(bound) != len(inputs) or _second(node) not in inputs:
        return False
    if any(caller.endswith("/") for caller in called_by.get(name, ())):
        return False
    place = bound[inputs.index(_second(node))]
    return place < len(objects.nodes) and objects.nodes[place].WhichOneof("kind") == "asset"


def _strange_asset(folder, saved):
    """What is wrong with an asset that does not lie in the model's folder; "" for none."""
    assets = itertools.chain.from_iterable(graph.asset_file_def for graph in saved.meta_graphs)
    for name in sorted({asset.filename for asset in assets}):
        if not name or name.startswith("/") or "\\" in name or ".." in name.split("/"):
            return f"its asset {name!r} names another folder"
        if "://" not in str(folder):
            path = (pathlib.Path(folder) / "assets" / name).resolve()
            if not path.is_relative_to(pathlib.Path(folder).resolve()):
                return f"its asset {name!r} is a link to {path}"
    return ""
