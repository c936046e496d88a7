"""Random input for the parsers, and what a documented refusal looks like."""

import contextlib

from hypothesis import strategies as st

NUMBERS = st.integers(-300, 70000) | st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def mutated(originals: list[bytes]):
    """Bytes of one of `originals`, as they are or with flips, insertions, deletions and a cut."""
    place = st.floats(0, 1, exclude_max=True)
    edit = st.tuples(
        st.sampled_from(["flip", "set", "insert", "delete", "cut", "repeat"]),
        place,
        st.integers(0, 255),
        st.binary(min_size=1, max_size=4),
    )

    def apply(content, edits):
        content = bytearray(content)
        for kind, where, number, new in edits:
            at = int(where * len(content))
            if kind == "flip" and content:
                content[at] ^= 1 << number % 8
            elif kind == "set":
                content[at : at + len(new)] = new
            elif kind == "insert":
                content[at:at] = new
            elif kind == "delete":
                del content[at : at + number]
            elif kind == "cut":
                del content[at:]
            elif kind == "repeat":
                content[at:at] = content[at : at + number]
        return bytes(content)

    return st.builds(apply, st.sampled_from(originals), st.lists(edit, max_size=4))


@contextlib.contextmanager
def refused(*kinds):
    """An error of these documented kinds, a sentence on one line, ends the example well."""
    try:
        yield
    except kinds as error:
        sentence = str(error)
        assert sentence.strip(), f"{type(error).__name__} without a sentence"
        assert "\n" not in sentence, f"a sentence of several lines: {sentence!r}"
        assert len(sentence) < 5000, f"a sentence of {len(sentence)} characters"
