"""The table of all settings: ``irllrec settings`` prints it, and ``docs/settings.md`` is it."""

import argparse

from pydantic.fields import FieldInfo

from .config import Config, settings_of, type_of
from .datasets.config import DataConfig
from .flags import bounds_in_words, default_of
from .nn import ModelConfig
from .ranking import Blend, Rerank
from .registry import lookup, names
from .runs import RankerConfig
from .study.config import StudyConfig
from .training import TrainingConfig

KINDS = ("backbone", "head", "ranking-loss", "linear")


def settings_table() -> str:
    """Every setting of everything that is registered, of a model, its data and its training."""
    configs: dict[str, type[Config]] = {
        f"{kind} `{name}`": lookup(kind, name).Config for kind in KINDS for name in names(kind)
    }
    configs |= {
        "blend": Blend.Config,
        "rerank": Rerank.Config,
        "model": ModelConfig,
        "data": DataConfig,
        "ranker": RankerConfig,
        "training": TrainingConfig,
        "study": StudyConfig,
    }
    head = "| setting | type | default | bounds | what it is |\n|---|---|---|---|---|"
    lines = ["# Settings", "", "`irllrec settings` prints this page."]
    for owner, config in configs.items():
        rows = [
            f"| `{path}` | {_cell(type_of(info))} | {_default(info)} | {bounds_in_words(info)} | "
            f"{_cell(info.description or '')} |"
            for path, info in settings_of(config)
        ]
        lines += ["", f"## {owner}", "", *([head, *rows] if rows else ["It has none."])]
    return "\n".join(lines)


def _default(info: FieldInfo) -> str:
    return _cell(f"`{default_of(info)}`")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has none."""


def run(args: argparse.Namespace) -> int:
    """Prints the table, with the settings of installed plug-ins."""
    print(settings_table())
    return 0
