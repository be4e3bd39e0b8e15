r"""``irllrec texts``: the text pipeline from the command line."""

import argparse
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from ..judge import command as judge_command
from .chat import ChatSettings, ResponseFormat
from .client import Endpoint
from .engine import Budget
from .imports import open_store
from .limits import RunSettings
from .prompts import NEEDS, SETS, STEPS, StepName
from .store import states

if TYPE_CHECKING:
    import pandas as pd
    from torch_geometric.data import HeteroData

    from .pipeline import TextPipeline
    from .source import TrainingTexts

ACTIONS: dict[str, tuple[StepName, ...]] = {
    **{"run": STEPS, "items": STEPS[:1], "users": STEPS[1:2], "intents": STEPS[2:]},
    **{"embed": (), "judge": (), "plan": STEPS, "status": STEPS, "show": STEPS},
    **dict.fromkeys(("batch-write", "batch-submit", "batch-poll", "batch-collect"), STEPS),
}
FLAG = {"action": "store_true"}
Options = dict[str, Any]
FORMATS = get_args(ResponseFormat)
ENCODERS = "wordllama, openai:MODEL or sentence-transformers:MODEL"
# What a folder remembers of these two, so that later commands on it need not repeat it.
DATA: dict[str, Options] = {
    "root": {"help": "folder of data sets, published ones or of tables"},
    "name": {"help": "name of the data set there"},
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
  batch-…   a step through the Batch API: batch-write, -submit, -poll, -collect with --step

Every step can be stopped and run again: what is answered stays. A folder remembers the options
that concern data, prompts and model. Keys come from environment variables only."""
    parser.add_argument("action", choices=list(ACTIONS), help="what to do, see above")
    where = "where answers and results are kept"
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help=where)
    parser.add_argument("--step", choices=STEPS, help="for show and batch")
    parser.add_argument("--node", help="your id of the user or item, for show")
    groups = {"data": DATA, "chat model": CHAT, "run": RUN, "encoder": ENCODER}
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for name, option in options.items():
            group.add_argument(f"--{name.replace('_', '-')}", **option)
    judge_command.add_arguments(parser.add_argument_group("judge"))


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    {"status": _status, "judge": judge_command.run}.get(args.action, _run)(args)
    return 0


def _run(args: argparse.Namespace) -> None:
    from .manifest import plan, write_manifest
    from .pipeline import TextPipeline
    from .profiles import Sampling

    options, chats = _recall(args)
    data, source = _read(args)
    sizes = {"items": args.items_a_user or 10, "reviews": args.reviews_an_item or 5}
    asks = args.action != "plan" and not args.dry_run
    pipeline = TextPipeline(
        *(source, args.out, chats, args.prompts or "neutral", _settings(args)),
        Sampling(**sizes, seed=args.seed or 0),
        cache=args.cache if asks else None,
        budget=_budget(args),
    )
    pipeline.options = options
    if not asks:
        print(plan(pipeline, args.limit, args.prices).to_string(index=False))
    elif args.action == "show":
        return _show(pipeline, args)
    elif args.action.startswith("batch"):
        return _batch(pipeline, args)
    args.allow_incomplete |= args.limit is not None
    for step in ACTIONS[args.action] if asks else ():
        if step not in chats:
            print(f"{step}: nobody was asked, for it has no model (--model)")
            continue
        how = (args.limit, args.retry_failed, args.allow_incomplete, not args.no_progress)
        with pipeline.claim():  # what another process holds is its own to describe
            try:
                pipeline.run_step(step, *how, refresh=args.refresh)
            finally:
                write_manifest(pipeline)
    if args.action in ("run", "embed") and asks:
        _embed(pipeline, data, args)
    _report(pipeline)


def _settings(args: argparse.Namespace) -> RunSettings:
    return RunSettings(args.concurrency, args.rpm, args.tpm, args.retries, args.repairs)


def _status(args: argparse.Namespace) -> None:
    """Where each step stood after the last command that wrote the folder; reads no table."""
    store = open_store(args.out)
    sizes = store.get("nodes") or {}
    if not sizes:
        raise ValueError(f"Nothing was made in {args.out} yet.")
    rows: list[list[Any]] = [["step", "nodes", *states(store.counts("", 0)), "calls", "tokens"]]
    for step in STEPS:
        calls, prompt, completion = store.used(step)
        shown = states(store.counts(step, sizes.get(step, 0)))
        rows.append([step, sizes.get(step, 0), *shown.values(), calls, prompt + completion])
    for row in rows:
        print(f"{row[0]:12}" + "".join(f"{value:>11}" for value in row[1:]))


def _embed(pipeline: "TextPipeline", data: "HeteroData", args: argparse.Namespace) -> None:
    from .embeddings import Embedder
    from .encoders import build_encoder
    from .manifest import write_manifest

    endpoint = Endpoint(args.encoder_url, args.encoder_key_variable)
    options = {"endpoint": endpoint, "dimensions": args.dimensions, "run": _settings(args)}
    names = (args.encoder, args.intent_encoder)
    encoders = [build_encoder(name, **options) if name else None for name in names]
    how = (not args.no_normalize, args.allow_incomplete, not args.no_progress, args.half)
    embedder = Embedder(pipeline, cast(Any, encoders[0]), encoders[1], *how)
    raw = embedder.write(data)
    write_manifest(pipeline, embedder, raw)
    for what, counts in embedder.counts().items():
        print(f"{what}: " + ", ".join(f"{n} from {origin}" for origin, n in counts.items()))
    print(f"written to {raw}: IRLLRecDataset({str(args.out.parent)!r}, {args.out.name!r})")


def _report(pipeline: "TextPipeline") -> None:
    """Lists what failed, what has no text, and what is still to do."""
    failures = pipeline.failures()
    for step, raw, reason in failures[:20]:
        print(f"failed: {step} of {raw!r}: {reason}")
    if len(failures) > 20:
        print(f"… and {len(failures) - 20} more: see manifest.json.")
    for step in (step for step in STEPS if step in pipeline.chat):
        side, counts = pipeline.side(step), pipeline.counts(step)
        if (lost := counts["no_text"]) and step.endswith("profile"):
            kinds = pipeline.kinds(step).items()
            ids = [pipeline.source.raw_id(side, node) for node, kind in kinds if kind == "no_text"]
            shown = ", ".join(map(repr, ids[:10])) + (" …" if lost > 10 else "")
            print(f"{lost} {side}s without any text take the mean of their neighbours': {shown}")
        if left := counts["open"] + counts["batch"]:
            why = f", {counts['batch']} of them in a batch" if counts["batch"] else ""
            print(f"{step}: {left} of {pipeline.num_nodes(step)} were not asked for yet{why}")


def _show(pipeline: "TextPipeline", args: argparse.Namespace) -> None:
    if args.node is None:
        raise ValueError("show needs --node, one of your ids.")
    shown = False
    for step in (args.step,) if args.step else STEPS:
        source, side = pipeline.source, pipeline.side(step)
        ids = [str(raw) for raw in (source.user_ids if side == "user" else source.item_ids)]
        if args.node not in ids or step not in pipeline.chat:
            continue
        node, shown = ids.index(args.node), True
        request, record = pipeline.request(step, node), pipeline.record(step, node)
        print(f"=== {step} of {args.node} ===")
        for message in request.messages if request else ():
            print(f"--- {message['role']} ---\n{message['content']}")
        answer = (record.get("answer") or record["reason"]) if record else "(none yet)"
        text = answer if record is None else json.dumps(answer, indent=2, ensure_ascii=False)
        print(f"--- answer ---\n{text}")
    if not shown:
        steps = args.step or "any step"
        raise ValueError(
            f"There is no {args.node!r} in {steps} that has a model: ids are those of the tables, "
            f"such as {pipeline.source.user_ids[0]!r} or {pipeline.source.item_ids[0]!r}."
        )


def _batch(pipeline: "TextPipeline", args: argparse.Namespace) -> None:
    from .manifest import write_manifest

    if args.step is None:
        raise ValueError(f"{args.action} needs --step, one of {', '.join(STEPS)}.")
    if args.max_cost is not None:
        raise ValueError("--max-cost is not for batches: plan with --prices tells their cost.")
    job = pipeline.batch(args.step)
    if args.action == "batch-poll":
        print("\n".join(job.poll()) or "nothing is waiting")
        return
    with pipeline.claim():
        if args.action == "batch-write":
            requests = pipeline.batch_requests(args.step, args.limit, args.retry_failed)
            print(f"{job.write(requests)} requests written to {job.folder}")
        elif args.action == "batch-submit":
            print(f"{job.submit()} batches started")
        else:
            print(", ".join(f"{count} {what}" for what, count in job.collect().items()))
            write_manifest(pipeline)


def _recall(args: argparse.Namespace) -> tuple[Options, dict[StepName, ChatSettings]]:
    """Completes the arguments from what the folder remembers."""
    saved: Mapping[str, Any] = open_store(args.out).get("options") or {}
    known, steps = saved.get("data", {}), dict(saved.get("chat", {}))
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


def _budget(args: argparse.Namespace) -> Budget | None:
    if args.max_cost is not None and args.prices is None:
        raise ValueError("--max-cost needs --prices: of a million prompt and answer tokens.")
    return None if args.max_cost is None else Budget(args.max_cost, tuple(args.prices))


def _read(args: argparse.Namespace) -> "tuple[HeteroData, TrainingTexts]":
    from ..datasets import IRLLRecDataset, TableDataset, from_interactions
    from ..datasets.tables import find_table
    from .source import TrainingTexts

    user, item = args.user_column or "user", args.item_column or "item"
    try:
        shares = [float(share) for share in (args.split or "3:1:1").split(":")]
    except ValueError:
        raise ValueError(f"--split must be shares such as 3:1:1, got {args.split!r}.") from None
    shares = [share / sum(shares) for share in shares]
    named = args.root is not None and args.name is not None
    items, seed = args.items, args.seed or 0
    tables = find_table(Path(args.root, args.name), "interactions") if named else None
    if items is None and tables is not None:
        items = find_table(tables.parent, "items")
    if items is None:
        raise ValueError("--items is needed: a table with a row an item.")
    if args.interactions is not None:
        pairs, name = _table(args.interactions, user, item), Path(args.interactions).stem
        data = from_interactions(
            pairs, user, item, args.time_column, split=shares, seed=seed, name=name
        )
    elif tables is not None:
        tabled = TableDataset(args.root, args.name, shares=shares, seed=seed, encoder=None)
        data = cast("HeteroData", tabled[0])
    elif named:
        with warnings.catch_warnings():
            # That it has no embeddings is why this command is run.
            warnings.simplefilter("ignore", UserWarning)
            data = cast("HeteroData", IRLLRecDataset(args.root, args.name)[0])
    else:
        raise ValueError("Say which data: --root and --name, or --interactions.")
    reviews = None if args.reviews is None else _table(args.reviews, user, item)
    outside: Any = "drop" if args.drop_outside_training else "error"
    columns = (item, user, args.review_column or "review")
    return data, TrainingTexts(data, _table(str(items), item), reviews, outside, *columns)


def _table(path: str, *ids: str) -> "pd.DataFrame":
    """A CSV, TSV, JSON-lines or Parquet file, its ids as text: ``00001`` stays ``00001``."""
    import pandas as pd

    from ..datasets.formats import plain_id
    from ..datasets.tables import read_table

    if not path.endswith((".jsonl", ".ndjson")):
        return read_table(Path(path))
    try:
        with open(path, encoding="utf-8") as file:
            table = pd.DataFrame([json.loads(x) for x in file if x.strip()], dtype=object)
        for name in {*ids} & {*table}:
            table[name] = [str(plain_id(value, f"column {name!r}")) for value in table[name]]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return table
