"""What can be built by name: backbones, heads, ranking losses, closed-form models, encoders.

A class that is registered needs nothing else to be built, run from the command line, saved,
rebuilt from its file and covered by the tests that run over every name:

.. code-block:: python

    @register("lightgcn")
    class LightGCN(Backbone):
        class Config(Backbone.Config):
            num_layers: int = field(3, ge=0, help="number of propagations")

Other packages register theirs through the entry-point group ``irllrec_pyg``: each entry point is a
module that registers something when it is imported.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from typing import Any, ClassVar, TypeVar

from .config import Config as BaseConfig
from .config import ConfigError, settings_of, type_of, unknown_name

GROUP = "irllrec_pyg"
OWN = (".nn", ".linear")  # modules of this package that register something
Class = TypeVar("Class", bound="type[Configured]")
_classes: dict[str, dict[str, "type[Configured]"]] = {}
_plugins_loaded = False


class Configured:
    """Base class of everything that is built from a typed configuration.

    A subclass declares its settings in a nested class ``Config`` and finds them in ``self.config``.
    Each setting can also be read as an attribute: ``backbone.num_layers``.
    """

    kind: ClassVar[str]
    registered_name: ClassVar[str] = ""

    class Config(BaseConfig):
        """The settings of the class."""

    config: Config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.registered_name = ""  # a subclass is another thing, until it is registered
        for name in cls.Config.model_fields:
            if not hasattr(cls, name):
                setattr(cls, name, _Setting(name, cls.Config.model_fields[name].description))

    @property
    def description(self) -> dict[str, Any]:
        """The registered name and every setting, as plain values; :func:`build` takes it back."""
        return {"name": self.registered_name or type(self).__name__, **self.config.to_dict()}


class _Setting:
    """A setting of ``self.config``, as an attribute that cannot be set."""

    def __init__(self, name: str, help: str | None) -> None:
        self.name = name
        self.__doc__ = help

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else getattr(instance.__dict__["config"], self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError(
            f"{self.name!r} is a setting of {type(instance).__name__}, which was built with it; "
            "build another one."
        )


def register(name: str) -> Callable[[Class], Class]:
    """Makes a class known by a name.

    Args:
        name (str): Lower-case letters, digits and ``-``.

    Raises:
        ValueError: If the name is taken by another class of the kind, or is no such name.
    """

    def add(cls: Class) -> Class:
        if not name or not all(c.isdigit() or c == "-" or "a" <= c <= "z" for c in name):
            raise ValueError(f"A name must consist of a-z, 0-9 and '-', got {name!r}.")
        known = _classes.setdefault(cls.kind, {})
        taken = known.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ValueError(
                f"The {cls.kind} {name!r} is registered already, by {taken.__module__}."
            )
        cls.registered_name = name
        cls.__doc__ = f"{inspect.getdoc(cls) or name}\n\n{arguments(cls.Config)}"
        known[name] = cls
        return cls

    return add


def names(kind: str) -> list[str]:
    """Every registered name of a kind, those of installed plug-ins included."""
    _load_plugins()
    return list(_classes.get(kind, {}))


def lookup(kind: str, name: str) -> "type[Configured]":
    """The class of a name.

    Raises:
        ConfigError: If there is none; the message lists those that there are.
    """
    known = _classes.setdefault(kind, {})
    if name not in known:
        _load_plugins()
    if name not in known:
        raise ConfigError(unknown_name(kind, name, list(known)))
    return known[name]


def read_part(kind: str, part: "str | Mapping[str, Any]") -> tuple["type[Configured]", BaseConfig]:
    """The class and the configuration that a name, or a name with settings, stands for.

    Args:
        kind (str): Such as ``"backbone"``.
        part (str or mapping): ``"sgl"`` or ``{"name": "sgl", "num_layers": 2}``.

    Raises:
        ConfigError: If the name or a setting is unknown or wrong; it is named.
    """
    settings = {"name": part} if isinstance(part, str) else part
    name = settings.get("name") if isinstance(settings, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"A {kind} must be a name or settings with a 'name', got {part!r}.")
    settings = {setting: value for setting, value in settings.items() if setting != "name"}
    cls = lookup(kind, name)
    try:
        return cls, cls.Config.read(settings)
    except ConfigError as error:
        raise ConfigError(f"{kind} {name!r}: {error}") from None


def arguments(config: type[BaseConfig]) -> str:
    """The fields of a configuration as a section of a docstring."""
    lines = ["Settings:"]
    for path, info in settings_of(config):
        lines.append(
            f"    {path} ({type_of(info)}): {info.description}. (default: ``{info.default!r}``)"
        )
    return "\n".join(lines)


def _load_plugins() -> None:
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for own in OWN:
        import_module(own, __package__)
    for entry in metadata.entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:  # another package's fault must not stop this one
            warnings.warn(
                f"The plug-in {entry.name!r} ({entry.value}) could not be loaded: "
                f"{type(error).__name__}: {error}",
                stacklevel=3,
            )
