r"""Chat models: settings, requests, answers, and what a client must do."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

from .answers import AnswerSchema
from .client import Endpoint, post
from .limits import CallError, estimate_tokens
from .prompts import Message
from .redaction import check_no_key

TOKENS = ("prompt_tokens", "completion_tokens")
ResponseFormat = Literal["json_schema", "json_object", "none"]


# Fields of a request that answers, their price and their number depend on.
OWN = {"messages", "n", "stream", "max_tokens", "max_completion_tokens"}


@dataclass
class Usage:
    """Tokens as the server counted them."""

    prompt: int = 0
    completion: int = 0
    calls: int = 0

    def add(self, other: "Usage") -> None:
        """Adds those of another call."""
        self.prompt += other.prompt
        self.completion += other.completion


@dataclass
class Reply:
    r"""What a model said.

    Args:
        content (str): The answer, as text.
        finish (str): ``"length"`` if it was cut at the limit of tokens, ``"content_filter"`` if the
            server stopped it. (default: ``"stop"``)
        usage (Usage, optional): Tokens, where the server counts them. (default: ``None``)
        refusal (str): Why the model will not answer. (default: it does)
    """

    content: str
    finish: str = "stop"
    usage: Usage | None = None
    refusal: str = ""


class ChatClient(Protocol):
    r"""What asks a model. :class:`OpenAIChat` is one, any object with this method another.

    It asks once and raises :class:`CallError` where there is no answer; limits, retries and
    repairs are the run's. Any other exception fails the node alone.
    """

    async def ask(self, messages: list[Message], parameters: Mapping[str, Any]) -> Reply:
        """Asks once.

        Args:
            messages (list): The prompt: dictionaries with ``role`` and ``content``.
            parameters (mapping): The rest of the request, of
                :meth:`ChatSettings.parameters`: ``model``, ``max_tokens``, …
        """


@dataclass(frozen=True)
class ChatSettings:
    r"""A chat model and how it is asked. What changes an answer is part of the answer's key.

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
        extra (dict): Further fields of the request; no key. (default: empty)
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
        if not isinstance(self.extra, Mapping):
            raise ValueError("'extra' must be fields of a request by name, a JSON object.")
        if own := sorted(OWN & set(self.extra)):
            raise ValueError(
                f"'extra' may not set {', '.join(own)}: lengths are set by 'max_tokens', and one "
                "whole answer is read of each request."
            )
        check_no_key("extra", self.extra, self.endpoint.key_variable)
        check_no_key("model", self.model, self.endpoint.key_variable)

    def parameters(self, schema: AnswerSchema) -> dict[str, Any]:
        """The request's body but for the messages."""
        body: dict[str, Any] = {"model": self.model, self.tokens_parameter: self.max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.seed is not None:
            body["seed"] = self.seed
        if self.response_format == "json_schema":
            form = {"name": schema.name, "schema": schema.sent(strict=True), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.response_format == "json_object":
            body["response_format"] = {"type": "json_object", "schema": schema.sent(strict=False)}
        return body | dict(self.extra)


@dataclass(frozen=True)
class Request:
    r"""One question for one node.

    Args:
        step (str): The pipeline's step.
        node (int): The node it is for.
        messages (list): System's and user's part.
        parameters (dict): The rest of the request's body.
        schema (AnswerSchema): What the answer must follow.
        tokens_parameter (str): Which parameter limits the answer. (default: ``"max_tokens"``)
    """

    step: str
    node: int
    messages: list[Message]
    parameters: dict[str, Any]
    schema: AnswerSchema
    tokens_parameter: str = "max_tokens"

    @cached_property
    def key(self) -> bytes:
        """Hash of model, parameters, prompt and schema; equal requests have one key."""
        whole = [self.parameters, self.messages, self.schema.schema]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()

    @property
    def prompt_tokens(self) -> int:
        """About how many tokens are sent."""
        form = json.dumps(self.parameters.get("response_format", ""))
        return estimate_tokens(form) + sum(estimate_tokens(m["content"]) + 4 for m in self.messages)


class OpenAIChat:
    r"""The ``/v1/chat/completions`` of an OpenAI-compatible server, through the openai client.

    Args:
        endpoint (Endpoint): The server.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.client = endpoint.client()

    async def __aenter__(self) -> None:
        """Nothing is opened before the first question."""

    async def __aexit__(self, *error: object) -> None:
        await self.client.close()

    async def ask(self, messages: list[Message], parameters: Mapping[str, Any]) -> Reply:
        """See :class:`ChatClient`."""
        body = {**parameters, "messages": messages}
        return read_completion(await post(self.client, "/chat/completions", body))


def read_completion(completion: Any) -> Reply:
    r"""Reads a chat completion.

    Raises:
        CallError: If it is none, which servers also say with status 200.
    """
    try:
        choice = completion["choices"][0]
        message = choice["message"] or {}
        content, refusal = message.get("content"), message.get("refusal")
    except (LookupError, TypeError, AttributeError):
        said = completion.get("error") if isinstance(completion, dict) else None
        reason = f"not a chat answer: {said or 'it has no choices'}"[:600]
        raise CallError(reason, retry=True, paid=True) from None
    usage = completion.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    # More than any model reads: a nonsensical count must not spend a whole budget, or overflow.
    found = [n for name in TOKENS if type(n := counts.get(name)) is int and 0 < n < 1 << 32]
    return Reply(
        content if isinstance(content, str) else "",
        str(choice.get("finish_reason") or ""),
        Usage(*found) if len(found) == len(TOKENS) else None,
        refusal if isinstance(refusal, str) else "",
    )
