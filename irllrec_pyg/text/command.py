r"""``irllrec texts``: the text pipeline from the command line."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..judge import command as judge_command
from .client import Endpoint
from .imports import open_store
from .options import ACTIONS, add_arguments, budget, recall, run_settings
from .prompts import STEPS
from .store import states

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from .pipeline import TextPipeline

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    {"status": _status, "judge": judge_command.run}.get(args.action, _run)(args)
    return 0


def _run(args: argparse.Namespace) -> None:
    from .inputs import read
    from .manifest import plan, write_manifest
    from .pipeline import TextPipeline
    from .profiles import Sampling

    options, chats = recall(args)
    data, source = read(args)
    sizes = {"items": args.items_a_user, "reviews": args.reviews_an_item, "seed": args.seed}
    asks = args.action != "plan" and not args.dry_run
    pipeline = TextPipeline(
        *(source, args.out, chats, args.prompts or "neutral", run_settings(args)),
        Sampling(**{name: size for name, size in sizes.items() if size is not None}),
        cache=args.cache if asks or Path(args.cache or "").is_file() else None,
        budget=budget(args),
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
    options = {"endpoint": endpoint, "dimensions": args.dimensions, "run": run_settings(args)}
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
    if args.force and args.part is None:
        raise ValueError("--force needs --part, the batch that is given up.")
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
        elif args.action == "batch-drop":
            print("\n".join(job.drop(args.part, args.force)) or "nothing is waiting")
        else:
            try:
                print(", ".join(f"{count} {what}" for what, count in job.collect().items()))
            finally:
                write_manifest(pipeline)
