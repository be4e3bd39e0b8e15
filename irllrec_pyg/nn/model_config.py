"""What describes a model."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import field_validator
from torch.nn import ModuleDict

from ..config import Config, ConfigError, field
from ..registry import names, read_part
from .fields import loss_weight

Part = dict[str, Any]  # a registered name, as "name", and its settings
Similarity = Literal["dot", "cosine", "validation"]


class ModelConfig(Config):
    """What a :class:`Recommender` is: a backbone, heads, and what ranks, each by its name.

    Example:
        >>> config = ModelConfig(backbone="lightgcn", heads={"profile": {"weight": 0.1}})
        >>> config.backbone["num_layers"], config.heads["profile"]["temperature"]
        (3, 0.2)
    """

    backbone: Part = field("lightgcn", help="the backbone", validate_default=True)
    heads: dict[str, Part] = field(
        {}, help="the heads by label, a head's name or one that its 'name' says"
    )
    ranking_loss: Part | None = field(None, help="ranks in place of the backbone's own loss")
    reg_weight: float = loss_weight(0.0, 1e-8, 1e-3, of="the squares of all trainable parameters")
    text_rank: int | None = field(
        None, ge=1, help="principal components of the texts that heads and backbone see; null: all"
    )
    similarity: Similarity = field(
        "dot",
        help="what ranks: dot products of the final embeddings, their cosines, or what of both "
        "fit() finds better on validation",
        search=("dot", "cosine"),
    )

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))  # parts are dictionaries

    @field_validator("backbone", "ranking_loss", mode="before")
    @classmethod
    def _read_part(cls, part: Any, info: Any) -> Any:
        if part is None and info.field_name == "ranking_loss":
            return None
        return _complete(info.field_name.replace("_", "-"), part)

    @field_validator("heads", mode="before")
    @classmethod
    def _read_heads(cls, heads: Any) -> Any:
        """Heads by label from such a mapping, from names, or from one name."""
        if isinstance(heads, str):
            heads = [heads]
        if isinstance(heads, (list, tuple)) and all(isinstance(name, str) for name in heads):
            return {label: _complete("head", name) for label, name in label_all(heads)}
        if not isinstance(heads, Mapping):
            raise ConfigError(f"'heads' must be names, or settings by label, got {heads!r}.")
        return {label: _read_head(label, part) for label, part in heads.items()}


def _read_head(label: Any, part: Any) -> Part:
    if not isinstance(label, str) or not label or "." in label or hasattr(ModuleDict, label):
        raise ConfigError(f"A head's label must be a word without '.', got {label!r}.")
    if isinstance(part, str):
        return _complete("head", part)
    # A label is a name, or one with a number: "profile-2" is the second head of its kind.
    name = label if label in names("head") else re.sub(r"-\d+$", "", label)
    part = {} if part is None else part
    return _complete("head", {"name": name, **part} if isinstance(part, Mapping) else part)


def _complete(kind: str, part: Any) -> Part:
    cls, config = read_part(kind, part)
    return {"name": cls.registered_name, **config.to_dict()}


def label_all(names: Iterable[str]) -> list[tuple[str, str]]:
    """Names with distinct labels: the name itself, with ``-2``, ``-3``, ... where it repeats."""
    labelled: dict[str, str] = {}
    for name in names:
        count = 1
        while (label := f"{name}-{count}" if count > 1 else name) in labelled:
            count += 1
        labelled[label] = name
    return list(labelled.items())
