"""What tells runs apart that have the same name."""

from collections.abc import Mapping, Sequence
from typing import Any

NAMED = 4  # settings that are named
#: Settings that say where something lies, and not what it is.
PLACES = ("data.root", "data.licence")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by path."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif prefix + name not in PLACES:
            found[prefix + name] = value
    return found


def apart(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings in which some things differ, in words, for each of them.

    Where they differ in none that is known, they are numbered.

    Example:
        >>> apart([{"data.k_core": 5, "data.seed": 0}, {"data.k_core": 10, "data.seed": 0}])
        ['k_core 5', 'k_core 10']
        >>> apart([{"data.seed": 0}, {"data.seed": 0}])
        ['1', '2']
    """
    paths = dict.fromkeys(path for one in settings for path in one)
    differ = [path for path in paths if len({repr(one.get(path)) for one in settings}) > 1]
    short = [path.removeprefix("data.") for path in differ]
    said = []
    for one in settings:
        words = [
            f"{name} {_word(one[path])}"
            for path, name in zip(differ, short, strict=True)
            if path in one
        ]
        more = [f"{len(words) - NAMED} more settings"] if len(words) > NAMED else []
        said.append(", ".join([*words[:NAMED], *more]) or "defaults")
    if len(set(said)) == len(said):
        return said
    numbered = [[] if one == "defaults" and not differ else [one] for one in said]
    return [", ".join([*words, str(at)]) for at, words in enumerate(numbered, 1)]


def _word(value: Any) -> str:
    """A value, not longer than a heading may be."""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
