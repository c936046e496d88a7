"""A request's answer that is an error."""

import re

import grpc
import tensorflow as tf

Code = grpc.StatusCode
CODES = {code.value[0]: code for code in Code}  # TensorFlow's numbers are gRPC's
_NOISE = re.compile(
    r"\[\[.*?\]\]|\[Op:[^\]]*\]|\{\{.*?\}\}|^(Graph execution error|Detected at|<stack|\(\d+\)).*",
    re.MULTILINE,
)


class Refusal(Exception):
    """A request's answer that is an error: a gRPC code and a sentence, of which 800 characters are sent."""

    def __init__(self, code: grpc.StatusCode, sentence: str):
        super().__init__(sentence if len(sentence) <= 800 else f"{sentence[:800]}...")
        self.code = code


def as_refusal(error: Exception) -> Refusal:
    """What an exception of TensorFlow's says, in one line, with its code."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, tf.errors.OpError):
        words = " ".join(_NOISE.sub("", error.message).split())
        return Refusal(CODES.get(error.error_code, Code.UNKNOWN), words or type(error).__name__)
    if isinstance(error, ValueError):
        return Refusal(Code.INVALID_ARGUMENT, str(error))
    if isinstance(error, MemoryError):
        return Refusal(Code.RESOURCE_EXHAUSTED, "There is no memory left for this request.")
    if isinstance(error, FileNotFoundError):
        return Refusal(Code.NOT_FOUND, str(error))
    return Refusal(Code.INTERNAL, f"{type(error).__name__}: {error}")
