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
    BIGCF,
    DCCF,
    GCCF,
    SGL,
    AlphaRec,
    AutoCF,
    Backbone,
    Head,
    IntentAlignment,
    LightGCN,
    ProfileAlignment,
    ProfileReconstruction,
    Recommender,
    SimGCL,
)

Hyperparameters = dict[str, Any]
log = logging.getLogger(__name__)

# What a model needs that no published configuration of it names.
DEFAULTS: Hyperparameters = {"embedding_size": 32, "intent_num": 128, "reg_weight": 1e-6}
BACKBONE_DEFAULTS: dict[str, Hyperparameters] = {
    "gccf": {"self_loops": True},
    "alpharec": {"num_negatives": 256, "cosine": False},
}
VARIANT_DEFAULTS: dict[str, Hyperparameters] = {
    "plus": {"profile_negatives": True},
    "int": {
        "profile_negatives": True,
        "intent_negatives": True,
        "intent_view": None,
        "intent_shift": 0,
        "pairwise_only": False,
    },
}
# AutoCF has no use for negative items, in any loss of any variant.
MODEL_DEFAULTS: dict[str, Hyperparameters] = {
    "autocf_plus": {"profile_negatives": False},
    "autocf_int": {"profile_negatives": False},
}
# Where the published code of a variant differs from its siblings, on purpose or not.
AS_PUBLISHED: dict[str, Hyperparameters] = {
    "gccf_plus": {"self_loops": False},
    "gccf_gene": {"self_loops": False},
    "sgl_int": {"intent_view": 1, "pairwise_only": True},
    "simgcl_int": {"intent_negatives": False, "pairwise_only": True},
    "dccf_int": {"pairwise_only": True},
    "bigcf_int": {"intent_shift": 1, "pairwise_only": True},
}
# The newest published configuration sets both weights to 1e-7; these are those before it.
AS_IN_PAPER: dict[str, Hyperparameters] = {
    "lightgcn_int": {"kd_int_weight_2": 5e-4, "kd_int_weight_3": 1e-4}
}
# What the configurations name and neither the published code nor this one reads, by backbone or
# model: nothing would change if it was set, so it cannot be.
UNREAD: dict[str, tuple[str, ...]] = {
    "gccf": ("keep_rate",),
    "simgcl": ("keep_rate",),
    "alpharec": ("lm_model",),
    "bigcf_gene": ("cl_temperature",),
}
# Of training: arguments of `fit`, not of a model.
TRAINING = ("batch_size", "lr", "eval_every", "patience", "num_negatives")


def _gccf(data: HeteroData, h: Hyperparameters) -> Backbone:
    return GCCF(data, h["embedding_size"], h["layer_num"], self_loops=h["self_loops"])


def _lightgcn(data: HeteroData, h: Hyperparameters) -> Backbone:
    return LightGCN(data, h["embedding_size"], h["layer_num"], keep_rate=h["keep_rate"])


def _sgl(data: HeteroData, h: Hyperparameters) -> Backbone:
    return SGL(
        data,
        h["embedding_size"],
        h["layer_num"],
        augmentation=h["augmentation"],
        keep_rate=h["keep_rate"],
        **_contrast(h),
    )


def _simgcl(data: HeteroData, h: Hyperparameters) -> Backbone:
    return SimGCL(data, h["embedding_size"], h["layer_num"], noise=h["eps"], **_contrast(h))


def _dccf(data: HeteroData, h: Hyperparameters) -> Backbone:
    return DCCF(data, h["embedding_size"], h["layer_num"], h["intent_num"], **_contrast(h))


def _bigcf(data: HeteroData, h: Hyperparameters) -> Backbone:
    return BIGCF(
        data,
        h["embedding_size"],
        h["layer_num"],
        h["intent_num"],
        center_weight=h["cen_weight"],
        **_contrast(h),
    )


