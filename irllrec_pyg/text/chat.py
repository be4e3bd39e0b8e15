r"""Chat models at an OpenAI-compatible endpoint: settings, requests, one call."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from .answers import AnswerSchema
from .limits import estimate_tokens, retry_after
from .prompts import Message
from .redaction import key_from_environment

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ResponseFormat = Literal["json_schema", "json_object", "none"]
OFFICIAL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Endpoint:
    r"""Where an OpenAI-compatible server is.

    Args:
        base_url (str, optional): Its URL up to ``/v1``; OpenAI's own if ``None``.
            (default: ``None``)
        key_variable (str): The environment variable that holds the key. There is no argument for
            the key itself. (default: ``"OPENAI_API_KEY"``)
        timeout (float): Seconds that one request may take. (default: ``120.0``)
    """

    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 120.0

    def __post_init__(self) -> None:
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("base_url must look like http://127.0.0.1:8000/v1.")
            if parts.username or parts.password or parts.query:
                raise ValueError(
                    "base_url must hold no name, password or query: put the key in "
                    f"the environment variable {self.key_variable}."
                )

    def key(self) -> str:
        """The key, from the environment."""
        return key_from_environment(self.key_variable, needed=self.base_url is None)

    def client(self) -> "AsyncOpenAI":
        """A client that retries nothing by itself: retries have to pass the rate limits."""
        try:
            from openai import AsyncOpenAI
        except ImportError:
            raise ImportError(
                "Language models and encoders at an endpoint need the openai "
                "client: pip install 'irllrec_pyg[text]'."
            ) from None
        return AsyncOpenAI(
            api_key=self.key(),
            base_url=self.base_url or OFFICIAL,
            timeout=self.timeout,
            max_retries=0,
        )


@dataclass(frozen=True)
class ChatSettings:
    r"""A chat model and how it is asked. What changes an answer is part of the journal's key.

    Args:
        model (str): The model's name at the endpoint.
        endpoint (Endpoint): The server. (default: OpenAI's)
        temperature (float, optional): Sampling temperature; left out of the request if
            ``None``. (default: ``0.0``)
        max_tokens (int): Tokens that an answer may have. An answer that was cut there is asked for
            again with twice as many. (default: ``800``)
        seed (int, optional): The server's sampling seed, where it has one. (default: ``None``)
        response_format (str): How the server is told the answer's form: ``"json_schema"`` (OpenAI,
            vLLM, Ollama), ``"json_object"`` with the schema (llama.cpp), or ``"none"``, the prompt
            alone. Every answer is validated here in any case. (default: ``"json_schema"``)
        tokens_parameter (str): What the server calls ``max_tokens``; newer OpenAI models want
            ``"max_completion_tokens"``. (default: ``"max_tokens"``)
        extra (dict): Further fields of the request. (default: empty)
    """

    model: str
    endpoint: Endpoint = field(default_factory=Endpoint)
    temperature: float | None = 0.0
    max_tokens: int = 800
    seed: int | None = None
    response_format: ResponseFormat = "json_schema"
    tokens_parameter: str = "max_tokens"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.response_format not in get_args(ResponseFormat):
            raise ValueError(
                f"'response_format' must be one of {', '.join(get_args(ResponseFormat))}, got "
                f"{self.response_format!r}."
            )
        if self.max_tokens < 1:
            raise ValueError(f"'max_tokens' must be at least 1, got {self.max_tokens}.")

    def parameters(self, schema: AnswerSchema) -> dict[str, Any]:
        """The request's body but for the messages."""
        body: dict[str, Any] = {"model": self.model, self.tokens_parameter: self.max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.seed is not None:
            body["seed"] = self.seed
        if self.response_format == "json_schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": schema.name,
                    "schema": schema.sent(strict=True),
                    "strict": True,
                },
            }
        elif self.response_format == "json_object":
            body["response_format"] = {"type": "json_object", "schema": schema.sent(strict=False)}
        return body | dict(self.extra)

    def public(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


@dataclass(frozen=True)
class Request:
    r"""One question for one node.

    Args:
        step (str): The pipeline's step.
        node (int): The node it is for.
        messages (list): System's and user's part.
        parameters (dict): The rest of the request's body.
        schema (AnswerSchema): What the answer must follow.
    """

    step: str
    node: int
    messages: list[Message]
    parameters: dict[str, Any]
    schema: AnswerSchema

    @property
    def key(self) -> str:
        """Hash of model, parameters, prompt and schema; equal requests have one key."""
        whole = [self.parameters, self.messages, self.schema.schema]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    @property
    def prompt_tokens(self) -> int:
        """About how many tokens are sent."""
        schema = json.dumps(self.parameters.get("response_format", ""))
        return sum(estimate_tokens(m["content"]) + 4 for m in self.messages) + estimate_tokens(
            schema
        )


@dataclass
class Usage:
    """Tokens as the server counted them."""

    prompt: int = 0
    completion: int = 0

    def add(self, usage: Any) -> None:
        """Adds what an answer reports; servers may leave it out."""
        self.prompt += _count(usage, "prompt_tokens")
        self.completion += _count(usage, "completion_tokens")

    @property
    def total(self) -> int:
        """Both."""
        return self.prompt + self.completion


class CallError(Exception):
    r"""A call that gave no answer.

    Args:
        reason (str): Why.
        retry (bool): Whether another try may help.
        wait (float, optional): The seconds that the server asks to wait. (default: ``None``)
        fatal (bool): Whether every other request would fail in the same way.
            (default: ``False``)
        kind (str): ``"transport"`` or ``"request"``. (default: ``"transport"``)
    """

    def __init__(
        self,
        reason: str,
        retry: bool,
        wait: float | None = None,
        fatal: bool = False,
        kind: Literal["transport", "request"] = "transport",
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry, self.wait, self.fatal = reason, retry, wait, fatal
        self.kind: Literal["transport", "request"] = kind


@dataclass
class Reply:
    """What a model said and how it ended."""

    content: str
    finish: str
    usage: Any = None
    refusal: str = ""


def classify(error: Exception) -> CallError:
    """What an exception of the client means for the run."""
    import openai

    if isinstance(error, openai.APIStatusError):
        # The client reads {"error": …} only; FastAPI servers say {"detail": …}.
        said = error.response.text if error.message.startswith("Error code:") else error.message
        status, text = error.status_code, f"HTTP {error.status_code}: {said}"[:600]
        wait = retry_after(error.response.headers)
        if status == 429:
            # A used-up quota answers 429 as well, and no wait mends it.
            spent = error.code == "insufficient_quota"
            return CallError(text, retry=not spent, wait=wait, fatal=spent)
        if status in (401, 403, 404):
            return CallError(text, retry=False, fatal=True, kind="request")
        if status in (408, 409) or status >= 500:
            return CallError(text, retry=True, wait=wait)
        return CallError(text, retry=False, kind="request")
    if isinstance(error, openai.APITimeoutError):
        return CallError("the request timed out", retry=True)
    if isinstance(error, openai.APIConnectionError):
        return CallError(f"no connection: {error.__cause__ or error}"[:600], retry=True)
    # The client lets a malformed body through as json.JSONDecodeError.
    return CallError(f"not a chat answer: {type(error).__name__}: {error}"[:600], retry=True)


async def call(
    client: "AsyncOpenAI", messages: list[Message], parameters: Mapping[str, Any]
) -> Reply:
    r"""Asks once.

    Raises:
        CallError: If there is no answer.
    """
    import openai

    try:
        # The body goes through extra_body: servers know fields that the client's types do not.
        completion: Any = await client.chat.completions.create(
            messages=messages,  # type: ignore[arg-type]
            model=parameters["model"],
            extra_body={k: v for k, v in parameters.items() if k != "model"},
        )
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        raise classify(error) from None
    return read_completion(completion)


def read_completion(completion: Any) -> Reply:
    r"""Reads a chat completion, an object of the client or a dictionary of a batch.

    Raises:
        CallError: If it is none, which servers also say with status 200.
    """
    choices = _get(completion, "choices")
    if not isinstance(choices, list) or not choices:
        error = _get(completion, "error")
        raise CallError(f"not a chat answer: {error or 'it has no choices'}"[:600], retry=True)
    message = _get(choices[0], "message")
    content, refusal = _get(message, "content"), _get(message, "refusal")
    return Reply(
        content if isinstance(content, str) else "",
        str(_get(choices[0], "finish_reason") or ""),
        _get(completion, "usage"),
        refusal if isinstance(refusal, str) else "",
    )


def _get(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    return getattr(value, name, None)


def _count(usage: Any, name: str) -> int:
    count = _get(usage, name)
    return count if isinstance(count, int) and count > 0 else 0
