"""JSON in HTTP answers, and numbers of versions in their paths."""

import json
from typing import Any

from aiohttp import web

INT64 = 2**63  # what a version's number is below


def as_json(content: bytes, code: int = 200) -> web.Response:
    return web.Response(body=content, status=code, content_type="application/json", charset="utf-8")


def dump(content: Any) -> bytes:
    """JSON; what is no text in UTF-8 (half a surrogate pair that a request named) becomes a question mark."""
    text = json.dumps(content, ensure_ascii=False, indent=1 if "error" in content else None)
    return text.encode("utf-8", "replace")


def version_of(digits: str | None) -> int | None:
    """The number of a version in a path; None stays None.

    Raises:
        ValueError: it is too large for one.
    """
    if digits is not None and (len(digits) > 30 or int(digits) >= INT64):
        raise ValueError(f"Failed to convert version: {digits} to numeric.")
    return None if digits is None else int(digits)
