"""What a training run depends on, in words, so that a run is never resumed as another one."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import Config
from ..edges import EDGE_TYPE

Scalar = (bool, int, float, str)


def describe(model: torch.nn.Module, data: HeteroData | None = None) -> dict[str, Any]:
    """Lists the classes, plain attributes, parameters and texts of a model, and the interactions.

    Tensors are given by shape and digest. Any module is described, also those of other packages.

    Args:
        model (torch.nn.Module): The model.
        data (HeteroData, optional): The data set it is trained on. (default: ``None``)

    Returns:
        Values for JSON by name, such as ``{"model.backbone.num_layers": 3}``.
    """
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        prefix = f"model.{name}" if name else "model"
        found[prefix] = type(module).__name__
        config = getattr(module, "config", None)
        settings = config.to_dict() if isinstance(config, Config) else {}
        for key, value in {**vars(module), **settings}.items():
            if key.startswith("_") or key == "training":
                continue
            if isinstance(value, Scalar):
                found[f"{prefix}.{key}"] = value
            elif (
                isinstance(value, (list, tuple))
                and len(value) <= 16
                and all(isinstance(item, Scalar) for item in value)
            ):
                found[f"{prefix}.{key}"] = list(value)
    for name, parameter in model.named_parameters():
        found[f"model.{name}"] = _shape(parameter)
    kept = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        # Texts are matrices that checkpoints do not hold; vectors belong to the graph.
        if name not in kept and buffer.is_floating_point() and buffer.dim() > 1:
            found[f"model.{name}"] = f"{_shape(buffer)} {_digest(buffer)}"
    if data is not None:
        for split, key in (
            ("training", "edge_index"),
            ("validation", "val_edge_label_index"),
            ("test", "edge_label_index"),
        ):
            pairs = data[EDGE_TYPE].get(key)
            found[f"{split} interactions"] = (
                None if pairs is None else (f"{_shape(pairs)} {_digest(pairs)}")
            )
    return found


def differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Says which settings differ, one sentence each."""
    missing = "not set"
    return [
        f"{name} is {stored.get(name, missing)} there and {current.get(name, missing)} here"
        for name in [*stored, *(name for name in current if name not in stored)]
        if stored.get(name, missing) != current.get(name, missing)
    ]


def _shape(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape))} {str(tensor.dtype).removeprefix('torch.')}"


def _digest(tensor: Tensor) -> str:
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(data.data, digest_size=8).hexdigest()
