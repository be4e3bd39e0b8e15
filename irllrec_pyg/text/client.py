r"""Endpoints that speak OpenAI's protocol, and the one way that anything is sent to them."""

import asyncio
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .limits import CallError, retry_after
from .redaction import LOOKS_LIKE_KEY, check_no_key, key_from_environment

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OFFICIAL = "https://api.openai.com/v1"
#: Bytes of an answer at most, before and after it is unpacked; files of batches are larger.
MOST_BYTES, MOST_FILE_BYTES = 1 << 25, 1 << 30
FILE_RETRIES = 3


@dataclass(frozen=True)
class Endpoint:
    r"""Where an OpenAI-compatible server is.

    Args:
        base_url (str, optional): Its URL up to ``/v1``; OpenAI's own if ``None``.
            (default: ``None``)
        key_variable (str): The environment variable that holds the key. There is no argument for
            the key itself. (default: ``"OPENAI_API_KEY"``)
        timeout (float): Seconds that one request may take, from its first byte to the answer's
            last. (default: ``120.0``)
    """

    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 120.0

    def __post_init__(self) -> None:
        name = self.key_variable
        digits = len(re.findall(r"\d", name))
        mixed = len(name) >= 20 and digits and (digits > 5 or re.search("[a-z]", name))
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or LOOKS_LIKE_KEY.search(name) or mixed:
            raise ValueError(
                "'key_variable' must be the name of an environment variable, not the key itself."
            )
        if not self.timeout > 0:
            raise ValueError(f"'timeout' must be above 0, got {self.timeout}.")
        if self.base_url is not None:
            check_no_key("base_url", self.base_url, name)
            if not re.fullmatch(r"https?://[\w.:\[\]-]+(/[^\s?#@]*)?", self.base_url):
                raise ValueError(
                    "base_url must look like http://127.0.0.1:8000/v1 and hold no name, password "
                    f"or query: put the key in the environment variable {self.key_variable}."
                )

    def key(self) -> str:
        """The key, from the environment."""
        return key_from_environment(self.key_variable, needed=self.base_url is None)

    def client(self, files: bool = False) -> "AsyncOpenAI":
        """The openai client. It retries by itself only what no limits of rates are for.

        Args:
            files (bool): For files and batches: large, slow, and retried. (default: ``False``)
        """
        try:
            from openai import AsyncOpenAI
        except ImportError:
            raise ImportError(
                "Language models and encoders at an endpoint need the openai "
                "client: pip install 'irllrec_pyg[text]'."
            ) from None
        seconds = max(self.timeout, 3600.0) if files else self.timeout
        return AsyncOpenAI(
            api_key=self.key(),
            base_url=self.base_url or OFFICIAL,
            timeout=self.timeout,
            max_retries=FILE_RETRIES if files else 0,
            http_client=_bounded(
                seconds,
                MOST_FILE_BYTES if files else MOST_BYTES,
                # Certificates take a while to load, and are for nothing without TLS.
                verify=urlsplit(self.base_url or OFFICIAL).scheme == "https",
            ),
        )


def _bounded(seconds: float, most: int, verify: bool) -> Any:
    """An HTTP client that bounds a whole request in time, and an answer while it arrives."""
    from openai import DefaultAsyncHttpxClient

    class Bounded(DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            request.headers["Accept-Encoding"] = "gzip"  # the one that is unpacked below
            async with asyncio.timeout(seconds):
                response = await super().send(request, stream=True, **options)
                try:
                    body = bytearray()
                    async for chunk in response.aiter_raw():
                        body += chunk
                        if len(body) > most:
                            raise _too_long(most)
                finally:
                    await response.aclose()
            headers = {
                name: value
                for name, value in response.headers.items()
                if name not in ("content-encoding", "content-length", "transfer-encoding")
            }
            content = _unpacked(bytes(body), response.headers.get("content-encoding", ""), most)
            return type(response)(
                response.status_code, headers=headers, content=content, request=request
            )

    return Bounded(timeout=seconds, follow_redirects=False, verify=verify)


def _unpacked(body: bytes, encoding: str, most: int) -> bytes:
    if encoding.lower() in ("", "identity") or not body:
        return body
    unpacker = zlib.decompressobj(47)  # with a header of gzip or of zlib
    try:
        content = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        what = f"the answer, encoded as {encoding[:40]!r}, cannot be unpacked: {error}"
        raise CallError(what, retry=True, paid=True) from None
    if len(content) > most:
        raise _too_long(most)
    return content


def _too_long(most: int) -> CallError:
    return CallError(f"the answer has more than {most >> 20} MiB", retry=False, paid=True)


async def post(client: "AsyncOpenAI", path: str, body: Mapping[str, Any]) -> Any:
    r"""Sends a request once and gives the JSON of its answer.

    Raises:
        CallError: If there is none.
    """
    try:
        # As raw JSON: servers send what the client's types do not know, and 50 times faster.
        answer = await client.post(path, body=dict(body), cast_to=object)
        return json.loads(answer) if isinstance(answer, str) else answer
    except Exception as error:
        raise classify(error) from None


def classify(error: Exception) -> CallError:
    """What an exception of the client means for the run."""
    import openai

    if isinstance(error.__cause__, CallError | TimeoutError):  # older clients wrap everything
        error = error.__cause__
    if isinstance(error, CallError):
        return error
    if isinstance(error, openai.APIStatusError):
        # The client reads {"error": …} only; FastAPI servers say {"detail": …}.
        said = error.response.text if error.message.startswith("Error code:") else error.message
        status, text = error.status_code, f"HTTP {error.status_code}: {said}"[:600]
        wait = retry_after(error.response.headers)
        if status == 429:
            # A used-up quota answers 429 as well, and no wait mends it.
            spent = error.code == "insufficient_quota"
            return CallError(text, retry=not spent, wait=wait, fatal=spent)
        if status == 401 or status < 400:  # a redirection
            return CallError(text, retry=False, fatal=True)
        if status in (
            403,
            404,
        ):  # a wrong key or model, or a service that moderates what it is sent
            return CallError(text, retry=False, fatal=None, kind="request")
        if status in (408, 409) or status >= 500:
            return CallError(text, retry=True, wait=wait)
        return CallError(text, retry=False, kind="request")
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return CallError("the request timed out", retry=True, paid=True)
    if isinstance(error, openai.APIConnectionError):
        return CallError(f"no connection: {error.__cause__ or error}"[:600], retry=True, paid=True)
    # A malformed body: the client lets json.JSONDecodeError and others through.
    reason = f"not an answer: {type(error).__name__}: {error}"
    return CallError(reason[:600], retry=True, paid=True)
