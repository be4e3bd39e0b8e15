r"""What ``irllrec texts`` can be told, and what a folder remembers of it."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ..judge import command as judge_command
from .budget import Budget
from .chat import ChatSettings, ResponseFormat
from .client import Endpoint
from .encoders import ENCODERS
from .imports import open_store
from .limits import RunSettings
from .prompts import NEEDS, SETS, STEPS, StepName
from .redaction import check_no_key

BATCH = ("write", "submit", "poll", "collect", "drop")
ACTIONS: dict[str, tuple[StepName, ...]] = {
    **{"run": STEPS, "items": STEPS[:1], "users": STEPS[1:2], "intents": STEPS[2:]},
    **{"embed": (), "judge": (), "plan": STEPS, "status": STEPS, "show": STEPS},
    **dict.fromkeys((f"batch-{what}" for what in BATCH), STEPS),
}
FLAG = {"action": "store_true"}
PLACE = ("data", "root", "name")
Options = dict[str, Any]
FORMATS = get_args(ResponseFormat)
#: Characters of what looks like a key; fewer may be a name, such as hf_items.csv.
KEY_IN_A_PATH = 30
# What a folder remembers of these two, so that later commands on it need not repeat it.
DATA: dict[str, Options] = {
    "data": {"metavar": "FOLDER", "help": "of tables or in the published layout, or its name"},
    # Together what --data is; other commands of earlier versions had them too.
    "root": {"help": argparse.SUPPRESS},
    "name": {"help": argparse.SUPPRESS},
    "interactions": {"metavar": "TABLE", "help": "or your own table of interactions"},
    "split": {"help": "its shares of training, validation and test (3:1:1)"},
    "items": {"metavar": "TABLE", "help": "table with item, title, description, …"},
    "reviews": {"metavar": "TABLE", "help": "table with user, item, review"},
    "user_column": {"help": "its name, if not 'user'"},
    "item_column": {"help": "its name, if not 'item'"},
    "review_column": {"help": "its name, if not 'review'"},
    "time_column": {"help": "splits each user's interactions by it"},
    "drop_outside_training": FLAG | {"default": None, "help": "leave out reviews outside it"},
    "prompts": {"help": f"{', '.join(SETS)}, or a folder of your own"},
    "items_a_user": {"type": int, "help": "in a user's prompt at most (10)"},
    "reviews_an_item": {"type": int, "help": "in an item's prompt at most (5)"},
    "seed": {"type": int, "help": "of split and samples (0)"},
    "cache": {"metavar": "FILE", "help": "of answers that folders share: asked once for all"},
}
CHAT: dict[str, Options] = {
    "model": {"help": "its name at the endpoint"},
    "base_url": {"help": "of an OpenAI-compatible server; OpenAI's if not given"},
    "key_variable": {"help": "environment variable of the key (OPENAI_API_KEY)"},
    "temperature": {"type": float, "help": "of the model's draws (0)"},
    "max_tokens": {"type": int, "help": "of an answer (800)"},
    "chat_seed": {"type": int, "help": "the server's sampling seed"},
    "response_format": {"choices": FORMATS, "help": "json_object for llama.cpp, none for others"},
    "tokens_parameter": {"help": "max_tokens, or max_completion_tokens"},
    "extra": {"metavar": "JSON", "help": "further fields of the request"},
    "timeout": {"type": float, "help": "seconds a request (120)"},
}
RUN: dict[str, Options] = {
    "limit": {"type": int, "help": "ask for so many sampled nodes a step only"},
    "dry_run": FLAG | {"help": "as plan: counts, tokens, cost"},
    "prices": {"type": float, "nargs": 2, "help": "of a million prompt and answer tokens"},
    "max_cost": {"type": float, "help": "stop before this folder has cost more; needs --prices"},
    "concurrency": {"type": int, "default": 8, "help": "requests at a time (default: 8)"},
    "rpm": {"type": float, "help": "requests a minute at most"},
    "tpm": {"type": float, "help": "tokens a minute at most"},
    "retries": {"type": int, "default": 6, "help": "of a request that failed (default: 6)"},
    "repairs": {"type": int, "default": 2, "help": "of an answer of the wrong form (default: 2)"},
    "retry_failed": FLAG | {"help": "ask again also for what failed for good"},
    "refresh": FLAG | {"help": "ask again where texts before it are new"},
    "allow_incomplete": FLAG | {"help": "go on although an earlier step is not complete"},
    "no_progress": {**FLAG, "help": "no progress bar"},
}
ENCODER: dict[str, Options] = {
    "encoder": {"default": "wordllama", "help": ENCODERS},
    "intent_encoder": {"help": "another one for the intent texts"},
    "encoder_url": {"help": "of an OpenAI-compatible server"},
    "encoder_key_variable": {
        "default": "OPENAI_API_KEY",
        "help": "environment variable with the encoder's key (default: OPENAI_API_KEY)",
    },
    "dimensions": {"type": int, "help": "width to ask the encoder for"},
    "no_normalize": FLAG | {"help": "keep the embeddings' lengths"},
    "half": FLAG | {"help": "write embeddings as float16"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``irllrec texts``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = """Make profiles, intents and embeddings from tables, in four steps.

  items     profiles of the items              users   profiles of the users
  intents   intents of items and users         embed   embeddings of both texts, and all files
  run       all four, one after the other      plan    counts, tokens and cost; asks nothing
  status    where each step stands             show    one node's prompts and answers
  judge     whether texts of a folder of tables are any good, before a model is trained
  batch-…   a step through the Batch API: batch-write, -submit, -poll, -collect with --step, and
            batch-drop, which gives up batches that the server has lost

