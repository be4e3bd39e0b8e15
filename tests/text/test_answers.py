"""What counts as an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from irllrec_pyg.text.answers import AnswerError, AnswerSchema
from irllrec_pyg.text.prompts import PromptSet

GOOD = {"reasoning": "because", "summarization": "Fans of drama."}


def schema(step: str = "item_profile") -> AnswerSchema:
    return PromptSet().schemas[step]  # type: ignore[index]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD, indent=1)}\n```",
        f"Sure!\n{json.dumps(GOOD)}\nOk",
        f'<think>{{"a": 1}} hm</think>\n{json.dumps(GOOD)}',
        json.dumps(GOOD | {"reasoning": " because\n"}),
    ],
)
def test_answers_that_are_understood(content: str) -> None:
    assert schema().parse(content) == (GOOD, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("<think>hm</think>", "is empty"),
        ("I cannot do that.", "no JSON object"),
        ('{"reasoning": "x", "summ', "not valid JSON"),
        ("{}", "Field required"),
        (json.dumps({"reasoning": "x", "summarization": "  "}), "summarization: .*at least 1"),
        (json.dumps(GOOD | {"summarization": 3}), "summarization: .*string"),
        (json.dumps(GOOD | {"extra": "x"}), "extra: .*not permitted"),
        (json.dumps(GOOD | {"summarization": "word " * 201}), "has 201 words, at most 200"),
    ],
)
def test_answers_that_are_refused(content: str, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        schema().parse(content)


def test_a_long_answer_can_be_cut_at_a_sentence() -> None:
    text = "One sentence of five words. " * 50
    answer, cut = schema("user_profile").parse(
        json.dumps({"reasoning": "r", "summarization": text[:1000]}), trim=True
    )
    assert cut == ["summarization"]
    assert len(answer["summarization"].split()) == 100
    assert answer["summarization"].endswith("words.")


def test_intents_keep_their_steps() -> None:
    answer = {"attributes": ["a"], "focuses": ["b"], "opposes": [], "intent": "Attracts b fans."}
    assert schema("item_intent").parse(json.dumps(answer))[0] == answer
    with pytest.raises(AnswerError, match=r"attributes: .*at least 1"):
        schema("item_intent").parse(json.dumps(answer | {"attributes": []}))


def test_only_strict_keywords_are_sent_as_strict() -> None:
    strict, full = (json.dumps(schema("item_intent").sent(strict)) for strict in (True, False))
    assert "maxLength" not in strict
    assert "maxLength" in full
    assert "x-max-words" not in strict + full
    assert '"additionalProperties": false' in strict


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "array"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"type": "object"}}},
    ],
)
def test_schemas_that_cannot_be_used(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"my\.json"):
        AnswerSchema("x", broken, "my.json")


def test_a_file_that_is_no_schema_is_named(tmp_path: Path) -> None:
    path = tmp_path / "item_profile.schema.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"item_profile\.schema\.json is not JSON"):
        AnswerSchema.load(path)
