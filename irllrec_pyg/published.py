"""Names, hyper-parameters and weights of the published code."""

import logging
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import torch
import yaml
from torch import Tensor
from torch_geometric.data import HeteroData

from .nn import (
    Backbone,
    Head,
    IntentAlignment,
    LightGCN,
    ProfileAlignment,
    ProfileReconstruction,
    Recommender,
)

Hyperparameters = dict[str, Any]
log = logging.getLogger(__name__)

# What a model needs that no published configuration of it names.
DEFAULTS: Hyperparameters = {"embedding_size": 32, "intent_num": 128, "reg_weight": 1e-6,
                             "mode": "as_published"}
# Of training; `build_model` takes no notice of them.
TRAINING = ("batch_size", "lr", "eval_every", "patience")


def _lightgcn(data: HeteroData, h: Hyperparameters) -> Backbone:
    return LightGCN(data, h["embedding_size"], num_layers=h["layer_num"], keep_rate=h["keep_rate"])


def _plus(data: HeteroData, backbone: Backbone, h: Hyperparameters) -> list[Head]:
    return [ProfileAlignment(data, backbone.out_channels, weight=h["kd_weight"],
                             temperature=h["kd_temperature"])]


def _gene(data: HeteroData, backbone: Backbone, h: Hyperparameters) -> list[Head]:
    return [ProfileReconstruction(data, backbone.embedding_size, backbone.out_channels,
                                  mask_ratio=h["mask_ratio"], weight=h["recon_weight"],
                                  temperature=h["re_temperature"])]


def _int(data: HeteroData, backbone: Backbone, h: Hyperparameters) -> list[Head]:
    weights = {"translation_weight": h["kd_int_weight_2"], "matching_weight": h["kd_int_weight_3"]}
    return [*_plus(data, backbone, h),
            IntentAlignment(data, backbone.embedding_size, num_intents=h["intent_num"],
                            weight=h["kd_int_weight"], temperature=h["kd_int_temperature"],
                            mode=h["mode"], **weights)]


BACKBONES: dict[str, Callable[[HeteroData, Hyperparameters], Backbone]] = {
    "lightgcn": _lightgcn,
}
VARIANTS: dict[str, Callable[[HeteroData, Backbone, Hyperparameters], list[Head]]] = {
    "": lambda data, backbone, h: [],
    "plus": _plus,
    "gene": _gene,
    "int": _int,
}


def model_names() -> list[str]:
    """Every published name that :func:`build_model` takes."""
    return [name for name in sorted(_configured()) if split_name(name)[0] in BACKBONES]


def split_name(name: str) -> tuple[str, str]:
    """Splits a published name into backbone and variant, ``lightgcn_int`` into two words.

    Raises:
        ValueError: If there is no such backbone or variant.
    """
    backbone, _, variant = name.partition("_")
    if backbone not in BACKBONES or variant not in VARIANTS:
        raise ValueError(f"Unknown model {name!r}; a name is one of {', '.join(BACKBONES)}, alone "
                         "or with _plus, _gene or _int behind it.")
    return backbone, variant


def _configured() -> set[str]:
    folder = resources.files("irllrec_pyg.configs")
    return {path.name.removesuffix(".yaml") for path in folder.iterdir()
            if path.name.endswith(".yaml")}


def load_hyperparameters(model: str, dataset: str | None = None) -> Hyperparameters:
    """The published configuration of a model on a data set, under the published names.

    Args:
        model (str): As in :func:`build_model`.
        dataset (str, optional): ``amazon``, ``yelp``, ``movie`` or ``steam``. Where the model has
            no configuration for it, Amazon's is taken and a log line says so.
            (default: ``None``)

    Raises:
        ValueError: If the model is unknown.
    """
    split_name(model)
    file = resources.files("irllrec_pyg.configs") / f"{model}.yaml"
    if not file.is_file():
        raise ValueError(f"{model!r} has no published configuration.")
    published = yaml.safe_load(file.read_text())
    if dataset not in published:
        log.info("%s has no published hyper-parameters for %s; Amazon-book's are used.", model,
                 dataset)
    return {**DEFAULTS, **published.get(dataset, published["amazon"])}


