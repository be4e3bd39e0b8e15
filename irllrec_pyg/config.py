"""Typed configurations: what an object is, as values that can be checked, written and read back."""

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from .files import write_text


class ConfigError(ValueError):
    """A value that a configuration does not take; the message names the field.

    Args:
        message (str): What is wrong, what was wanted and what was given.
        setting (str, optional): The field, by its path, where the message begins with it.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


def field(
    default: Any,
    *,
    help: str,
    search: Sequence[Any] | None = None,
    log: bool = False,
    **bounds: Any,
) -> Any:
    """A field of a :class:`Config`.

    Args:
        default: Its value where none is given.
        help (str): One line, without a full stop, for messages, the command line and documents.
        search (sequence, optional): What a search chooses from: the lowest and the highest number,
            or, where these are not two numbers, every value. (default: it is not searched)
        log (bool, optional): Whether the search takes the logarithm. (default: ``False``)
        **bounds: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``, as in :func:`pydantic.Field`.
    """
    extra: dict[str, Any] = {} if search is None else {"search": list(search), "log": log}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


class Config(BaseModel):
    """Base class of configurations: immutable, without unknown fields, and strict about types.

    An integer is taken for a float, and nothing else for anything else: ``"2"``, ``2.0`` and
    ``True`` are no integers. NaN and infinity are refused.

    Example:
        >>> class Layers(Config):
        ...     num_layers: int = field(3, ge=0, help="number of propagations")
        >>> Layers(num_layers=2).num_layers
        2
        >>> Layers(num_layers=-1)
        Traceback (most recent call last):
        irllrec_pyg.config.ConfigError: 'num_layers' must be at least 0, got -1.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(type(self), error) from None

    @classmethod
    def read(cls, values: "Settings" = None, **fields: Any) -> Self:
        """A configuration from values, another configuration of this class, or both.

        Args:
            values (mapping or Config, optional): Values by field. (default: the defaults)
            **fields: Values that take the place of these.

        Raises:
            ConfigError: If a value or a field is wrong; it is named.
        """
        if isinstance(values, cls):
            if type(values) is cls and not fields:
                return values
            values = {name: getattr(values, name) for name in values.model_fields_set}
        elif values is not None and not isinstance(values, Mapping):
            raise ConfigError(
                f"{cls.__qualname__} must be made of settings by name, got {values!r}."
            )
        values = {**(values or {}), **fields}
        if strange := [name for name in values if not isinstance(name, str)]:
            raise ConfigError(unknown_name("field", str(strange[0]), list(cls.model_fields)))
        return cls(**values)

    def replace(self, **fields: Any) -> Self:
        """A copy with other values, which are checked."""
        return type(self).read(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain values for JSON and YAML; :meth:`read` takes them back."""
        return self.model_dump(mode="json")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if value != info.default:
                yield name, value


#: What :meth:`Config.read` takes.
Settings = Config | Mapping[str, Any] | None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file of settings, as in YAML 1.2: ``1e-7`` is a number, ``no`` is text.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it is no YAML or no mapping, or says something twice.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}.") from None
    if content is None:
        raise ConfigError(f"{path} is empty: it must hold settings by name.")
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold settings by name, got {type(content).__name__}.")
    return content


def read_scalar(text: str) -> Any:
    """A number, true or false, null, a list, or else text, as YAML reads it."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def write_yaml(path: str | Path, values: Mapping[str, Any]) -> None:
    """Writes settings, in their order, completely or not at all."""
    write_text(path, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))


class _Loader(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, in which ``1e-7`` is text, ``no`` is false, ``1:30`` is 90 and
    ``010`` is 8, and takes the last of two values without a word; here they are as in YAML 1.2.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 # of the class, as in PyYAML

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for at, name in enumerate(names):
            if name in names[:at]:
                mark = node.value[at][0].start_mark
                raise yaml.MarkedYAMLError(problem=f"{name!r} is given twice", problem_mark=mark)
        return super().construct_mapping(node, deep)


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9]\d*)", "-+0123456789"),
    ("float", r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}",
        re.compile(rf"(?:{_pattern})\Z"),
        [first.strip("\0") for first in _first],
    )


def bounds_of(info: FieldInfo) -> dict[str, Any]:
    """The bounds of a field by name: ``ge``, ``gt``, ``le``, ``lt``."""
    parts = [(name, part) for part in info.metadata for name in ("ge", "gt", "le", "lt")]
    return {name: getattr(part, name) for name, part in parts if hasattr(part, name)}


def settings_of(config: type[Config], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting of a configuration by path, those of configurations within it included."""
    for name, info in config.model_fields.items():
        inner = [kind for kind in alternatives(info.annotation) if _is_config(kind)]
        if inner:
            yield from settings_of(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def type_of(info: FieldInfo) -> str:
    """The type of a setting, in words."""
    if get_origin(info.annotation) is Literal:
        return " or ".join(map(repr, get_args(info.annotation)))
    name = str(getattr(info.annotation, "__name__", info.annotation))
    return re.sub(r"Annotated\[int, .*?\)\]", "int", re.sub(r"\w+\.", "", name))


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types that a union allows, or the one type."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _is_config(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Config)


_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "greater than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
    "literal_error": "{expected}",
    "dict_type": "settings by name",
    "model_type": "settings by name",
    "too_short": "at least {min_length} value",
}


def _config_error(cls: type[Config], error: ValidationError) -> ConfigError:
    """What is wrong with the first of the wrong fields, in one sentence."""
    found = error.errors()[0]
    where, kind = ".".join(map(str, found["loc"])), found["type"]
    if kind == "extra_forbidden":
        return ConfigError(unknown_name("field", where, list(cls.model_fields)), where)
    if kind == "value_error":
        cause = found["ctx"]["error"]
        inner = getattr(cause, "setting", "")
        if not inner:
            return ConfigError(str(cause))
        # Of a configuration within this one, unless a check of this one's own says it.
        whole = where if where.split(".")[-1] == inner else f"{where}.{inner}".lstrip(".")
        return ConfigError(str(cause).replace(repr(inner), repr(whole), 1), whole)
    wanted = _KINDS.get(kind, "").format(**found.get("ctx", {}))
    wanted = wanted or found["msg"].removeprefix("Input should be ")
    return ConfigError(f"{where!r} must be {wanted}, got {found['input']!r}.", where)


def unknown_name(what: str, name: str, known: list[str]) -> str:
    """Says that there is no such name, which one was probably meant, and which ones there are."""
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}? There" if close else "there"
    return f"Unknown {what} {name!r}; {hint} are {', '.join(known) or 'none'}."
