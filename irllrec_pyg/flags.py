"""Command-line flags of every setting: one flag a setting, with its help, bounds and defaults."""

import argparse
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from .config import Config, bounds_of, read_scalar
from .registry import lookup, names

Found = dict[str, dict[str, FieldInfo]]  # by path, then by the name of what has the setting


def settings_of(config: type[Config], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting of a configuration by path, those of configurations within it included."""
    for name, info in config.model_fields.items():
        inner = [kind for kind in _alternatives(info.annotation) if _is_config(kind)]
        if inner:
            yield from settings_of(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


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
        spelled = [path, *others.get(path, [])]
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
    info = next(iter(owners.values()))
    defaults: dict[str, list[str]] = {}
    for name, other in owners.items():
        defaults.setdefault(yaml.safe_dump(other.default).split("\n")[0], []).append(name)
    default = next(iter(defaults))
    if len(defaults) > 1:
        default = "; ".join(f"{value}: {', '.join(who)}" for value, who in defaults.items())
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [f"{signs[name]} {value:g}" for name, value in bounds_of(info).items()]
    return f"{info.description}{', ' if bounds else ''}{' and '.join(bounds)} (default: {default})"


def _metavar(info: FieldInfo) -> str:
    for kind in _alternatives(info.annotation):
        if get_origin(kind) is Literal:
            return "{" + ",".join(map(str, get_args(kind))) + "}"
        if kind in (int, float, bool, str):
            return str(kind.__name__).upper()
    return "VALUE"


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _is_config(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Config)
