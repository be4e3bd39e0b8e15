r"""``irllrec texts judge``: whether texts are any good, before the money is spent."""

import argparse
from pathlib import Path
from typing import Any

from .config import JudgeConfig

SIZES = ("users", "items", "resamples")  # settings with flags; the seed is the split's too


def add_arguments(group: Any) -> None:
    """Adds the arguments that only ``judge`` has."""
    group.add_argument(
        "--texts",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of items to judge (a+b joins two), or folders of irllrec texts "
        "(the usual columns: title, text, …)",
    )
    group.add_argument(
        "--intents",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="intents to judge beside them, in the same way (those of the folders)",
    )
    group.add_argument(
        "--encoders",
        nargs="+",
        metavar="ENCODER",
        help="encoders to judge, such as wordllama words wordllama+words (--encoder)",
    )
    group.add_argument("--k-core", type=int, help="interactions of each user and item (5)")
    for name in SIZES:
        info = JudgeConfig.model_fields[name]
        group.add_argument(
            f"--judge-{name}",
            type=int,
            default=info.default,
            help=f"{info.description} (%(default)s)",
        )


def run(args: argparse.Namespace) -> int:
    """Judges, prints the verdict and writes it into ``--out``."""
    from ..text import Endpoint, RunSettings, build_views
    from ..text.inputs import place_of
    from .data import read
    from .judging import judge
    from .report import report, write
    from .statistics import compare

    if (place := place_of(args)) is None:
        raise ValueError("judge needs --data: a folder of tables, or of irllrec texts.")
    sizes = {name: getattr(args, f"judge_{name}") for name in SIZES}
    config = JudgeConfig(seed=args.seed or 0, **sizes)
    names = list(dict.fromkeys(args.encoders or [args.encoder]))
    endpoint: dict[str, Any] = {
        "endpoint": Endpoint(args.encoder_url, args.encoder_key_variable),
        "dimensions": args.dimensions,
        "run": RunSettings(args.concurrency, args.rpm, args.tpm, args.retries),
    }
    encoders = [(name, build_views(name, **endpoint)) for name in names]
    judged = read(str(place.parent), place.name, args.texts, args.intents, args.k_core, config.seed)
    findings = judge(judged, encoders, config, progress=not args.no_progress)
    comparisons = compare(findings, config)
    print("\n".join(report(findings, comparisons)))
    settings = {**config.to_dict(), "name": place.name, "encoders": names}
    paths = write(Path(args.out), findings, comparisons, settings)
    print(f"written to {' and '.join(map(str, paths))}")
    return 0
