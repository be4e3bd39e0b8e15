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
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..cli import leaving_at_once
from ..config import ConfigError, read_yaml, write_yaml
from ..files import atomic_path, write_text
from .arms import Arm, all_arms, named, read_arms
from .candidates import Candidate
from .claims import by_group, under_noise
from .config import StudyConfig
from .inputs import SPLITS, TEXTS, USUAL, Inputs
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
        ("text", list(TEXTS), list(USUAL), "kinds of text"),
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
            type=str if name in ("encoder", "intent", "views") else number,
            nargs=3 if name == "shares" else "+" if name == "views" else None,
            help=f"{info.description} (default: {info.default})",
        )


def number(text: str) -> Any:
    """A number, or ``null``."""
    return json.loads(text)


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

    given = _rules({name: getattr(args, name) for name in RULES if getattr(args, name) is not None})
    arms = [] if args.page else all_arms(args.dataset, args.setting, args.text, models, find)
    if not arms and not args.page:
        raise ConfigError("There is nothing to study: name data sets by --dataset.")
    if args.page and not (folder / PLAN).exists():
        raise ConfigError(f"{folder} holds no study: there is no {PLAN}.")
    units = Units(folder)
    names = [] if args.page else args.dataset
    with units.alone("plan", wait=True):
        inputs = Inputs(Path(args.root), rules_of(folder, given))
        plan(folder, inputs, names, arms)
    if arms:
        with tqdm(unit="step", smoothing=0.05) as bar:
            work = Work(units, inputs, inputs.rules, bar.update, _above(bar))
            bar.total, done = sum(map(work.steps, arms)), 0
            for arm in arms:
                bar.set_description(arm.words)
                work.do(arm)
                done += work.steps(arm)  # not all of them had to be made
                bar.update(done - bar.n)
    with units.alone("plan", wait=True):  # another process may have brought arms
        write(folder, units, inputs.rules, plan(folder, inputs, names, []))


def _above(bar: "tqdm[Any]") -> Callable[[str], None]:
    """Prints lines above a bar."""
    return lambda text: bar.write(text, file=sys.stderr)


def rules_of(folder: Path, given: Mapping[str, Any]) -> StudyConfig:
    """The rules of the study in a folder, or of a new one.

    Args:
        folder (Path): Of the study.
        given (mapping): Rules that the command gave.

    Raises:
        ConfigError: If the folder holds a study with other rules.
    """
    rules = StudyConfig.read(given)
    if not (folder / PLAN).exists():
        return rules
    kept = StudyConfig.read(_rules(_kept(folder)["rules"]))
    for name in given:
        if getattr(rules, name) != getattr(kept, name):
            raise ConfigError(
                f"{folder} holds a study with {name} = {getattr(kept, name)}, got "
                f"{getattr(rules, name)}; take another folder by --out."
            )
    return kept


def _kept(folder: Path) -> dict[str, Any]:
    file = folder / PLAN
    found: dict[str, Any] = read_yaml(file) if file.exists() else {"rules": {}, "models": {}}
    if not all(isinstance(found.get(part), dict) for part in ("rules", "models")):
        raise ConfigError(f"{file} is no study's: 'rules' and 'models' must be fields by name.")
    return found


def plan(folder: Path, inputs: Inputs, datasets: Iterable[str], arms: list[Arm]) -> list[Form]:
    """Writes the rules, tables and arms of a study before its first trial, or holds on to them.

    Arms may join a study; rules, tables and what a name stands for cannot change in its folder.

    Args:
        folder (Path): Of the study.
        inputs (Inputs): The rules, and the tables.
        datasets (iterable of str): Those of this command.
        arms (list of Arm): Those of this command.

    Raises:
        ConfigError: If the folder holds a study of other tables or another model of a name.
    """
    found = _kept(folder)
    tables = found.setdefault("tables", {})
    for name in datasets:
        if name not in tables:
            inputs.check(name)
        own = inputs.fingerprint(name)
        if tables.setdefault(name, own) != own:
            changed = [file for file, digest in own.items() if tables[name].get(file) != digest]
            raise ConfigError(
                f"{inputs.root / name}: {', '.join(changed or tables[name])} changed after the "
                f"study in {folder} began. Put the old tables back, or take another folder by "
                "--out."
            )
    models = found["models"]
    for arm in arms:
        own = json.loads(json.dumps(arm.candidate.description))
        key = f"{arm.candidate.name} without text" if arm.is_form else arm.candidate.name
        if models.setdefault(key, own) != own:
            raise ConfigError(
                f"{folder} holds a study in which {key!r} is {models[key]}, got {own}; give it "
                "another name in the file of arms, or take another folder by --out."
            )
    rows = [[*form] if form.against else [*form[:-1]] for form in map(_form, arms)]
    rows = [*found.get("arms", []), *(row for row in rows if row not in found.get("arms", []))]
    forms = [Form(*row) for row in rows]
    content = {"rules": inputs.rules.to_dict(), "tables": tables, "models": models, "arms": rows}
    write_yaml(folder / PLAN, content)
    write_text(folder / ASKED, asked(inputs.rules, forms))
    return forms


def write(folder: Path, units: Units, rules: StudyConfig, forms: list[Form]) -> None:
    """Writes tables, pictures and the page from what is finished."""
    summary = Summary(units, forms, rules.margin)
    tables = {
        "summary": summary.table(),
        "comparisons": summary.comparisons(),
        "groups": by_group(summary),
        "noise": under_noise(summary),
    }
    if not summary.rows.empty:
        plain = summary.rows.copy()
        for column in ("settings", "data_hash"):
            plain[column] = plain[column].map(lambda value: json.dumps(value, sort_keys=True))
        with atomic_path(folder / "results.parquet") as temporary:
            plain.to_parquet(temporary, index=False)
    for name, table in tables.items():
        if len(table):
            with atomic_path(folder / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False, float_format="%.6g")
    pictures = draw(summary, folder)
    write_text(folder / PAGE, page(rules, forms, summary, pictures, tables))


def _form(arm: Arm) -> Form:
    return Form(arm.data, arm.setting, arm.model, arm.text, arm.unit, arm.candidate.against or "")


def _rules(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
