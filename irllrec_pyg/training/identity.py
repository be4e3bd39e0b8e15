"""What a training run depends on, in words, so that a run is never resumed as another one."""

import hashlib
import os
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import Config
from ..edges import EDGE_TYPE, PAIRS
from ..nn import ModelConfig, Recommender
from ..ranker_file import IDS
from ..registry import Configured
from ..tensor_file import CheckpointError
from .config import TrainingConfig

Scalar = (bool, int, float, str)


class Identity:
    """The settings of a run, its model and its interactions.

    A model is described by the configurations of its modules, its parameters' shapes and the
    digests of its ids and texts; a module without a configuration by its class and its plain
    attributes, which are compared only where both sides have them.

    Args:
        model (torch.nn.Module): The model; modules of other packages are described too.
        data (HeteroData, optional): The data set it is trained on. (default: ``None``)
        config (TrainingConfig, optional): How it is trained. (default: ``None``)
        **further: Further settings, as values for JSON.

    Attributes:
        values (dict): Values for JSON by name, such as ``{"lr": 0.001, "model.backbone.num_layers":
            3, "modules": {...}}``.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        data: HeteroData | None = None,
        config: TrainingConfig | None = None,
        **further: Any,
    ) -> None:
        self.values: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        if config is not None:
            self._add(config, "")
            for name in config.FREE:
                del self.values[name]
            # How many, and not which ones.
            self.values["devices"], self.defaults["devices"] = str(config.num_devices), "1"
        self.values |= further
        modules: dict[str, Any] = {}
        self._describe(model, "model", modules)
        self.values |= _tensors(model)
        for side in IDS:
            if (ids := getattr(model, side, None)) is not None:
                digest = hashlib.blake2b(repr(list(ids)).encode(), digest_size=8).hexdigest()
                self.values[side] = f"{len(ids)} {digest}"
        if data is not None:
            for split, key in PAIRS.items():
                pairs = data[EDGE_TYPE].get(key)
                self.values[f"{split} interactions"] = (
                    None if pairs is None else f"{_shape(pairs)} {_digest(pairs)}"
                )
        self.values["modules"] = modules

    def _describe(self, module: torch.nn.Module, prefix: str, modules: dict[str, Any]) -> None:
        """Adds a module's settings; without a configuration, its plain attributes and parts."""
        if isinstance(module, Recommender):
            own = {n: getattr(module, n) for n in ("reg_weight", "similarity", "text_rank")}
            self._add(ModelConfig.read(own), f"{prefix}.", own)
            for part in (module.backbone, module.ranking_loss):
                if part is not None:
                    self._describe(part, f"{prefix}.{part.kind}", modules)
            for label, head in module.named_heads():
                self._describe(head, f"{prefix}.heads.{label}", modules)
            return
        if isinstance(module, Configured):
            self.values[prefix] = module.registered_name or type(module).__name__
            self._add(module.config, f"{prefix}.")
        # What is registered follows from its settings, but for parts that somebody else made.
        registered = isinstance(module, Configured) and bool(module.registered_name)
        if not registered:
            modules[f"class of {prefix}"] = type(module).__name__
            modules |= _attributes(module, f"{prefix}.")
        for name, child in module.named_children():
            ours = type(child).__module__.split(".")[0] in ("torch", "irllrec_pyg")
            if not (registered and ours):
                self._describe(child, f"{prefix}.{name}", modules)

    def _add(self, config: Config, prefix: str, only: Collection[str] | None = None) -> None:
        for found, values in (
            (self.values, config.to_dict()),
            (self.defaults, type(config)().to_dict()),
        ):
            found |= _flat({n: v for n, v in values.items() if only is None or n in only}, prefix)

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """Says which settings differ, one sentence each.

        What ``stored`` does not have counts as today's default: a run stays what it was when a
        setting is added to the package.
        """
        modules, kept = self.values["modules"], stored.get("modules")
        kept = kept if isinstance(kept, dict) else {}
        here = {n: v for n, v in self.values.items() if n != "modules"}
        there = {**{n: self.defaults[n] for n in here if n in self.defaults}, **stored}
        there.pop("modules", None)
        pairs = [(n, kept[n], modules[n]) for n in kept if n in modules]
        for name in dict.fromkeys([*there, *here]):
            pairs.append((name, there.get(name, "not set"), here.get(name, "not set")))
        return [f"{name} is {a} there and {b} here" for name, a, b in pairs if a != b]

    def check(self, stored: Any, path: str | os.PathLike[str]) -> None:
        """Refuses to go on with what was begun with other settings.

        Raises:
            CheckpointError: If a setting differs; the first ones are named.
        """
        advice = "Use another folder, or resume=False to start over."
        if not isinstance(stored, dict) or "modules" not in stored:
            raise CheckpointError(
                f"{path} is of version 0.1.0, whose settings cannot be compared. {advice}"
            )
        if found := self.differences(stored):
            more = f", and {len(found) - 5} more" if len(found) > 5 else ""
            raise CheckpointError(
                f"{path} was written with other settings: {'; '.join(found[:5])}{more}. {advice}"
            )


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _attributes(module: torch.nn.Module, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in vars(module).items():
        items = value if isinstance(value, (list, tuple)) else [value]
        plain = len(items) <= 16 and all(isinstance(item, Scalar) for item in items)
        if plain and key != "training" and not key.startswith("_"):
            found[f"{prefix}{key}"] = list(value) if items is value else value
    return found


def _tensors(model: torch.nn.Module) -> dict[str, str]:
    found = {f"model.{name}": _shape(value) for name, value in model.named_parameters()}
    kept = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        # Texts are matrices that checkpoints do not hold; vectors belong to the graph.
        if name not in kept and buffer.is_floating_point() and buffer.dim() > 1:
            found[f"model.{name}"] = f"{_shape(buffer)} {_digest(buffer)}"
    return found


def _shape(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape))} {str(tensor.dtype).removeprefix('torch.')}"


def _digest(tensor: Tensor) -> str:
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(data.data, digest_size=8).hexdigest()
