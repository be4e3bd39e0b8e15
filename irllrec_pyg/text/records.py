r"""What is kept of an answer, or of why there is none."""

import json
from typing import Any, Literal

from .answers import AnswerError, AnswerSchema
from .chat import Reply, read_completion
from .limits import CallError
from .redaction import Redactor
from .store import Record

FailureKind = Literal["transport", "request", "answer", "refused"]
#: Characters of an unusable answer that are kept.
KEPT = 4000


def judged(reply: Reply, schema: AnswerSchema, trim: bool) -> Record:
    """The answer that a reply holds, or why it holds none."""
    kind: FailureKind = "answer"
    if reply.refusal or reply.finish == "content_filter":
        kind, reason = "refused", reply.refusal or "the content filter stopped the answer"
    else:
        try:
            answer, cut = schema.parse(reply.content, trim)
            return {"kind": "ok", "answer": answer} | ({"cut": cut} if cut else {})
        except AnswerError as error:
            reason = str(error)[:KEPT]
        if reply.finish == "length":
            reason += " (the answer was cut at the limit of tokens)"
    return {"kind": kind, "reason": reason, "content": reply.content[:KEPT]}


def clean(record: Record, redactor: Redactor) -> Record:
    """A record that can be written: without keys, and without halves of characters."""
    for name in {"reason", "content"} & record.keys():
        record[name] = redactor.message(record[name])

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(part) for part in value]
        return redactor.exact(value) if isinstance(value, str) else value

    if "answer" in record:
        record["answer"] = {name: cleaned(value) for name, value in record["answer"].items()}
    return record


def read_line(line: bytes, schema: AnswerSchema, redactor: Redactor) -> tuple[bytes, Record]:
    """A line of a batch's answers: the request's key, and its record; of any other line nothing."""
    try:
        entry = json.loads(line)
        key, response = bytes.fromhex(entry["custom_id"]), entry.get("response") or {}
        if entry.get("error") or response.get("status_code") != 200:
            reason = entry.get("error") or response.get("body") or "no answer"
            record: Record = {"kind": "request", "reason": f"batch: {json.dumps(reason)}"[:600]}
            usage = None
        else:
            reply = read_completion(response.get("body"))
            record, usage = judged(reply, schema, trim=True), reply.usage
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, CallError):
        return b"", {}  # it is cut, or something else: its request is asked again
    tokens = {"prompt": usage.prompt, "completion": usage.completion} if usage else {}
    return key, clean(record, redactor) | {"usage": tokens, "calls": 1, "batch": True}
