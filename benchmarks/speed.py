#!/usr/bin/env python3
"""Time and memory of training and evaluation, ours against plain implementations of the same.

    python benchmarks/speed.py --model lightgcn sgl --dataset amazon --root data
    python benchmarks/speed.py --model lightgcn_plus --root data --precision 32-true bf16-mixed
    python benchmarks/speed.py --model all --device cuda --root data
    python benchmarks/speed.py --model lightgcn_int --device cuda --tf32 --root data
    python benchmarks/speed.py --scale            10^4 to 10^7 interactions, 10^4 to 10^6 nodes
    python benchmarks/speed.py --overhead         Lightning and the loader against a bare loop
    python benchmarks/speed.py --check-baseline   the plain code beside the published code

Both implementations start from the same weights, must give the same losses, and take turns, each in
a process of its own. A turn is some steps, or a single long one; the figures are medians over the
turns. A result that is there already for the same model, data set, precision and device is
replaced, the others are kept.
"""

import argparse
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import speed_report as report
from processes import Worker, once

BASES = ["gccf", "lightgcn", "sgl", "simgcl", "dccf", "bigcf", "autocf"]
MODELS = [*BASES, "lightgcn_plus", "lightgcn_gene", "lightgcn_int"]
# Translation over the batch's nodes, as in the paper: what the published code has no twin of.
VARIANTS = {"lightgcn_int-batch": ("lightgcn_int", {"mode": "as_in_paper"})}
# The published code on Amazon-book, one thread of another processor: seconds an epoch.
PUBLISHED = {
    "gccf": 3.2,
    "lightgcn": 3.6,
    "bigcf": 56,
    "simgcl": 62,
    "sgl": 82,
    "lightgcn_plus": 87,
    "autocf": 96,
    "dccf": 111,
    "simgcl_int": 233,
    "sgl_int": 346,
    "lightgcn_int": 646,
}


