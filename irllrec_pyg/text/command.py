r"""``irllrec texts``: the text pipeline from the command line."""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any, cast, get_args

import pandas as pd
from torch_geometric.data import HeteroData

from ..datasets.formats import plain_id
from ..datasets.tables import find_table
from . import judge_command
from .chat import ChatSettings, Endpoint, ResponseFormat
from .embeddings import Embedder
from .encoders import Encoder, build_encoder
from .engine import RunSettings, RunStopped
from .files import write_json
from .manifest import plan, write_manifest
from .pipeline import NEEDS, TextPipeline
from .profiles import Sampling
from .prompts import SETS, STEPS, StepName
from .source import TrainingTexts

ACTIONS: dict[str, tuple[StepName, ...]] = {
    "run": STEPS,
    "items": ("item_profile",),
    "users": ("user_profile",),
    "intents": ("item_intent", "user_intent"),
    "embed": (),
    "plan": STEPS,
    "status": STEPS,
    "show": STEPS,
    "judge": (),
    "batch-write": STEPS,
    "batch-submit": STEPS,
    "batch-poll": STEPS,
    "batch-collect": STEPS,
}
# What a folder remembers, so that later commands on it need not repeat it.
DATA = (
    "root",
    "name",
    "interactions",
    "items",
    "reviews",
    "user_column",
    "item_column",
    "review_column",
    "time_column",
    "drop_outside_training",
    "split",
    "prompts",
    "items_a_user",
    "reviews_an_item",
    "seed",
)
CHAT = (
    "model",
    "base_url",
    "key_variable",
    "temperature",
    "max_tokens",
    "chat_seed",
    "response_format",
    "tokens_parameter",
    "extra",
    "timeout",
)


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
    parser.add_argument("action", choices=list(ACTIONS))
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="where journals and results are kept",
    )
    parser.add_argument("--step", choices=STEPS, help="for show and batch")
    parser.add_argument("--node", help="your id of the user or item, for show")
    _data_arguments(parser.add_argument_group("data"))
    _chat_arguments(parser.add_argument_group("chat model"))
    _run_arguments(parser.add_argument_group("run"))
    _encoder_arguments(parser.add_argument_group("encoder"))
    judge_command.add_arguments(parser.add_argument_group("judge"))


