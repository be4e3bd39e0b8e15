"""The command ``irllrec study``: who gains what from texts, and where.

    irllrec study --dataset books games --root tables --model ease l3ae --out study
        every arm of the two models on two folders of tables
    irllrec study ... --text none real permuted --setting warm cold_items --trials 10
        some kinds of text and settings, and a smaller budget
    irllrec study --out study --page
        the page again, from what is finished

A study that was stopped goes on where it was when the same command is given again; given twice at
once, it has two processes that share the work.
"""

import argparse
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..cli import leaving_at_once
from ..config import ConfigError, read_yaml, write_yaml
from ..files import atomic_path, write_text
from .arms import Arm, all_arms, named, read_arms
from .candidates import Candidate
from .config import StudyConfig
from .inputs import SPLITS, TEXTS, Inputs
from .page import asked, page
from .pictures import draw
from .summary import Form, Summary
from .units import Units

PLAN, PAGE, ASKED = "study.yaml", "README.md", "asked.md"
RULES = tuple(StudyConfig.model_fields)
STOPPED = "the same command goes on from here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--dataset", nargs="+", default=[], metavar="NAME", help="table folders")
    parser.add_argument("--root", default="data", help="folder of the table folders")
    parser.add_argument("--model", nargs="+", metavar="NAME", help="default: all of --arms")
    parser.add_argument("--arms", help="YAML file of models, with settings and ranges")
    for name, choices, default, what in (
        ("text", list(TEXTS), list(TEXTS), "kinds of text"),
        ("setting", list(SPLITS), list(SPLITS)[:3], "settings"),
    ):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            choices=choices,
            default=default,
            metavar="NAME",
            help=f"{what}: {', '.join(choices)} (default: {' '.join(default)})",
        )
    parser.add_argument("--out", required=True, help="folder of the study")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    parser.add_argument("--verbose", action="store_true", help="say what models say")
    for name, info in StudyConfig.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=str if name in ("encoder", "intent") else json.loads,
            nargs=3 if name == "shares" else None,
            help=f"{info.description} (default: {info.default})",
        )


def run(args: argparse.Namespace) -> int:
    """Runs a study, or writes its page again."""
    with nullcontext() if args.verbose else _quiet():
        _run(args)
    print(Path(args.out, PAGE))
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing but warnings of our own, until the end of the block."""
    log = logging.getLogger("irllrec_pyg")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
            warnings.filterwarnings("ignore", message=".*GPU available.*")
            yield
    finally:
        log.setLevel(level)


def _run(args: argparse.Namespace) -> None:
    with leaving_at_once("irllrec study"):
        from .work import Work  # needs the extra, which help does not

    folder = Path(args.out)
    known = read_arms(args.arms)
    models = args.model or list(known)

    def find(name: str) -> Candidate:
        return known.get(name) or named(name)

    given = {name: value for name in RULES if (value := getattr(args, name)) is not None}
    if "shares" in given:
        given["shares"] = tuple(given["shares"])
    arms = [] if args.page else all_arms(args.dataset, args.setting, args.text, models, find)
    if not arms and not args.page:
        raise ConfigError("There is nothing to study: name data sets by --dataset.")
    if args.page and not (folder / PLAN).exists():
        raise ConfigError(f"{folder} holds no study: there is no {PLAN}.")
    units = Units(folder)
    with units.alone("plan", wait=True):
        rules, _ = plan(folder, given, arms)
    if arms:
        with tqdm(unit="step", smoothing=0.05) as bar:
            work = Work(units, Inputs(Path(args.root), rules), rules, bar.update)
            bar.total = sum(map(work.steps, arms))
            for arm in arms:
                bar.set_description(arm.words)
                work.do(arm)
    with units.alone("plan", wait=True):  # another process may have brought arms
        write(folder, units, *plan(folder, {}, []))


def plan(folder: Path, given: Mapping[str, Any], arms: list[Arm]) -> tuple[StudyConfig, list[Form]]:
    """Writes the rules and the arms of a study before its first trial, or holds on to them.

    Arms may join a study; rules and what a name stands for cannot change in its folder.

    Args:
        folder (Path): Of the study.
        given (mapping): Rules that the command gave.
        arms (list of Arm): Those of this command.

    Raises:
        ConfigError: If the folder holds a study with other rules or another model of a name.
    """
    file = folder / PLAN
    found: dict[str, Any] = read_yaml(file) if file.exists() else {"rules": {}, "models": {}}
    if not all(isinstance(found.get(part), dict) for part in ("rules", "models")):
        raise ConfigError(f"{file} is no study's: 'rules' and 'models' must be fields by name.")
    kept = StudyConfig.read(_rules(found["rules"]))
    if file.exists():
        rules = kept
        for name, value in StudyConfig.read(given).to_dict().items():
            if name in given and value != kept.to_dict()[name]:
                raise ConfigError(
                    f"{folder} holds a study with {name} = {kept.to_dict()[name]}, got {value}; "
                    "take another folder by --out."
                )
    else:
        rules = StudyConfig.read(given)
    models = found["models"]
    for arm in arms:
        own = json.loads(json.dumps(arm.candidate.description))
        key = f"{arm.candidate.name} without text" if arm.is_form else arm.candidate.name
        if models.setdefault(key, own) != own:
            raise ConfigError(
                f"{folder} holds a study in which {key!r} is {models[key]}, got {own}; give it "
                "another name in the file of arms, or take another folder by --out."
            )
    rows = [list(form) for form in map(_form, arms)]
    rows = [*found.get("arms", []), *(row for row in rows if row not in found.get("arms", []))]
    forms = [Form(*row) for row in rows]
    write_yaml(file, {"rules": rules.to_dict(), "models": models, "arms": rows})
    write_text(folder / ASKED, asked(rules, forms))
    return rules, forms


def write(folder: Path, units: Units, rules: StudyConfig, forms: list[Form]) -> None:
    """Writes tables, pictures and the page from what is finished."""
    summary = Summary(units, forms, rules.margin)
    if summary.rows.empty:
        write_text(folder / PAGE, asked(rules, forms))
        return
    plain = summary.rows.copy()
    for column in ("settings", "data_hash"):
        plain[column] = plain[column].map(lambda value: json.dumps(value, sort_keys=True))
    with atomic_path(folder / "results.parquet") as temporary:
        plain.to_parquet(temporary, index=False)
    for name, table in (("summary", summary.table()), ("comparisons", summary.comparisons())):
        with atomic_path(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    pictures = draw(summary, folder, rules.groups)
    write_text(folder / PAGE, page(rules, forms, summary, pictures))


def _form(arm: Arm) -> Form:
    return Form(arm.data, arm.setting, arm.model, arm.text, arm.unit)


def _rules(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
