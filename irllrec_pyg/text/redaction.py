r"""Keys come from the environment and are kept out of everything that is written."""

import json
import os
import re
from urllib.parse import urlsplit, urlunsplit

# What a key looks like: servers echo keys, and parts of keys, in their error messages.
LOOKS_LIKE_KEY = re.compile(
    r"\b(?:sk|pk|key|hf|gsk|xai)[-_][A-Za-z0-9_\-*.]{8,}"
    r"|(?i:bearer\s+)[^\s\"',]{8,}"
)
HIDDEN = "[key removed]"
# What stands in for a key at servers that need none: the client insists on a value.
NO_KEY = "none"


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


class Redactor:
    r"""Takes keys out of text.

    Args:
        *secrets (str): The keys in use, taken out wherever they stand, as they are and as JSON
            writes them.
    """

    def __init__(self, *secrets: str) -> None:
        self._secrets = sorted(
            {
                form
                for secret in secrets
                if len(secret) >= 6
                for form in (secret, json.dumps(secret)[1:-1])
            },
            key=len,
            reverse=True,
        )

    def exact(self, text: str) -> str:
        """Without the keys in use."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def message(self, text: str) -> str:
        """Without the keys in use, and without anything else that looks like a key."""
        return LOOKS_LIKE_KEY.sub(HIDDEN, self.exact(text))


def public_url(url: str | None) -> str | None:
    """A URL without its query and without a name and password."""
    if url is None:
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit(
        (parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", "")
    )
