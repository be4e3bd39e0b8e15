r"""The form of an answer: a JSON schema in a file, and the pydantic model made from it."""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

TYPES: dict[str, type[Any]] = {"string": str, "integer": int, "number": float, "boolean": bool}
# Strict JSON schemas of OpenAI-compatible servers know these keywords; others they may refuse.
LENGTHS = {"minLength", "maxLength", "minItems", "maxItems"}
STRICT = {"type", "properties", "required", "additionalProperties", "items", "description", "enum"}


class AnswerError(ValueError):
    """An answer that is not what its schema asks for; the message is fit for a repair prompt."""


class AnswerSchema:
    r"""The schema of an answer.

    Args:
        name (str): A name for error messages and for the request.
        schema (dict): A JSON schema: an object whose properties are strings, numbers, booleans or
            lists of these, with ``minLength``, ``maxLength``, ``minItems``, ``maxItems`` and our
            own ``x-max-words``.
        source (str): Where it came from, for error messages. (default: ``"the schema"``)

    Raises:
        ValueError: If the schema uses something else.
    """

    def __init__(self, name: str, schema: dict[str, Any], source: str = "the schema") -> None:
        self.name = name
        self.schema = schema
        properties = schema.get("properties")
        if schema.get("type") != "object" or not isinstance(properties, dict) or not properties:
            raise ValueError(f"{source}: the schema of an answer is an object with properties.")
        required = set(schema.get("required", properties))
        fields: dict[str, Any] = {}
        for key, value in properties.items():
            kind = _python_type(value, f"{source}: property {key!r}")
            is_required = key in required
            fields[key] = (
                kind if is_required else kind | None,
                Field(... if is_required else None, **_bounds(value)),
            )
        config = ConfigDict(str_strip_whitespace=True)
        if schema.get("additionalProperties") is False:
            config["extra"] = "forbid"
        self.model: type[BaseModel] = create_model(name, __config__=config, **fields)
        words = {key: value.get("x-max-words") for key, value in properties.items()}
        self.max_words = {key: int(most) for key, most in words.items() if most is not None}

    @classmethod
    def load(cls, path: Path) -> "AnswerSchema":
        """Reads ``<name>.schema.json``."""
        return cls(path.name.split(".")[0], read_json(path), str(path))

    def sent(self, strict: bool) -> dict[str, Any]:
        """The schema as it goes to a server: strict keywords only, or with lengths as well."""
        return _keep(self.schema, STRICT if strict else STRICT | LENGTHS)

    def parse(self, content: str, trim: bool = False) -> tuple[dict[str, Any], list[str]]:
        r"""Reads an answer.

        Args:
            content (str): What the model wrote; a code fence, or thoughts before the JSON, are
                passed over.
            trim (bool): Cut a text that is longer than ``x-max-words`` at its last sentence within
                the limit instead of refusing it. (default: ``False``)

        Returns:
            The answer, and the names of the texts that were cut.

        Raises:
            AnswerError: If the answer does not follow the schema.
        """
        try:
            model = self.model.model_validate(extract_json(content))
        except ValidationError as error:
            # include_input would quote the whole answer back at the model.
            lines = [
                f"{'.'.join(map(str, e['loc'])) or 'answer'}: {e['msg']}"
                for e in error.errors(include_url=False, include_input=False)
            ]
            raise AnswerError("; ".join(lines)) from None
        answer = model.model_dump()
        cut: list[str] = []
        for key, limit in self.max_words.items():
            words = len(str(answer[key] or "").split())
            if words > limit and not trim:
                raise AnswerError(f"{key}: has {words} words, at most {limit} are allowed")
            if words > limit:
                answer[key] = trim_words(answer[key], limit)
                cut.append(key)
        return answer, cut


def read_json(path: Path) -> Any:
    """A JSON file; one that is none is named."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def extract_json(content: str) -> Any:
    """The first JSON object of a text.

    Raises:
        AnswerError: If there is none.
    """
    # Only up to the last end of a thought: there every beginning finds its end, in linear time.
    thoughts, end, rest = content.rpartition("</think>")
    text = (re.sub(r"<think>.*?</think>", "", thoughts + end, flags=re.DOTALL) + rest).strip()
    if not text:
        raise AnswerError("the answer is empty")
    start = text.find("{")
    if start < 0:
        raise AnswerError("the answer holds no JSON object")
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except ValueError as error:
        raise AnswerError(f"the answer is not valid JSON: {error}") from None
    except RecursionError:
        raise AnswerError("the answer is nested too deeply") from None


def trim_words(text: str, limit: int) -> str:
    """Cuts a text after its last sentence within a number of words, or after that many words."""
    cut = " ".join(text.split()[:limit])
    end = max(cut.rfind(mark) for mark in ".!?")
    return cut[: end + 1] if end > 0 else cut


def _python_type(value: dict[str, Any], where: str) -> Any:
    kind = value.get("type")
    if kind == "array":
        return list[_python_type(value.get("items", {}), where)]  # type: ignore[misc]
    if kind not in TYPES:
        raise ValueError(
            f"{where} has type {kind!r}; string, integer, number, boolean and lists "
            "of these are possible."
        )
    return TYPES[kind]


def _bounds(value: dict[str, Any]) -> dict[str, Any]:
    is_list = value.get("type") == "array"
    names = {
        "minItems" if is_list else "minLength": "min_length",
        "maxItems" if is_list else "maxLength": "max_length",
        "description": "description",
    }
    return {ours: value[theirs] for theirs, ours in names.items() if theirs in value}


def _keep(schema: dict[str, Any], keywords: set[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: value for key, value in schema.items() if key in keywords}
    if inner := kept.get("properties"):
        kept["properties"] = {key: _keep(value, keywords) for key, value in inner.items()}
    if "items" in kept:
        kept["items"] = _keep(kept["items"], keywords)
    return kept