def _autocf(data: HeteroData, h: Hyperparameters) -> Backbone:
    return AutoCF(
        data,
        h["embedding_size"],
        h["gcn_layer"],
        h["gt_layer"],
        heads=h["head_num"],
        num_seeds=h["seed_num"],
        mask_depth=h["mask_depth"],
        keep_rate=h["keep_rate"],
        redraw_every=h["fix_steps"],
        weight=h["ssl_reg"],
    )


def _alpharec(data: HeteroData, h: Hyperparameters) -> Backbone:
    return AlphaRec(
        data,
        h["embedding_size"],
        h["layer_num"],
        keep_rate=h["keep_rate"],
        temperature=h["tau"],
        cosine=h["cosine"],
    )


def _contrast(h: Hyperparameters) -> Hyperparameters:
    # The variants with texts call the temperature of the backbone's own loss by another name.
    temperature = h["temperature"] if "temperature" in h else h["cl_temperature"]
    return {"weight": h["cl_weight"], "temperature": temperature}


def _plus(data: HeteroData, backbone: Backbone, h: Hyperparameters) -> list[Head]:
    return [
        ProfileAlignment(
            data,
            backbone,
            weight=h["kd_weight"],
            temperature=h["kd_temperature"],
            negatives=h["profile_negatives"],
        )
    ]


def _gene(data: HeteroData, backbone: Backbone, h: Hyperparameters) -> list[Head]:
    return [
        ProfileReconstruction(
            data,
            backbone,
            mask_ratio=h["mask_ratio"],
            weight=h["recon_weight"],
            temperature=h["re_temperature"],
        )
    ]


def _int(data: HeteroData, backbone: Backbone, h: Hyperparameters) -> list[Head]:
    translation: Hyperparameters = {"weight": h["kd_int_weight_2"]}
    matching: Hyperparameters = {"weight": h["kd_int_weight_3"]}
    if h["mode"] == "as_published":
        translation |= {"noise": "multiplicative", "nodes": "all"}
        matching |= {"target": "predictions"}
    return [
        *_plus(data, backbone, h),
        IntentAlignment(
            data,
            backbone,
            num_intents=h["intent_num"],
            temperature=h["kd_int_temperature"],
            view=h["intent_view"],
            shift=h["intent_shift"],
            pairwise={"weight": h["kd_int_weight"], "negatives": h["intent_negatives"]},
            translation=None if h["pairwise_only"] else translation,
            matching=None if h["pairwise_only"] else matching,
        ),
    ]


BACKBONES: dict[str, Callable[[HeteroData, Hyperparameters], Backbone]] = {
    "gccf": _gccf,
    "lightgcn": _lightgcn,
    "sgl": _sgl,
    "simgcl": _simgcl,
    "dccf": _dccf,
    "autocf": _autocf,
    "bigcf": _bigcf,
    "alpharec": _alpharec,
}
VARIANTS: dict[str, Callable[[HeteroData, Backbone, Hyperparameters], list[Head]]] = {
    "": lambda data, backbone, h: [],
    "plus": _plus,
    "gene": _gene,
    "int": _int,
}
# Where a variant of a backbone was never published, a published one lends what the heads need.
HEAD_LENDER = "lightgcn"


def model_names() -> list[str]:
    """Every published name that :func:`build_model` takes."""
    return [name for name in sorted(_configured()) if name.partition("_")[0] in BACKBONES]


def split_name(name: str) -> tuple[str, str]:
    """Splits a published name into backbone and variant, ``lightgcn_int`` into two words.

    Raises:
        ValueError: If there is no such backbone or variant.
    """
    backbone, _, variant = name.partition("_")
    if backbone not in BACKBONES or variant not in VARIANTS:
        raise ValueError(
            f"Unknown model {name!r}; a name is one of {', '.join(BACKBONES)}, alone "
            "or with _plus, _gene or _int behind it."
        )
    return backbone, variant


def _configured() -> set[str]:
    folder = resources.files("irllrec_pyg.configs")
    return {
        path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml")
    }


