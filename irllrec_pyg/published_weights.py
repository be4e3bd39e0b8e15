"""Weights of the published code, by its names."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .nn import IntentAlignment
from .nn.recommender import Recommender

# Own parameters (by the name of the part, then a prefix) -> published ones.
WEIGHTS: dict[str, dict[str, str]] = {
    "profile": {"mlp": "mlp"},
    "reconstruction": {"mlp": "mlp", "mask_token": "masker.mask_token"},
    "intent": {
        "mlp": "int_mlp",
        "parts.matching.teacher.mlp": "int_mlp_m",
        "intents.user": "user_intent",
        "intents.item": "item_intent",
    },
}
BACKBONE_WEIGHTS = {
    "embedding": "embedding",
    "mlp": "mlp",
    "intents.user": "user_intent",
    "intents.item": "item_intent",
    **{
        f"transformers.{layer}.{part}.weight": f"gtLayers.{layer}.{part[0]}Trans"
        for layer in range(8)
        for part in ("query", "key", "value")
    },
}
# Parameters of the published modules that no forward pass of theirs reads.
UNUSED = ("gcnLayers.", "itm_head.", "itm_mlp.", "logit_scale")
EMBEDDINGS = [
    (f"user_{name}", f"item_{name}") for name in ("embeds", "embeds.weight", "embedding.weight")
]


def read_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict without what no pass reads, and with one matrix of embeddings."""
    # AutoCF's mask token goes by a name of its own.
    found = {
        key.removeprefix("gene_"): value
        for key, value in state.items()
        if not key.startswith(UNUSED)
    }
    for user, item in EMBEDDINGS:
        if user in found:
            found["embedding"] = torch.cat([found.pop(user), found.pop(item)])
    return found


@torch.no_grad()
def fill(model: Recommender, state: Mapping[str, Tensor], name: str) -> None:
    """Copies weights into a model; a teacher that has none of its own begins as its student.

    Args:
        model (Recommender): The model.
        state (mapping): What :func:`read_state` gives.
        name (str): What messages call the model.

    Raises:
        ValueError: If a tensor is missing, left over or of another shape; it is named.
    """
    targets = _published_names(model)
    left = sorted(set(state) - set(targets))
    missing = sorted(key for key in set(targets) - set(state) if not key.startswith("int_mlp_m."))
    if left or missing:
        raise ValueError(
            f"The state dict of {name} does not fit: missing {missing}, unknown {left}."
        )
    for key, value in state.items():
        if targets[key].shape != value.shape:
            raise ValueError(
                f"{key} has shape {tuple(value.shape)}; {name} on this data set "
                f"wants {tuple(targets[key].shape)}."
            )
        targets[key].copy_(value)
    if "int_mlp_m.0.weight" not in state:
        for _, head in model.named_heads():
            if isinstance(head, IntentAlignment):
                head.reset_teacher()


def _published_names(model: Recommender) -> dict[str, Tensor]:
    names: dict[str, Tensor] = {}
    parts: list[tuple[dict[str, str], torch.nn.Module]] = [(BACKBONE_WEIGHTS, model.backbone)]
    parts += [(WEIGHTS[head.registered_name], head) for _, head in model.named_heads()]
    for table, part in parts:
        for own, tensor in part.named_parameters():
            prefix = next((key for key in table if f"{own}.".startswith(f"{key}.")), None)
            if prefix is not None:
                published = table[prefix] + own[len(prefix) :]
                # The published transformer multiplies x W, where ours multiplies x W^T.
                names[published] = tensor.t() if published.startswith("gtLayers.") else tensor
    return names
