"""Command-line flags of every setting: one flag a setting, with its help, bounds and defaults."""

import argparse
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from .config import alternatives, bounds_of, read_scalar, settings_of
from .registry import lookup, names

Found = dict[str, dict[str, FieldInfo]]  # by path, then by the name of what has the setting


def model_settings() -> Found:
    """Every setting of every registered backbone, head and ranking loss, by its path in a model."""
    found: Found = {}
    for kind, prefix in (
        ("backbone", "backbone."),
        ("head", "heads.{}."),
        ("ranking-loss", "ranking_loss."),
    ):
        for name in names(kind):
            for path, info in settings_of(lookup(kind, name).Config, prefix.format(name)):
                found.setdefault(path, {})[name] = info
    return found


def add_flags(
    parser: Any, found: Found, aliases: Mapping[str, str] | None = None, prefix: str = "setting:"
) -> None:
    """Adds one flag for each setting.

    Args:
        parser (argparse.ArgumentParser or group): What gets the flags.
        found (dict): Settings, as of :func:`model_settings`.
        aliases (mapping, optional): Other names of settings, by name. (default: none)
        prefix (str, optional): Of the destination, so that :func:`given` knows them again.
    """
    others: dict[str, list[str]] = {}
    for name, path in (aliases or {}).items():
        others.setdefault(path, []).append(name)
    for path, owners in found.items():
        spelled = dict.fromkeys([path, *others.get(path, [])])
        parser.add_argument(
            *(f"--{name.replace('_', '-')}" for name in spelled),
            dest=prefix + path,
            type=read_scalar,
            default=argparse.SUPPRESS,
            metavar=_metavar(next(iter(owners.values()))),
            help=_help(owners).replace("%", "%%"),
        )


def given(args: argparse.Namespace, prefix: str = "setting:") -> dict[str, Any]:
    """The settings that the command line gave, by path."""
    return {
        name.removeprefix(prefix): value
        for name, value in vars(args).items()
        if name.startswith(prefix)
    }


def _help(owners: dict[str, FieldInfo]) -> str:
    what = _by_value({name: _meaning(info) for name, info in owners.items()})
    default = _by_value({name: default_of(info) for name, info in owners.items()})
    return f"{what} (default: {default})"


def default_of(info: FieldInfo) -> str:
    """The default of a setting, as it is written in YAML."""
    return str(yaml.safe_dump(info.default, default_flow_style=True)).split("\n")[0]


def bounds_in_words(info: FieldInfo) -> str:
    """The bounds of a setting, such as ``"above 0 and at most 1"``."""
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return " and ".join(f"{signs[name]} {value:g}" for name, value in bounds_of(info).items())


def _meaning(info: FieldInfo) -> str:
    return ", ".join(filter(None, [info.description, bounds_in_words(info)]))


def _by_value(values: dict[str, str]) -> str:
    """The value that all have, or each with those that have it."""
    owners: dict[str, list[str]] = {}
    for name, value in values.items():
        owners.setdefault(value, []).append(name)
    if len(owners) == 1:
        return next(iter(owners))
    return "; ".join(f"{value} for {', '.join(names)}" for value, names in owners.items())


def _metavar(info: FieldInfo) -> str:
    for kind in alternatives(info.annotation):
        if get_origin(kind) is Literal:
            return "{" + ",".join(map(str, get_args(kind))) + "}"
        if kind in (int, float, bool, str):
            return str(kind.__name__).upper()
        if get_origin(kind) is tuple:
            return "[INT,...]"
    return "VALUE"