def run(args: argparse.Namespace) -> int:
    """Runs the command; problems that a user can mend are one line, not a traceback."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        return judge_command.run(args) if args.action == "judge" else _run(args)
    except (ValueError, ImportError, FileNotFoundError, RunStopped) as error:
        print(f"irllrec texts: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    chats = _recall(args)
    data, source = _read(args)
    pipeline = TextPipeline(
        source,
        args.out,
        chats,
        args.prompts or "neutral",
        RunSettings(args.concurrency, args.rpm, args.tpm, args.retries, args.repairs),
        Sampling(
            items=args.items_a_user or 10, reviews=args.reviews_an_item or 5, seed=args.seed or 0
        ),
    )
    if args.action in ("plan", "status") or args.dry_run:
        print(plan(pipeline, args.limit, args.prices).to_string(index=False))
        return _report(pipeline)
    if args.action == "show":
        return _show(pipeline, args)
    if args.action.startswith("batch"):
        return _batch(pipeline, args)
    incomplete = args.allow_incomplete or args.limit is not None
    for step in ACTIONS[args.action]:
        if args.action == "run" and step not in chats:
            continue
        try:
            pipeline.run_step(step, args.limit, args.retry_failed, incomplete, not args.no_progress)
        finally:
            write_manifest(pipeline)
    if args.action in ("run", "embed"):
        _embed(pipeline, data, args, incomplete)
    return _report(pipeline)


def _embed(
    pipeline: TextPipeline, data: HeteroData, args: argparse.Namespace, incomplete: bool
) -> None:
    encoder = _encoder(args, args.encoder)
    other = args.intent_encoder
    embedder = Embedder(
        pipeline,
        encoder,
        _encoder(args, other) if other else None,
        not args.no_normalize,
        incomplete,
        not args.no_progress,
    )
    raw = embedder.write(data)
    write_manifest(pipeline, embedder, raw)
    for what, counts in embedder.counts().items():
        print(f"{what}: " + ", ".join(f"{n} from {origin}" for origin, n in counts.items()))
    print(f"written to {raw}: IRLLRecDataset({str(args.out.parent)!r}, {args.out.name!r})")


def _report(pipeline: TextPipeline) -> int:
    """Lists what failed and what has no text."""
    failures = pipeline.failures()
    for step, raw, reason in failures[:20]:
        print(f"failed: {step} of {raw!r}: {reason}")
    if len(failures) > 20:
        print(f"… and {len(failures) - 20} more: see manifest.json or the journals.")
    for profile in (STEPS[0], STEPS[1]):
        side = pipeline.side(profile)
        if profile in pipeline.chat and (lost := pipeline.state(profile).no_text):
            ids = ", ".join(repr(pipeline.source.raw_id(side, node)) for node in lost[:10])
            print(
                f"{len(lost)} {side}s without any text take the mean of their neighbours' "
                f"embeddings: {ids}{' …' if len(lost) > 10 else ''}"
            )
    return 0


def _show(pipeline: TextPipeline, args: argparse.Namespace) -> int:
    if args.node is None:
        raise ValueError("show needs --node, one of your ids.")
    for step in (args.step,) if args.step else STEPS:
        ids = [
            str(raw)
            for raw in (
                pipeline.source.user_ids
                if pipeline.side(step) == "user"
                else pipeline.source.item_ids
            )
        ]
        if args.node not in ids or step not in pipeline.chat:
            continue
        node = ids.index(args.node)
        request = pipeline.request(step, node)
        print(f"=== {step} of {args.node} ===")
        for message in request.messages if request else ():
            print(f"--- {message['role']} ---\n{message['content']}")
        state = pipeline.state(step)
        record = state.done.get(node) or state.failed.get(node)
        print(
            "--- answer ---\n"
            + (
                json.dumps(record.get("answer") or record["reason"], indent=2, ensure_ascii=False)
                if record
                else "(none yet)"
            )
        )
    return 0


def _batch(pipeline: TextPipeline, args: argparse.Namespace) -> int:
    if args.step is None:
        raise ValueError(f"{args.action} needs --step, one of {', '.join(STEPS)}.")
    job = pipeline.batch(args.step)
    if args.action == "batch-write":
        count = job.write(pipeline.batch_requests(args.step, args.limit, args.retry_failed))
        print(f"{count} requests written to {job.folder}")
    elif args.action == "batch-submit":
        print(f"{job.submit()} batches started")
    elif args.action == "batch-poll":
        print("\n".join(job.poll()) or "nothing is waiting")
    else:
        print(", ".join(f"{count} {what}" for what, count in job.collect().items()))
        write_manifest(pipeline)
    return 0


def _recall(args: argparse.Namespace) -> dict[StepName, ChatSettings]:
    """Completes the arguments from what the folder remembers, and remembers them."""
    path = args.out / "settings.json"
    saved: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    known, steps = saved.get("data", {}), saved.get("chat", {})
    for name in DATA:
        if getattr(args, name) is None:
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
    if not args.dry_run and args.action not in ("plan", "status", "show"):
        write_json(path, {"data": {n: getattr(args, n) for n in DATA}, "chat": steps})
    if not chats and mine and args.action not in ("run", "plan", "status"):
        raise ValueError("--model is needed: the chat model's name at the endpoint.")
    return chats


def _chat(saved: dict[str, Any]) -> ChatSettings:
    endpoint = {
        name: saved[name] for name in ("base_url", "key_variable", "timeout") if name in saved
    }
    chat: dict[str, Any] = {
        name: saved[name]
        for name in ("temperature", "max_tokens", "response_format", "tokens_parameter")
        if name in saved
    }
    return ChatSettings(
        saved["model"],
        Endpoint(**endpoint),
        seed=saved.get("chat_seed"),
        extra=json.loads(saved.get("extra", "{}")),
        **chat,
    )


def _read(args: argparse.Namespace) -> tuple[HeteroData, TrainingTexts]:
    user, item = args.user_column or "user", args.item_column or "item"
    shares = [float(share) for share in (args.split or "3:1:1").split(":")]
    shares = [share / sum(shares) for share in shares]
    items, tables = args.items, None
    if args.root is not None and args.name is not None:
        tables = find_table(Path(args.root, args.name), "interactions")
    if items is None and tables is not None:
        items = find_table(tables.parent, "items")
    if items is None:
        raise ValueError("--items is needed: a table with a row an item.")
    if args.interactions is not None:
        from ..datasets import from_interactions

        data = from_interactions(
            _table(args.interactions, user, item),
            user,
            item,
            args.time_column,
            split=shares,
            seed=args.seed or 0,
            name=Path(args.interactions).stem,
        )
    elif tables is not None:
        from ..datasets import TableDataset

        dataset = TableDataset(
            args.root, args.name, shares=shares, seed=args.seed or 0, encoder=None
        )
        data = cast(HeteroData, dataset[0])
    elif args.root is not None and args.name is not None:
        from ..datasets import IRLLRecDataset

        with warnings.catch_warnings():
            # That it has no embeddings is why this command is run.
            warnings.simplefilter("ignore", UserWarning)
            data = cast(HeteroData, IRLLRecDataset(args.root, args.name)[0])
    else:
        raise ValueError("Say which data: --root and --name, or --interactions.")
    reviews = _table(args.reviews, user, item) if args.reviews is not None else None
    source = TrainingTexts(
        data,
        _table(str(items), item),
        reviews,
        "drop" if args.drop_outside_training else "error",
        item,
        user,
        args.review_column or "review",
    )
    return data, source


def _table(path: str, *id_columns: str) -> pd.DataFrame:
    """A CSV, TSV, JSON-lines or Parquet file, its ids as text: ``00001`` stays ``00001``."""
    ending = Path(path).suffix.lower()
    if ending == ".parquet":
        table = pd.read_parquet(path)
    elif ending in (".jsonl", ".ndjson"):
        with open(path, encoding="utf-8") as file:
            table = pd.DataFrame([json.loads(line) for line in file if line.strip()], dtype=object)
    else:
        # Nothing is converted, and only an empty cell is missing: "NA" and "null" can be ids.
        table = pd.read_csv(
            path,
            sep="\t" if ending == ".tsv" else ",",
            dtype=str,
            keep_default_na=False,
            na_values=[""],
        )
    for column in {*id_columns} & {*table.columns}:
        empty = table[column].isna()
        ids = [
            None if gap else str(plain_id(value, f"{path}, column {column!r}"))
            for value, gap in zip(table[column].tolist(), empty, strict=True)
        ]
        table[column] = pd.Series(ids, table.index, dtype=object)
    return table


def _encoder(args: argparse.Namespace, name: str) -> Encoder:
    return build_encoder(
        name,
        endpoint=Endpoint(args.encoder_url, args.encoder_key_variable),
        dimensions=args.dimensions,
        run=RunSettings(args.concurrency, args.rpm, args.tpm, args.retries),
    )


def _data_arguments(group: Any) -> None:
    group.add_argument("--root", help="folder of data sets, published ones or of tables")
    group.add_argument("--name", help="name of the data set there")
    group.add_argument("--interactions", metavar="TABLE", help="or your own table of interactions")
    group.add_argument("--split", help="its shares of training, validation and test (3:1:1)")
    group.add_argument("--items", metavar="TABLE", help="table with item, title, description, …")
    group.add_argument("--reviews", metavar="TABLE", help="table with user, item, review")
    for name in ("user", "item", "review", "time"):
        group.add_argument(
            f"--{name}-column",
            help=f"its name, if not {name!r}"
            if name != "time"
            else "splits each user's interactions by it",
        )
    group.add_argument(
        "--drop-outside-training",
        action="store_true",
        default=None,
        help="leave reviews outside the training split out, instead of refusing",
    )
    group.add_argument("--prompts", help=f"{', '.join(SETS)}, or a folder of your own")
    group.add_argument("--items-a-user", type=int, help="in a user's prompt at most (10)")
    group.add_argument("--reviews-an-item", type=int, help="in an item's prompt at most (5)")
    group.add_argument("--seed", type=int, help="of split and samples (0)")


def _chat_arguments(group: Any) -> None:
    group.add_argument("--model", help="its name at the endpoint")
    group.add_argument("--base-url", help="of an OpenAI-compatible server; OpenAI's if not given")
    group.add_argument("--key-variable", help="environment variable of the key (OPENAI_API_KEY)")
    group.add_argument("--temperature", type=float)
    group.add_argument("--max-tokens", type=int, help="of an answer (800)")
    group.add_argument("--chat-seed", type=int, help="the server's sampling seed")
    group.add_argument(
        "--response-format",
        choices=get_args(ResponseFormat),
        help="json_object is for llama.cpp, none for servers that know neither",
    )
    group.add_argument("--tokens-parameter", help="max_tokens, or max_completion_tokens")
    group.add_argument("--extra", metavar="JSON", help="further fields of the request")
    group.add_argument("--timeout", type=float, help="seconds a request (120)")


def _run_arguments(group: Any) -> None:
    group.add_argument("--limit", type=int, help="ask for so many sampled nodes a step only")
    group.add_argument("--dry-run", action="store_true", help="as plan: counts, tokens, cost")
    group.add_argument(
        "--prices",
        type=float,
        nargs=2,
        metavar=("PROMPT", "ANSWER"),
        help="of a million tokens, for the cost",
    )
    group.add_argument("--concurrency", type=int, default=8)
    group.add_argument("--rpm", type=float, help="requests a minute at most")
    group.add_argument("--tpm", type=float, help="tokens a minute at most")
    group.add_argument("--retries", type=int, default=6)
    group.add_argument("--repairs", type=int, default=2)
    group.add_argument(
        "--retry-failed", action="store_true", help="ask again also for what failed for good"
    )
    group.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="go on although an earlier step is not complete",
    )
    group.add_argument("--no-progress", action="store_true")


def _encoder_arguments(group: Any) -> None:
    group.add_argument(
        "--encoder",
        default="wordllama",
        help="wordllama, openai:MODEL or sentence-transformers:MODEL",
    )
    group.add_argument("--intent-encoder", help="another one for the intent texts")
    group.add_argument("--encoder-url", help="of an OpenAI-compatible server")
    group.add_argument("--encoder-key-variable", default="OPENAI_API_KEY")
    group.add_argument("--dimensions", type=int, help="width to ask the encoder for")
    group.add_argument("--no-normalize", action="store_true", help="keep the embeddings' lengths")