Every step can be stopped and run again: what is answered stays. A folder remembers the options
that concern data, prompts and model. Keys come from environment variables only."""
    parser.add_argument("action", choices=list(ACTIONS), help="what to do, see above")
    where = "where answers and results are kept"
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help=where)
    parser.add_argument("--step", choices=STEPS, help="for show and batch")
    parser.add_argument("--node", help="your id of the user or item, for show")
    parser.add_argument("--part", help="a batch as batch-poll names it, for batch-drop")
    parser.add_argument(
        "--force", action="store_true", help="give that batch up even if it may be collected"
    )
    groups = {"data": DATA, "chat model": CHAT, "run": RUN, "encoder": ENCODER}
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for name, option in options.items():
            group.add_argument(f"--{name.replace('_', '-')}", **option)
    judge_command.add_arguments(parser.add_argument_group("judge"))


def recall(args: argparse.Namespace) -> tuple[Options, dict[StepName, ChatSettings]]:
    """Completes the arguments from what the folder remembers."""
    saved: Mapping[str, Any] = open_store(args.out).get("options") or {}
    known, steps = saved.get("data", {}), dict(saved.get("chat", {}))
    if any(getattr(args, name) is not None for name in PLACE):
        known = {name: value for name, value in known.items() if name not in PLACE}
    for name in (name for name in DATA if getattr(args, name) is None):
        setattr(args, name, known.get(name))
    given = {name: value for name in CHAT if (value := getattr(args, name)) is not None}
    mine = (args.step,) if args.action.startswith("batch") and args.step else ACTIONS[args.action]
    needed = {need for step in mine for need in NEEDS[step]}
    last: dict[str, Any] = {}
    for step in STEPS:
        # A step without a model of its own goes on with the one of the step before it; a step that
        # was left out counts as still to do, not as one that has no model.
        base = steps.get(step) or (last if step in mine else given if step in needed else {})
        steps[step] = base | given if step in mine else base
        last = steps[step] or last
    chats = {step: _chat(steps[step]) for step in STEPS if steps[step].get("model")}
    for variable in {chat.endpoint.key_variable for chat in chats.values()} or {""}:
        for name in DATA:
            check_no_key(name, getattr(args, name), variable, least=KEY_IN_A_PATH)
    if not chats and mine and args.action != "run":
        raise ValueError("--model is needed: the chat model's name at the endpoint.")
    return {"data": {name: getattr(args, name) for name in DATA}, "chat": steps}, chats


def _chat(saved: Mapping[str, Any]) -> ChatSettings:
    rest = dict(saved)
    names = {"base_url", "key_variable", "timeout"} & saved.keys()
    endpoint = Endpoint(**{name: rest.pop(name) for name in names})
    try:
        extra, seed = json.loads(rest.pop("extra", "{}")), rest.pop("chat_seed", None)
    except ValueError:
        raise ValueError("--extra must be a JSON object, such as '{\"top_k\": 3}'.") from None
    return ChatSettings(endpoint=endpoint, seed=seed, extra=extra, **rest)


def budget(args: argparse.Namespace) -> Budget | None:
    if args.max_cost is not None and args.prices is None:
        raise ValueError("--max-cost needs --prices: of a million prompt and answer tokens.")
    return None if args.max_cost is None else Budget(args.max_cost, tuple(args.prices))


def run_settings(args: argparse.Namespace) -> RunSettings:
    return RunSettings(args.concurrency, args.rpm, args.tpm, args.retries, args.repairs)