def load_hyperparameters(
    model: str, dataset: str | None = None, mode: str | None = None
) -> Hyperparameters:
    """The published configuration of a model on a data set, under the published names.

    What no configuration names (``self_loops``, ``intent_view``, ...) stands beside it, by the
    published code or by the paper. A variant that nobody published takes what the backbone needs
    from its ``_plus`` variant and what the heads need from that of LightGCN.

    Args:
        model (str): As in :func:`build_model`.
        dataset (str, optional): ``amazon``, ``yelp``, ``movie`` or ``steam``; ``movielens``, for
            which nobody published any, has settings of this package. Where the model has no
            configuration for it, Amazon's is taken and a log line says so. (default: ``None``)
        mode (str, optional): ``"as_published"`` or ``"as_in_paper"``. (default:
            ``"as_published"`` where the model was published)

    Raises:
        ValueError: If the model is unknown, or was not published but is wanted as published.
    """
    backbone, variant = split_name(model)
    published = model in _configured()
    mode = mode or ("as_published" if published else "as_in_paper")
    if mode not in ("as_published", "as_in_paper"):
        raise ValueError(f"'mode' must be 'as_published' or 'as_in_paper', got {mode!r}.")
    if mode == "as_published" and not published:
        raise ValueError(f"{model} was never published; take mode='as_in_paper'.")
    if published:
        config = _published_config(model, dataset)
    else:
        own = next(name for name in (f"{backbone}_plus", backbone) if name in _configured())
        lender = f"{HEAD_LENDER}_{variant}"
        log.info(
            "%s was never published; hyper-parameters are those of %s, and of %s for the texts.",
            model,
            own,
            lender,
        )
        config = {**_head_config(lender, dataset), **_published_config(own, dataset)}
    extra = AS_PUBLISHED.get(model, {})
    if mode == "as_in_paper":
        extra = AS_IN_PAPER.get(model if published else lender, {})
    return {
        **DEFAULTS,
        **BACKBONE_DEFAULTS.get(backbone, {}),
        **VARIANT_DEFAULTS.get(variant, {}),
        **MODEL_DEFAULTS.get(model, {}),
        **config,
        **extra,
        "mode": mode,
    }


def _published_config(model: str, dataset: str | None) -> Hyperparameters:
    file = resources.files("irllrec_pyg.configs") / f"{model}.yaml"
    by_dataset = yaml.safe_load(file.read_text())
    if dataset not in by_dataset:
        log.info(
            "%s has no published hyper-parameters for %s; Amazon-book's are used.", model, dataset
        )
    config: Hyperparameters = by_dataset.get(dataset, by_dataset["amazon"])
    return config


def _head_config(model: str, dataset: str | None) -> Hyperparameters:
    alone = _published_config(HEAD_LENDER, dataset)
    return {
        key: value for key, value in _published_config(model, dataset).items() if key not in alone
    }


def unread(model: str) -> set[str]:
    """Hyper-parameters that a model has only on paper: setting them would change nothing."""
    backbone, variant = split_name(model)
    names = {*UNREAD.get(backbone, ()), *UNREAD.get(model, ())}
    return names if variant == "int" or backbone in ("dccf", "bigcf") else {*names, "intent_num"}


def build_model(
    name: str, data: HeteroData, dataset: str | None = None, **overrides: Any
) -> Recommender:
    """Builds a published model.

    Args:
        name (str): A backbone, alone (``lightgcn``) or with ``_plus`` (RLMRec-Con), ``_gene``
            (RLMRec-Gen) or ``_int`` (IRLLRec) behind it. Every combination works, also those that
            nobody published.
        data (HeteroData): Data set; the variants need its texts.
        dataset (str, optional): Whose published hyper-parameters to take.
            (default: ``data.name``)
        **overrides: Hyper-parameters under their published names, and ``mode``
            (``"as_published"`` or ``"as_in_paper"``): whether to follow the code that was
            published, quirks and all, or the papers.

    Raises:
        ValueError: If the model or a hyper-parameter is unknown.
        MissingTextError: If the model needs texts that the data set lacks.

    Example:
        >>> model = build_model("lightgcn_int", data, dataset="movie", layer_num=2)
    """
    backbone_name, variant = split_name(name)
    hparams = load_hyperparameters(name, dataset or data.get("name"), overrides.get("mode"))
    if wrong := sorted(set(overrides) & set(TRAINING)):
        raise ValueError(f"{', '.join(wrong)} is of training; pass it to 'fit'.")
    known = set(hparams) - unread(name)
    if unknown := sorted(set(overrides) - known):
        raise ValueError(
            f"{name} has no hyper-parameter {', '.join(unknown)}; it has "
            f"{', '.join(sorted(known))}."
        )
    hparams.update(overrides)
    backbone = BACKBONES[backbone_name](data, hparams)
    heads = VARIANTS[variant](data, backbone, hparams)
    return Recommender(backbone, heads, reg_weight=hparams["reg_weight"])


