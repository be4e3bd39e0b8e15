"""Names, hyper-parameters and weights of the published code.

A published name is a backbone, alone (``lightgcn``) or with ``_plus`` (RLMRec-Con), ``_gene``
(RLMRec-Gen) or ``_int`` (IRLLRec) after it, and stands for a :class:`~irllrec_pyg.nn.ModelConfig`.
``published.yaml`` holds the published values under their published names; the tables here say which
setting each of these names is, and where the published code departs from its papers.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch_geometric.data import HeteroData

from .config import ConfigError, read_yaml, unknown_name
from .nn.model_config import ModelConfig
from .nn.recommender import Recommender
from .published_weights import fill, read_state
from .registry import lookup, names

log = logging.getLogger(__name__)
Settings = dict[str, Any]  # by path, such as "heads.profile.weight"

VARIANTS: dict[str, tuple[str, ...]] = {
    "": (),
    "plus": ("profile",),
    "gene": ("reconstruction",),
    "int": ("profile", "intent"),
}
# Published hyper-parameter -> setting.
ALIASES: dict[str, str] = read_yaml(Path(__file__).with_name("published_names.yaml"))
OWN_ALIASES: dict[str, dict[str, str]] = {  # of single backbones
    "dccf": {"intent_num": "backbone.num_intents"},
    "bigcf": {"intent_num": "backbone.num_intents"},
}
# Named by published configurations, and a setting here, but read by no published code.
UNREAD: dict[str, tuple[str, ...]] = {"bigcf_gene": ("cl_temperature",)}
# What a model needs that no published configuration of it names, by backbone or model.
DEFAULTS: dict[str, Settings] = {
    "": {"reg_weight": 1e-6},
    "alpharec": {"training.num_negatives": 256},
    # AutoCF has no use for negative items, in any loss of any variant.
    "autocf_plus": {"heads.profile.negatives": False},
    "autocf_int": {"heads.profile.negatives": False},
}
PAIRWISE_ONLY: Settings = {
    "heads.intent.translation.weight": 0.0,
    "heads.intent.matching.weight": 0.0,
}
# Where the published code of a variant differs from its siblings or its paper.
AS_PUBLISHED: dict[str, Settings] = {
    "gccf_plus": {"backbone.self_loops": False},
    "gccf_gene": {"backbone.self_loops": False},
    "lightgcn_int": {
        "heads.intent.translation.noise": "multiplicative",
        "heads.intent.translation.nodes": "all",
        "heads.intent.matching.target": "predictions",
    },
    "sgl_int": {"heads.intent.view": 1, **PAIRWISE_ONLY},
    "simgcl_int": {"heads.intent.pairwise.negatives": False, **PAIRWISE_ONLY},
    "dccf_int": PAIRWISE_ONLY,
    "bigcf_int": {"heads.intent.shift": 1, **PAIRWISE_ONLY},
}
# The newest published configuration sets both weights to 1e-7; these are those before it.
AS_IN_PAPER: dict[str, Settings] = {
    "lightgcn_int": {"heads.intent.translation.weight": 5e-4, "heads.intent.matching.weight": 1e-4}
}
# Where a variant of a backbone was never published, a published one lends what the heads need.
HEAD_LENDER = "lightgcn"


def published_table() -> dict[str, dict[str, Any]]:
    """The published values by model; see the head of ``published.yaml``."""
    table = read_yaml(Path(__file__).with_name("published.yaml"))
    shared = table.pop("shared")
    return {
        model: {**shared["all"], **shared.get(model.partition("_")[0], {}), **row}
        for model, row in table.items()
    }


def model_names() -> list[str]:
    """Every model that was published."""
    return [name for name in published_table() if name.partition("_")[0] in names("backbone")]


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """The backbone and the heads that a model's name stands for.

    Args:
        name (str): A published name (``lightgcn_int``), or a backbone with any heads
            (``gnn+profile+intent``).

    Raises:
        ConfigError: If there is no such backbone, variant or head.
    """
    backbone, plus, heads = name.partition("+")
    if plus:
        labels = tuple(heads.split("+"))
        for part in [("backbone", backbone), *(("head", head) for head in labels)]:
            lookup(*part)
        if len(set(labels)) < len(labels):
            raise ConfigError(f"{name} has a head twice; describe such a model by a ModelConfig.")
        return backbone, labels
    backbone, _, variant = name.partition("_")
    if backbone not in names("backbone") or variant not in VARIANTS:
        known = [*names("backbone"), *(f"{backbone}_{part}" for part in VARIANTS if part)]
        raise ConfigError(unknown_name("model", name, known))
    return backbone, VARIANTS[variant]


def published_values(model: str, dataset: str | None = None) -> dict[str, Any]:
    """The published hyper-parameters of a model on a data set, under the published names.

    A variant that nobody published takes what the backbone needs from its ``_plus`` variant and
    what the heads need from that of LightGCN. Where the model has no configuration for a data set,
    Amazon's is taken. Both are logged.

    Args:
        model (str): A published name.
        dataset (str, optional): ``amazon``, ``yelp``, ``movie`` or ``steam``; ``movielens``, for
            which nobody published any, has settings of this package. (default: ``None``)
    """
    table = published_table()
    if model in table:
        return _values(table[model], model, dataset)
    backbone, _, variant = model.partition("_")
    own = next((name for name in (f"{backbone}_plus", backbone) if name in table), None)
    lender = f"{HEAD_LENDER}_{variant}"
    if own is None or (variant and lender not in table):
        return {}
    log.info(
        "%s was never published; hyper-parameters are those of %s, and of %s for the texts.",
        model,
        own,
        lender,
    )
    lent = _values(table[lender], lender, dataset) if variant else {}
    heads = {name: value for name, value in lent.items() if ALIASES[name].startswith("heads.")}
    return {**heads, **_values(table[own], own, dataset)}


def _values(row: Mapping[str, Any], model: str, dataset: str | None) -> dict[str, Any]:
    if dataset not in row["datasets"]:
        log.info(
            "%s has no published hyper-parameters for %s; Amazon-book's are used.", model, dataset
        )
        dataset = "amazon"
    return {
        name: value[dataset] if isinstance(value, Mapping) else value
        for name, value in row.items()
        if name != "datasets"
    }


def published_grid(model: str) -> dict[str, list[Any]]:
    """Every value that published configurations have for a model's hyper-parameters, by path.

    Those of the model's backbone on all data sets count, and for the heads those of the same
    variant of any backbone; ascending. Of a model that nobody published there are none.

    Example:
        >>> published_grid("lightgcn_plus")["heads.profile.temperature"]
        [0.1, 0.2, 0.5, 1.0]
    """
    backbone, _, variant = model.partition("_")
    if model not in published_table():
        return {}
    known = aliases(model)
    found: dict[str, set[Any]] = {}
    for other, row in published_table().items():
        own, _, their = other.partition("_")
        for name, value in row.items():
            path = known.get(name)
            if path and (own == backbone or (their == variant and path.startswith("heads."))):
                values = value.values() if isinstance(value, Mapping) else [value]
                found.setdefault(path, set()).update(values)
    return {path: sorted(values) for path, values in found.items()}


def aliases(model: str) -> dict[str, str]:
    """The published names that a model's settings can be given by, and the settings."""
    backbone, heads = split_name(model)
    parts = {"backbone": lookup("backbone", backbone)}
    parts |= {f"heads.{head}": lookup("head", head) for head in heads}
    unread = UNREAD.get(model, ())
    found = {}
    for name, path in {**ALIASES, **OWN_ALIASES.get(backbone, {})}.items():
        part = next((part for part in parts if path.startswith(f"{part}.")), None)
        own = part is None or path[len(part) + 1 :].split(".")[0] in parts[part].Config.model_fields
        elsewhere = part is None and path.startswith(("backbone.", "heads."))
        if own and not elsewhere and name not in unread:
            found[name] = path
    return found