def measure(name: str, dataset: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures a model in every precision, and the plain one."""
    model, options = VARIANTS.get(name, (name, {}))
    base = {
        "dataset": dataset,
        "root": args.root,
        "device": args.device,
        "threads": args.threads,
        "clock": args.clock,
        "batch_size": args.batch_size,
        "model": model,
        "tf32": args.tf32,
    }
    precisions = [p for p in args.precision if p == "32-true" or "_" in model]
    specs = {p: {**base, "precision": p, "plain": False, "options": options} for p in precisions}
    if not args.no_baseline:
        specs["plain"] = {**base, "precision": "32-true", "plain": True, "options": {}}
    workers = {key: Worker(spec) for key, spec in specs.items()}
    found: dict[str, dict[str, Any]] = {
        key: {"steps": {}, "sampling": [], "evaluation": []} for key in workers
    }
    for key, worker in workers.items():  # also warms up
        found[key]["losses"] = worker("check")
        found[key]["sampling"].append(worker("sample"))
    sizes = next(iter(workers.values())).sizes
    deadline, rounds = time.monotonic() + args.seconds, 0
    turn = [True, False] if sizes["cycle"] > 1 else [False]
    while rounds < args.steps and (rounds < 1 or time.monotonic() < deadline):
        rounds += 1
        for key, worker in workers.items():
            for first in turn:
                found[key]["steps"].setdefault(str(first), []).append(worker("step", first))
    for key, worker in workers.items():
        found[key]["memory"] = worker("peak")
    for _ in range(3):
        for key, worker in workers.items():
            found[key]["evaluation"].append(worker("evaluate"))
            found[key]["sampling"].append(worker("sample"))
    for key, worker in workers.items():
        found[key]["evaluation_memory"] = worker("peak")
    load = workers[precisions[0]]("work")
    for worker in workers.values():
        worker.close()
    rows = []
    for key in precisions:
        row = {
            "model": name,
            "dataset": dataset,
            "precision": "tf32" if args.tf32 and key == "32-true" else key,
            "device": args.device,
            "threads": args.threads,
            "clock": args.clock,
            "rounds": rounds,
            **sizes,
            "ours": summary(found[key], sizes),
            "work": load,
        }
        if "plain" in found:
            row["plain"] = summary(found["plain"], sizes)
            row["loss_gap"] = (
                {
                    part: abs(found[key]["losses"][part] / value - 1)
                    for part, value in found["plain"]["losses"].items()
                    if value
                }
                if not options
                else {}
            )
        rows.append(row)
    return rows


def summary(found: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Seconds an epoch by parts, evaluation, memory and throughput."""
    share = {"False": sizes["steps"]}
    if "True" in found["steps"]:
        redraws = -(-sizes["steps"] // sizes["cycle"])
        share = {"True": redraws, "False": sizes["steps"] - redraws}
    epoch = {
        part: sum(
            count * statistics.median(step[part] for step in found["steps"][kind])
            for kind, count in share.items()
        )
        for part in ("forward", "backward", "optimiser")
    }
    epoch = {"sampling": statistics.median(found["sampling"]), **epoch}
    seconds = sum(epoch.values())
    evaluation = statistics.median(run["seconds"] for run in found["evaluation"])
    return {
        "epoch": seconds,
        **epoch,
        "triplets": sizes["triplets"] / seconds,
        "evaluation": evaluation,
        "peak": found["memory"]["peak"],
        "imports": found["memory"]["imports"],
        "peak_evaluation": found["evaluation_memory"]["peak"],
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=["lightgcn"],
        metavar="NAME",
        help=f"published names, {', '.join(VARIANTS)} (translation over the "
        f"batch's nodes), bases ({', '.join(BASES)}) or all (default: lightgcn)",
    )
    parser.add_argument("--dataset", nargs="+", default=["amazon"], metavar="NAME")
    parser.add_argument("--root", default="data", help="folder of the data sets")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["32-true"],
        choices=["32-true", "bf16-mixed"],
        help="of ours; the plain models, and models without texts, are in float32",
    )
    parser.add_argument(
        "--tf32",
        action="store_true",
        help="has a GPU multiply float32 matrices in TF32, ours and the plain ones, as "
        "torch.set_float32_matmul_precision('high') does in a program of one's own",
    )
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=10, help="turns of each implementation")
    parser.add_argument(
        "--seconds",
        type=float,
        default=120,
        help="no further turn after that many seconds with a model",
    )
    parser.add_argument(
        "--clock",
        default="wall",
        choices=["wall", "cpu"],
        help="cpu: seconds of the process's own work, for a machine that others use too",
    )
    parser.add_argument("--no-baseline", action="store_true", help="measures ours only")
    parser.add_argument(
        "--check-baseline",
        action="store_true",
        help="prints the plain code's seconds beside the published code's",
    )
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/speed"))
    args = parser.parse_args(argv)
    groups = {"all": MODELS, "bases": BASES}
    args.model = [name for word in args.model for name in groups.get(word, [word])]
    if args.clock == "cpu" and args.device == "cuda":
        parser.error("--clock cpu does not see what a GPU does; take --clock wall.")
    if args.tf32 and args.device != "cuda":
        parser.error("--tf32 is for GPUs; add --device cuda.")
    if args.tf32 and (args.scale or args.overhead):
        parser.error("--tf32 goes with --model, not with --scale or --overhead.")
    return args


def main(argv: list[str] | None = None) -> None:
    """Measures what was asked for and writes it down after every model."""
    args = parse(argv)
    words = sys.argv[1:] if argv is None else argv
    shown = [
        "DIR" if at and words[at - 1] in ("--root", "--out") else word
        for at, word in enumerate(words)
    ]
    command = shlex.join(["python", "benchmarks/speed.py", *shown])
    run = {"command": command, "machine": report.machine(args.device, args.threads)}
    if args.tf32:  # its rates are those of another machine
        run["machine"]["gpu"] += " (TF32)"
    if args.scale:
        from scale import scale, write_scale

        write_scale(args.out, args.device, {**run, **scale(args)})
        return
    if args.overhead:
        from overhead import overhead, write_overhead

        write_overhead(args.out, args.device, {**run, **overhead(args)})
        return
    for dataset in args.dataset:
        for name in args.model:
            rates = once(
                {
                    "machine": True,
                    "device": args.device,
                    "threads": args.threads,
                    "clock": args.clock,
                    "tf32": args.tf32,
                }
            )
            rows = measure(name, dataset, args)
            for row in report.write_speed(args.out, args.device, {**run, "rates": rates}, rows):
                print(report.line(row), flush=True)
                if args.check_baseline and name in PUBLISHED and dataset == "amazon":
                    plain = row["plain"]["epoch"]
                    print(
                        f"  plain {plain:.1f} s an epoch, published code {PUBLISHED[name]:.1f} s "
                        f"on another processor: {plain / PUBLISHED[name]:.2f} of it"
                    )


if __name__ == "__main__":
    main()
