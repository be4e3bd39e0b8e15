r"""Keys come from the environment and are kept out of everything that is written."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit, urlunsplit

# What a key looks like: servers echo keys, and parts of keys, in their error messages.
LOOKS_LIKE_KEY = re.compile(
    r"\b(?:sk|pk|key|hf|gsk|xai)[-_][A-Za-z0-9_\-*.]{8,}"
    r"|\bAIza[\w-]{30,}"
    r"|(?i:bearer\s+)[^\s\"',]{8,}"
)
# Fields of a request that hold keys, such as "api_key"; "max_completion_tokens" does not, nor does
# "prompt_cache_key".
KEY_FIELD = re.compile(
    r"(?i)(?<!cache_)key$|api.?key|authorization|auth$|secret|passw|pwd|credential|token$"
)
HIDDEN = "[key removed]"
# What stands in for a key at servers that need none: the client insists on a value.
NO_KEY = "none"
#: So many characters of a key in a row are taken out as well.
PART = 8


def key_from_environment(variable: str, needed: bool) -> str:
    r"""Reads an API key.

    Args:
        variable (str): The name of the environment variable.
        needed (bool): Whether the lack of a key is an error.

    Raises:
        ValueError: If the variable is not set although a key is needed.
    """
    key = os.environ.get(variable, "").strip()
    if not key and needed:
        raise ValueError(
            f"The environment variable {variable} is not set: put the API key of the "
            "endpoint there (or name another variable). A local server that needs "
            "none wants a base URL instead."
        )
    return key or NO_KEY


def check_no_key(what: str, value: Any, variable: str = "", least: int = 0) -> None:
    r"""Refuses a key where a user may put one by mistake; the message does not show it.

    Args:
        what (str): The setting's name, for the message.
        value: Text, or fields of a request.
        variable (str): The environment variable of the key in use. (default: none)
        least (int): So many characters has what looks like a key; of paths, whose names may begin
            like one, more than a few. (default: ``0``)

    Raises:
        ValueError: If there seems to be a key in it.
    """
    found = False
    if isinstance(value, Mapping):
        for name, inner in value.items():
            # A number or a switch is no key.
            found |= bool(KEY_FIELD.search(str(name)) and isinstance(inner, str | list | Mapping))
            check_no_key(what, [str(name), inner], variable, least)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_no_key(what, inner, variable, least)
    elif isinstance(value, str):
        text, key = unquote(value), os.environ.get(variable, "").strip()
        # A short one may be a word, such as what servers without keys are told.
        looks = any(len(match[0]) >= least for match in LOOKS_LIKE_KEY.finditer(text))
        found = looks or (len(key) >= 2 * PART and key in text)
    if found:
        raise ValueError(
            f"{what!r} seems to hold an API key: put the key into an environment variable, and "
            "that variable's name into key_variable (--key-variable)."
        )


class Redactor:
    r"""Takes keys out of text.

    Args:
        *secrets (str): The keys in use, taken out wherever they stand: as they are, as JSON and as
            URLs write them, and, where they are long, parts of them.
    """

    def __init__(self, *secrets: str) -> None:
        forms = {
            form
            for secret in secrets
            if len(secret) >= 6
            for form in (secret, json.dumps(secret)[1:-1], quote(secret, ""), quote_plus(secret))
        }
        self._secrets = sorted(forms, key=len, reverse=True)
        # A short key, or one of letters alone, may be a word whose parts stand in any text.
        long = [s for s in self._secrets if len(s) >= 2 * PART and re.search(r"\d", s)]
        self._parts = {s: [s[at : at + PART] for at in range(len(s) - PART + 1)] for s in long}

    def exact(self, text: str) -> str:
        """Without the keys in use and their parts."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for secret, parts in self._parts.items():
            if any(part in text for part in parts):
                text = _without_parts(text, secret)
        return text

    def message(self, text: str) -> str:
        """Without the keys in use, and without anything else that looks like a key; printable."""
        whole = unquote(text).encode("utf-8", "replace").decode()
        return LOOKS_LIKE_KEY.sub(HIDDEN, self.exact(whole))


def _without_parts(text: str, secret: str) -> str:
    kept, at = [], 0
    while at < len(text):
        size = PART if text[at : at + PART] in secret and len(text) - at >= PART else 0
        while size and at + size < len(text) and text[at : at + size + 1] in secret:
            size += 1
        kept.append(HIDDEN if size else text[at])
        at += size or 1
    return "".join(kept)


def public_url(url: str | None) -> str | None:
    """A URL without its query and without a name and password."""
    if url is None:
        return None
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
