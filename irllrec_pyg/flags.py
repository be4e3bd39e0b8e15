"""Command-line flags of every setting: one flag a setting, with its help, bounds and defaults."""

import argparse
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from .config import alternatives, bounds_of, read_scalar, settings_of
from .datasets.config import NOT_OF_TABLES, DataConfig
from .nn.model_config import ModelConfig
from .published import ALIASES, OWN_ALIASES, aliases, split_name
from .registry import lookup, names
from .training import TrainingConfig

Found = dict[str, dict[str, FieldInfo]]  # by path, then by the name of what has the setting

# What is made of a folder of tables; the seed of a run is another one.
TABLES = {
    "split_seed" if name == "seed" else name: f"data.{name}"
    for name in DataConfig.model_fields
    if name not in NOT_OF_TABLES
}
_SHORT = {
    **ALIASES,
    **TABLES,
    **{name: f"training.{name}" for name in ("epochs", "accelerator", "devices")},
}
# Published names that are another setting for another backbone.
_VARYING = {name: {ALIASES[name]} for own in OWN_ALIASES.values() for name in own}
for _own in OWN_ALIASES.values():
    for _name, _path in _own.items():
        _VARYING[_name].add(_path)


def run_settings(without: Collection[str] = ()) -> Found:
    """Every setting of models, training and tables, by path.

    Args:
        without (collection of str, optional): Settings of training that have options of their own.
            (default: none)
    """
    whole = {path: {"model": info} for path, info in settings_of(ModelConfig)}
    training = {path: {"training": info} for path, info in settings_of(TrainingConfig)}
    data = {path: {"data": info} for path, info in settings_of(DataConfig)}
    return {
        **model_settings(),
        **{path: whole[path] for path in ("reg_weight", "similarity")},
        **{f"training.{path}": training[path] for path in training if path not in without},
        **{path: data[path.removeprefix("data.")] for path in TABLES.values()},
    }


def linear_settings() -> Found:
    """Every setting of every registered closed-form model, as ``linear.reg``."""
    found: Found = {}
    for name in names("linear"):
        for path, info in settings_of(lookup("linear", name).Config, "linear."):
            found.setdefault(path, {})[name] = info
    return found


def add_run_flags(parser: Any, found: Found) -> None:
    """Adds the flags of a run's settings, also by their published names."""
    varying = {
        name: {path: info for path in sorted(paths) for info in list(found[path].values())[:1]}
        for name, paths in _VARYING.items()
    }
    short = {name: path for name, path in _SHORT.items() if name not in _VARYING}
    add_flags(parser, {**found, **varying}, short)


def own_settings(model: str, loss: str = "own", found: Found | None = None) -> set[str]:
    """The paths of the settings that a backbone with heads has.

    Args:
        model (str): Its name.
        loss (str, optional): The ranking loss in the place of its own. (default: its own)
        found (dict, optional): The settings to choose from. (default: all of a run)
    """
    backbone, heads = split_name(model)
    return {
        path
        for path, owners in (run_settings() if found is None else found).items()
        if (not path.startswith("backbone.") or backbone in owners)
        and (not path.startswith("heads.") or path.split(".")[1] in heads)
        and (not path.startswith("ranking_loss.") or loss in owners)
    }


def by_path(model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a backbone with heads by path, those under published names included."""
    short_for = aliases(model)
    return {short_for.get(name, name): value for name, value in given.items()}


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
            help=help_of(owners).replace("%", "%%"),
        )


def given(args: argparse.Namespace, prefix: str = "setting:") -> dict[str, Any]:
    """The settings that the command line gave, by path."""
    return {
        name.removeprefix(prefix): value
        for name, value in vars(args).items()
        if name.startswith(prefix)
    }


def help_of(owners: dict[str, FieldInfo]) -> str:
    """What a setting means and its default, for those that have it by name."""
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
            return f"{get_args(kind)[0].__name__.upper()},..."
    return "VALUE"