def build_model(name: str, data: HeteroData, dataset: str | None = None,
                **overrides: Any) -> Recommender:
    """Builds a published model.

    Args:
        name (str): A backbone, alone (``lightgcn``) or with ``_plus`` (RLMRec-Con), ``_gene``
            (RLMRec-Gen) or ``_int`` (IRLLRec) behind it.
        data (HeteroData): Data set; the variants need its texts.
        dataset (str, optional): Whose published hyper-parameters to take.
            (default: ``data.name``)
        **overrides: Hyper-parameters under their published names, and ``mode``
            (``"as_published"`` or ``"as_in_paper"``) of :class:`~irllrec_pyg.nn.IntentAlignment`.

    Raises:
        ValueError: If the model or a hyper-parameter is unknown.
        MissingTextError: If the model needs texts that the data set lacks.

    Example:
        >>> model = build_model("lightgcn_int", data, dataset="movie", layer_num=2)
    """
    backbone_name, variant = split_name(name)
    hparams = load_hyperparameters(name, dataset or data.get("name"))
    unknown = sorted(set(overrides) - set(hparams))
    if unknown:
        raise ValueError(f"{name} has no hyper-parameter {', '.join(unknown)}; it has "
                         f"{', '.join(sorted(hparams))}.")
    hparams.update(overrides)
    backbone = BACKBONES[backbone_name](data, hparams)
    heads = VARIANTS[variant](data, backbone, hparams)
    return Recommender(backbone, heads, reg_weight=hparams["reg_weight"])


# Parameters of the published modules that no forward pass of theirs reads.
UNUSED = ("gcnLayers.", "itm_head.", "itm_mlp.", "logit_scale")
EMBEDDINGS = [(f"user_{name}", f"item_{name}") for name in
              ("embeds", "embeds.weight", "embedding.weight")]


def load_published(name: str, state: Mapping[str, Tensor], data: HeteroData,
                   hparams: Mapping[str, Any] | None = None, embedding_size: int | None = None,
                   intent_num: int | None = None) -> Recommender:
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
    state = {key: value for key, value in state.items() if not key.startswith(UNUSED)}
    for user, item in EMBEDDINGS:
        if user in state:
            state["embedding"] = torch.cat([state.pop(user), state.pop(item)])
    sizes = {"embedding_size": (embedding_size, "embedding"), "intent_num": (intent_num,
                                                                             "user_intent")}
    found = {key: given or (state[tensor].size(1) if tensor in state else DEFAULTS[key])
             for key, (given, tensor) in sizes.items()}
    model = build_model(name, data, **{**dict(hparams or {}), **found})
    targets = _published_names(model)
    left = sorted(set(state) - set(targets))
    missing = sorted(key for key in set(targets) - set(state) if not key.startswith("int_mlp_m."))
    if left or missing:
        raise ValueError(f"The state dict of {name} does not fit: missing {missing}, "
                         f"unknown {left}.")
    model.to(next(iter(state.values())).dtype)
    with torch.no_grad():
        for key, value in state.items():
            if targets[key].shape != value.shape:
                raise ValueError(f"{key} has shape {tuple(value.shape)}; {name} on this data set "
                                 f"wants {tuple(targets[key].shape)}.")
            targets[key].copy_(value)
    for head in model.heads:
        if isinstance(head, IntentAlignment) and "int_mlp_m.0.weight" not in state:
            head.reset_teacher()
    return model


def _published_names(model: Recommender) -> dict[str, Tensor]:
    names: dict[str, Tensor] = {"embedding": model.backbone.embedding}
    for head in model.heads:
        if isinstance(head, (ProfileAlignment, ProfileReconstruction)):
            names |= {f"mlp.{key}": value for key, value in head.mlp.named_parameters()}
        if isinstance(head, ProfileReconstruction):
            names["masker.mask_token"] = head.mask_token
        if isinstance(head, IntentAlignment):
            names |= {f"int_mlp.{key}": value for key, value in head.mlp.named_parameters()}
            names |= {"user_intent": head.tower.user_prototypes,
                      "item_intent": head.tower.item_prototypes}
            if "mlp" in head.teacher:
                names |= {f"int_mlp_m.{key}": value
                          for key, value in head.teacher["mlp"].named_parameters()}
    return names