# Parameters of the published modules that no forward pass of theirs reads.
UNUSED = ("gcnLayers.", "itm_head.", "itm_mlp.", "logit_scale")
EMBEDDINGS = [
    (f"user_{name}", f"item_{name}") for name in ("embeds", "embeds.weight", "embedding.weight")
]


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
    # AutoCF's mask token goes by a name of its own.
    state = {
        key.removeprefix("gene_"): value
        for key, value in state.items()
        if not key.startswith(UNUSED)
    }
    for user, item in EMBEDDINGS:
        if user in state:
            state["embedding"] = torch.cat([state.pop(user), state.pop(item)])
    sizes = {
        "embedding_size": (embedding_size, "embedding"),
        "intent_num": (intent_num, "user_intent"),
    }
    found = {
        key: given or (state[tensor].size(1) if tensor in state else DEFAULTS[key])
        for key, (given, tensor) in sizes.items()
    }
    given = {**dict(hparams or {}), **found}
    model = build_model(name, data, **{key: given[key] for key in given if key not in unread(name)})
    model.to(next(iter(state.values())).dtype)
    targets = _published_names(model)
    left = sorted(set(state) - set(targets))
    missing = sorted(key for key in set(targets) - set(state) if not key.startswith("int_mlp_m."))
    if left or missing:
        raise ValueError(
            f"The state dict of {name} does not fit: missing {missing}, unknown {left}."
        )
    with torch.no_grad():
        for key, value in state.items():
            if targets[key].shape != value.shape:
                raise ValueError(
                    f"{key} has shape {tuple(value.shape)}; {name} on this data set "
                    f"wants {tuple(targets[key].shape)}."
                )
            targets[key].copy_(value)
    for head in model.heads:
        if isinstance(head, IntentAlignment) and "int_mlp_m.0.weight" not in state:
            head.reset_teacher()
    return model


def _published_names(model: Recommender) -> dict[str, Tensor]:
    names: dict[str, Tensor] = {}
    backbone = model.backbone
    prototypes = backbone.intents
    if backbone.learns_embedding:
        names["embedding"] = backbone.embedding
    if isinstance(backbone, AlphaRec):
        names |= {f"mlp.{key}": value for key, value in backbone.mlp.named_parameters()}
    if isinstance(backbone, AutoCF):
        for i, layer in enumerate(backbone.transformers):  # published: x W, not x W^T
            names |= {
                f"gtLayers.{i}.{key[0]}Trans": value.t() for key, value in layer.named_parameters()
            }
    for head in model.heads:
        if isinstance(head, (ProfileAlignment, ProfileReconstruction)):
            names |= {f"mlp.{key}": value for key, value in head.mlp.named_parameters()}
        if isinstance(head, ProfileReconstruction):
            names["masker.mask_token"] = head.mask_token
        if isinstance(head, IntentAlignment):
            names |= {f"int_mlp.{key}": value for key, value in head.mlp.named_parameters()}
            prototypes = head.student_intents
            if head.matching is not None:
                names |= {
                    f"int_mlp_m.{key}": value
                    for key, value in head.matching.teacher["mlp"].named_parameters()
                }
    if prototypes is not None:
        names |= {"user_intent": prototypes.user, "item_intent": prototypes.item}
    return names