def published_settings(
    model: str,
    dataset: str | None = None,
    mode: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> Settings:
    """The published settings of a model, of its training too, by their path.

    Args:
        model (str): As in :func:`build_model`.
        dataset (str, optional): As in :func:`published_values`. (default: ``None``)
        mode (str, optional): ``"as_published"`` or ``"as_in_paper"``: whether to follow the code
            that was published, quirks and all, or the papers. (default: ``"as_published"`` where
            the model was published)
        values (mapping, optional): Hyper-parameters under their published names, in place of the
            published ones. (default: ``None``)

    Raises:
        ConfigError: If the model is unknown, or was not published but is wanted as published.
    """
    published = model in published_table()
    mode = mode or ("as_published" if published else "as_in_paper")
    if mode not in ("as_published", "as_in_paper"):
        raise ConfigError(f"'mode' must be 'as_published' or 'as_in_paper', got {mode!r}.")
    if mode == "as_published" and not published:
        raise ConfigError(f"{model} was never published; take mode='as_in_paper'.")
    known = aliases(model)
    found = {} if "+" in model else published_values(model, dataset)
    settings = {
        known[name]: value for name, value in {**found, **(values or {})}.items() if name in known
    }
    backbone, _, variant = model.partition("_")
    own = AS_PUBLISHED if mode == "as_published" else AS_IN_PAPER
    departs = model if published else f"{HEAD_LENDER}_{variant}"
    defaults = {**DEFAULTS[""], **DEFAULTS.get(backbone, {}), **DEFAULTS.get(model, {})}
    return {**defaults, **settings, **own.get(departs, {})}


def model_config(model: str, settings: Mapping[str, Any]) -> ModelConfig:
    """The configuration of a named model with some settings, given by their path.

    Example:
        >>> model_config("lightgcn_plus", {"heads.profile.weight": 0.5}).heads["profile"]["weight"]
        0.5
    """
    backbone, heads = split_name(model)
    tree: dict[str, Any] = {"backbone": {"name": backbone}, "heads": {head: {} for head in heads}}
    for path, value in settings.items():
        top, *rest = path.split(".")
        if top == "training":
            continue
        if top not in ModelConfig.model_fields:
            meant = aliases(model).get(path)
            raise ConfigError(
                f"Unknown setting {path!r}; did you mean {meant!r}?"
                if meant
                else unknown_name("setting", top, [*ModelConfig.model_fields, "training"])
            )
        if top == "heads" and rest[:1] and rest[0] not in heads:
            raise ConfigError(f"{model}: {unknown_name('head', rest[0], list(heads))}")
        branch = tree
        for parent in [top, *rest][:-1]:
            if branch.get(parent) is None:
                branch[parent] = {}
            branch = branch[parent]
            if not isinstance(branch, dict):
                raise ConfigError(f"{path!r} is no setting: {parent!r} is a single value.")
        branch[path.rpartition(".")[2]] = value
    return ModelConfig.read(tree)


def build_model(
    name: str,
    data: HeteroData,
    dataset: str | None = None,
    mode: str | None = None,
    settings: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Recommender:
    """Builds a model by name.

    Args:
        name (str): A backbone, alone (``lightgcn``) or with ``_plus`` (RLMRec-Con), ``_gene``
            (RLMRec-Gen) or ``_int`` (IRLLRec) after it; or any backbone with any heads
            (``gnn+profile``). Every combination works, also those that nobody published.
        data (HeteroData): Data set; the heads need its texts.
        dataset (str, optional): Whose published hyper-parameters to take.
            (default: ``data.name``)
        mode (str, optional): As in :func:`published_settings`. (default: ``None``)
        settings (mapping, optional): Settings by their path, such as
            ``{"heads.intent.translation.weight": 0.01}``. (default: ``None``)
        **overrides: Hyper-parameters under their published names.

    Raises:
        ConfigError: If the model or a setting is unknown or out of bounds; it is named.
        MissingTextError: If the model needs texts that the data set lacks.

    Example:
        >>> build_model("lightgcn_int", data, dataset="movie", layer_num=2).backbone.num_layers
        2
    """
    if training := [path for path in settings or {} if path.startswith("training.")]:
        raise ConfigError(f"{training[0]!r} is of training; pass it to 'fit'.")
    own = published_settings(name, dataset or data.get("name"), mode)
    return Recommender.from_config(
        model_config(name, {**own, **rename(name, overrides), **(settings or {})}), data
    )


def rename(model: str, overrides: Mapping[str, Any]) -> Settings:
    """Settings of a model by their path, from hyper-parameters under their published names.

    Raises:
        ConfigError: If the model has no such hyper-parameter, or it is one of training.
    """
    known = aliases(model)
    for name in overrides:
        if name not in known:
            raise ConfigError(f"{model}: {unknown_name('hyper-parameter', name, list(known))}")
        if known[name].startswith("training."):
            raise ConfigError(f"{name!r} is of training; pass it to 'fit'.")
    return {known[name]: value for name, value in overrides.items()}


def load_published(
    name: str,
    state: Mapping[str, Tensor],
    data: HeteroData,
    hparams: Mapping[str, Any] | None = None,
    embedding_size: int | None = None,
    intent_num: int | None = None,
) -> Recommender:
    """Builds a model and fills it with weights of the published code.

    Args:
        name (str): As in :func:`build_model`.
        state (mapping): The published module's state dict.
        data (HeteroData): The data set it was trained on.
        hparams (mapping, optional): Hyper-parameters under their published names.
            (default: the published ones for ``data.name``)
        embedding_size (int, optional): Width of the embeddings. (default: as in ``state``)
        intent_num (int, optional): Number of intent prototypes. (default: as in ``state``)

    Returns:
        The object that :func:`build_model` returns, in the dtype of ``state``.

    Raises:
        ValueError: If a tensor is missing, left over or of another shape; it is named.
    """
    state = read_state(state)
    values = dict(hparams or {})
    for key, size, tensor in (
        ("embedding_size", embedding_size, "embedding"),
        ("intent_num", intent_num, "user_intent"),
    ):
        if size is not None or tensor in state:
            values[key] = size if size is not None else state[tensor].size(1)
    settings = published_settings(name, data.get("name"), values=values)
    model = Recommender.from_config(model_config(name, settings), data)
    model.to(next(iter(state.values())).dtype)
    fill(model, state, name)
    return model
