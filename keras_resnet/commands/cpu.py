"""Which of the CPU's instructions decide how fast a network is on it, and what to take where some are missing."""

import pathlib

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
# A number type -> the instructions of which one is needed for it to be faster than float32.
FASTER = {
    "bfloat16": {"avx512_bf16", "amx_bf16"},
    "int8": {"avx512_vnni", "avx_vnni", "amx_int8"},
}


def instructions() -> list[str]:
    """Those of `INSTRUCTIONS` that this CPU has; empty where /proc does not say."""
    found = {word for line in _said("flags") for word in line.split()}
    return [name for name in INSTRUCTIONS if name in found]


def name() -> str:
    """What this CPU calls itself, as "AMD EPYC"; empty where /proc does not say."""
    return next(iter(_said("model name")), "")


def _said(key):
    """What /proc/cpuinfo has behind a key, once a core."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return []
    lines = (line.partition(":") for line in text.splitlines())
    return [value.strip() for name, _, value in lines if name.strip() == key]


def advice(precision: str) -> str | None:
    """A sentence if this CPU gains nothing by a precision; None if it does, or is not known.

    Args:
        precision: as --precision has it; "mixed_bfloat16" is bfloat16.
    """
    kind, found = precision.removeprefix("mixed_"), instructions()
    if not found or FASTER.get(kind, {*found}) & {*found}:
        return None
    instead = {
        "bfloat16": "a network runs slower in it than in float32, the default of --precision",
        "int8": "a network in it is smaller here but hardly faster than in float32",
    }[kind]
    return (
        f"This CPU has no instructions for {kind} ({', '.join(sorted(FASTER[kind]))}): {instead}."
    )
