"""TF Serving's JSON of tensors: the bodies of its REST API, to NumPy arrays and back.

As https://www.tensorflow.org/tfx/serving/api_rest says and tensorflow_serving/util/json_tensor.cc does,
with its sentences. Stricter in one point: an integer that its dtype cannot hold is refused, not wrapped.
"""

import base64
import binascii
import itertools
import json
import re
from typing import Any

import numpy as np

_SHOWN = 256  # characters of a value in a sentence
_BYTES = "_bytes"  # outputs of such a name are binary
_KINDS = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}, "V": {int, float}}  # V: bfloat16


def parse(body: bytes) -> dict:
    """A request's body -> the JSON object that it is.

    Raises:
        ValueError: it is not one.
    """
    if not body:
        raise ValueError("JSON Parse error: The document is empty")
    try:
        request = json.loads(body, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ValueError(f"JSON Parse error: not UTF-8 at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except ValueError as error:  # a number of more than 4,300 digits, a key that comes twice
        raise ValueError(f"JSON Parse error: {str(error).partition(';')[0]}") from None
    except RecursionError:
        raise ValueError("JSON Parse error: nested too deeply") from None
    if not isinstance(request, dict):
        raise ValueError(f"JSON Value: {_shown(request)} Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise ValueError(
            f"JSON Value: {_shown(request)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return request


def _unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def arrays(
    request: dict, dtypes: dict[str, np.dtype], most_rows: int
) -> tuple[dict[str, np.ndarray], bool]:
    """The tensors of a predict request.

    Args:
        request: what `parse` gave.
        dtypes: of the signature's inputs, by name, at least one; strings are `object`.
        most_rows: of the first axis.

    Returns:
        Arrays by name, strings being `object` arrays of bytes; and whether they came by rows
        ("instances") rather than by columns ("inputs"), which the answer then does too.

    Raises:
        ValueError: in TF Serving's words.
    """
    try:
        return _arrays(request, dtypes, most_rows)
    except RecursionError:
        raise ValueError("JSON Value: nested too deeply") from None


def _arrays(request, dtypes, most_rows):
    if "instances" in request and "inputs" in request:
        raise ValueError(
            f"JSON Value: {_shown(request)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if "instances" in request:
        return _from_rows(request["instances"], dtypes, most_rows), True
    if "inputs" in request:
        return _from_columns(request["inputs"], dtypes, most_rows), False
    raise ValueError("Missing 'inputs' or 'instances' key")


def answer(outputs: dict[str, np.ndarray], by_row: bool) -> dict:
    """The body for a request's outputs: `predictions` by rows, `outputs` by columns; one output
    goes without its name.

    Raises:
        ValueError: rows are asked for, and the outputs have not as many each.
    """
    if not outputs:
        raise ValueError("The signature has no outputs.")
    columns = {name: plain(name, array) for name, array in outputs.items()}
    if not by_row:
        return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    for name, array in outputs.items():
        if not array.ndim:
            raise ValueError(f"Tensor name: {name} has no shape information ")
    sizes = {name: len(array) for name, array in outputs.items()}
    if len(set(sizes.values())) > 1:
        (_, expected), *rest = sizes.items()
        name, size = next((name, size) for name, size in rest if size != expected)
        raise ValueError(
            f"Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}"
        )
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


# --- from JSON


def _from_rows(instances, dtypes, most_rows):
    if not isinstance(instances, list):
        raise ValueError(
            f"JSON Value: {_shown({'instances': instances})} Expecting 'instances' to be an list/array"
        )
    if not instances:
        raise ValueError("JSON Value: {\"instances\": []} No values in 'instances' array")
    _check_rows(instances, most_rows)
    named = _is_named(instances[0])
    if not named and len(dtypes) > 1:
        raise ValueError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns = {name: [] for name in dtypes}
    for i, instance in enumerate(instances):
        if named != _is_named(instance):
            wanted, got = ("object", "list") if named else ("value/list", "object")
            raise ValueError(f"Expecting {wanted} but got {got} at item {i} of input list")
        items = instance if named else {next(iter(dtypes)): instance}
        where = f"Failed to process element: {i}"
        for name, value in items.items():
            at = f"{where} key: {name}" if named else where
            try:
                if name not in dtypes:
                    raise ValueError(
                        f"JSON object: does not have named input: {_shown(name)[1:-1]}"
                    )
                columns[name].append(array(value, dtypes[name]))
            except ValueError as mistake:
                raise ValueError(
                    f"{at} of 'instances' list. Error: INVALID_ARGUMENT: {mistake}"
                ) from None
            first, last = columns[name][0].shape, columns[name][-1].shape
            if first != last:
                raise ValueError(
                    f"{at} of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape "
                    f"{_shape(first)} but got: {_shape(last)}"
                )
        if items.keys() != dtypes.keys():
            raise ValueError(
                f"{where} of 'instances' list. JSON object: {_shown(instance)} keys must be equal "
                f"to: {','.join(sorted(dtypes))}"
            )
    return {name: np.stack(column) for name, column in columns.items()}


def _from_columns(inputs, dtypes, most_rows):
    if not _is_named(inputs):
        if len(dtypes) > 1:
            raise ValueError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        inputs = {next(iter(dtypes)): inputs}
    for name in dtypes:
        if name not in inputs:
            raise ValueError(f"Missing named input: {name} in 'inputs' object.")
        _check_rows(inputs[name], most_rows)
    return {name: array(inputs[name], dtype) for name, dtype in dtypes.items()}


def _check_rows(value, most):
    """Before anything is made of them."""
    if isinstance(value, list) and len(value) > most:
        raise ValueError(f"Task size {len(value)} is larger than maximum input batch size {most}")


def array(value: Any, dtype: np.dtype) -> np.ndarray:
    """A nested list of values -> an array; all values of a level at once where nothing is wrong.

    NumPy alone is not asked: it takes numbers with one long text among them for texts that are all as long.

    Raises:
        ValueError: the list is ragged, or a value is not of that dtype (`object`: strings).
    """
    shape, leaves = [], [value]
    while (types := set(map(type, leaves))) == {list} and len(sizes := set(map(len, leaves))) == 1:
        shape.append(sizes.pop())
        leaves = list(itertools.chain.from_iterable(leaves))
    if list in types:  # ragged: the sentence says where
        _refuse_ragged(value, 0, _first_shape(value))
    array = _numbers(leaves, types, dtype)
    if array is None:
        array = np.empty(len(leaves), dtype)
        array[:] = [_leaf(leaf, dtype) for leaf in leaves]
    return array.reshape(shape)


def _numbers(leaves, types, dtype):
    """None where one of them is not, or does not fit."""
    if not types <= _KINDS.get(dtype.kind, set()):
        return None
    try:
        array = np.array(leaves, None if leaves else dtype)
    except OverflowError:
        return None
    exact = {"u": "iu", "i": "iu", "b": "b"}.get(dtype.kind, "iuf")
    return _cast(array, dtype) if array.dtype.kind in exact and _fits(array, dtype) else None


def _first_shape(value):
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _refuse_ragged(value, level, shape):
    if not isinstance(value, list):
        if level != len(shape):
            raise ValueError(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        return
    if level >= len(shape):
        raise ValueError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise ValueError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for inner in value:
        _refuse_ragged(inner, level + 1, shape)


def _leaf(value, dtype):
    if dtype.kind == "O":
        if _is_base64(value):
            return decoded(value["b64"])
        if isinstance(value, dict):
            raise ValueError(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
    if type(value) in _KINDS.get(dtype.kind, set()):
        whole = dtype.kind in "iu"
        fits = _in_range(value, dtype) if whole else _fits(np.array(value), dtype)
    else:
        fits = False
    if not fits:
        names = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
        kind = str(value) if isinstance(value, bool) else names.get(type(value), "Number")
        named = "string" if dtype.kind == "O" else dtype.name.replace("float32", "float")
        raise ValueError(
            f"JSON Value: {_shown(value)} Type: {kind} is not of expected type: {named}"
        )
    return value


def _fits(array, dtype):
    if array.dtype.kind == "O" or not array.size:
        return array.dtype.kind != "O"
    if dtype.kind in "iu":
        return bool(_in_range(array.min(), dtype) and _in_range(array.max(), dtype))
    finite = np.isfinite(array)
    return bool(np.isfinite(_cast(array, dtype))[finite].all())


def _in_range(value, dtype):
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max


def _cast(array, dtype):
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def decoded(text: str) -> bytes:
    """Of base64; padding and white space are as one likes.

    Raises:
        ValueError: it is none.
    """
    text = re.sub(r"\s", "", text).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("Unable to base64 decode") from None


def _is_base64(value):
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _is_named(value):
    return isinstance(value, dict) and not _is_base64(value)


def _shape(shape):
    return f"[{','.join(map(str, shape))}]"


def _shown(value):
    """The value's beginning as JSON; no more of a long one is written."""
    text = ""
    for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
        text += piece
        if len(text) > _SHOWN:
            break
    return text[:_SHOWN]


# --- to JSON


def plain(name: str, array: np.ndarray) -> Any:
    """An output's values as JSON has them; strings of a name that ends in _bytes are {"b64": ...}."""
    if array.dtype.kind == "O":
        return _strings(array.tolist(), name.endswith(_BYTES))
    if array.dtype.kind in "biu":
        return array.tolist()
    if array.dtype == np.float64:
        return array.tolist()
    # The shortest digits that are this float32: 0.2, not 0.20000000298.
    return array.astype(np.float32).astype("U").astype(np.float64).tolist()


def _strings(value, binary):
    if isinstance(value, list):
        return [_strings(inner, binary) for inner in value]
    if binary:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")
