"""What a client is told of an error; nothing here knows of HTTP but its numbers."""

from collections.abc import Sequence
from typing import Any

#: Errors whose messages are for people -> status.
STATUS: dict[type[Exception], int] = {
    KeyError: 404,
    ValueError: 422,
    NotImplementedError: 501,
    ImportError: 501,
    OSError: 503,
    MemoryError: 503,
}
LONGEST = 500  # characters of an error, which may hold what was asked for
MISTAKE = "The server made a mistake; its log says which."


def words(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, MemoryError):
        return "The memory does not suffice for this; ask for less at once."
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def faults(found: Sequence[Any]) -> str:
    """What pydantic found in a body, a sentence for each of the first three."""
    more = f" ({len(found) - 3} more problems)" if len(found) > 3 else ""
    return " ".join(_fault(one) for one in found[:3]) + more


def _fault(error: dict[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"The body is no JSON: {error['ctx']['error']}."
    if not error["loc"] and isinstance(error.get("input"), bytes):
        return "The body must be sent as JSON, with the header Content-Type: application/json."
    place = ".".join(str(part) for part in error["loc"]) or "the body"
    return f"{place[:100]!r}: {error['msg']}, got {repr(error.get('input'))[:60]}."
