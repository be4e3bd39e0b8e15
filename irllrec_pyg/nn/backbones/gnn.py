"""Any PyG model as a recommender."""

import inspect
from typing import Any

import torch
import torch_geometric.nn.models as pyg_models
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn.models.basic_gnn import BasicGNN

from ...config import ConfigError, Settings, field, unknown_name
from ...registry import register
from ..graph import InteractionGraph
from .base import Backbone, Encoding


@register("gnn")
class GNNBackbone(Backbone):
    r"""Turns any graph neural network ``x, edge_index -> x`` into a backbone.

    The network runs on the homogeneous training graph (users first, both directions) and on
    learnable node embeddings. Scores are dot products of its output, and every alignment head
    works on top; for heads that read layers, these are ``[input, output]``.

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        config (Config or mapping, optional): Settings. (default: those of the class)
        gnn (torch.nn.Module or str, optional): A network, called as ``gnn(x, edge_index)``, or as
            ``gnn(x, edge_index, edge_weight=w)`` with the symmetrically normalised weights where
            ``edge_weight`` is set; its input width is ``embedding_size``. Or the name of one of
            PyG's basic models, which is built with ``num_layers`` layers.
            (default: ``"GraphSAGE"``)
        **settings: Settings that take the place of these.

    Example:
        >>> from torch_geometric.nn import GAT
        >>> backbone = GNNBackbone(data, gnn=GAT(32, 32, num_layers=2))

    Raises:
        ConfigError: If the network's output is not as wide as its input (heads compare both), it
            does not take ``edge_weight`` though asked to, or PyG has no model of the name.
    """

    class Config(Backbone.Config):
        gnn: str = field("GraphSAGE", help="name of one of PyG's basic models")
        num_layers: int = field(2, ge=1, le=100, help="number of layers of a model given by name")
        edge_weight: bool = field(False, help="whether the network is given edge weights")

    config: Config

    def __init__(
        self,
        data: HeteroData,
        config: Settings = None,
        *,
        gnn: torch.nn.Module | str | None = None,
        **settings: Any,
    ) -> None:
        if gnn is not None:
            settings["gnn"] = repr(gnn) if isinstance(gnn, torch.nn.Module) else gnn
        super().__init__(data, config, **settings)
        self.network = gnn if isinstance(gnn, torch.nn.Module) else self._by_name()
        self._check()

    def reset_parameters(self) -> None:
        """Draws new embeddings, and new weights of a network that can draw its own."""
        super().reset_parameters()
        reset = getattr(self.network, "reset_parameters", None)
        if callable(reset):
            reset()

    def _by_name(self) -> torch.nn.Module:
        name, size = self.config.gnn, self.embedding_size
        known = {
            key
            for key, value in vars(pyg_models).items()
            if isinstance(value, type) and issubclass(value, BasicGNN) and value is not BasicGNN
        }
        if name not in known:
            if "(" in name:
                raise ConfigError(f"'gnn' was a network of one's own, {name}: pass it as 'gnn'.")
            raise ConfigError(unknown_name("gnn", name, sorted(known)))
        network: torch.nn.Module = getattr(pyg_models, name)(
            size, size, self.config.num_layers, size
        )
        return network

    def _check(self) -> None:
        kind = type(self.network).__name__
        if self.config.edge_weight and (
            "edge_weight" not in inspect.signature(self.network.forward).parameters
        ):
            raise ConfigError(f"'edge_weight' is set and {kind}.forward does not take it.")
        mode = self.network.training
        with torch.no_grad():
            edge_index = torch.tensor([[0, 1], [1, 0]])
            width = self.network.eval()(self.embedding[:2], edge_index).size(-1)
        self.network.train(mode)
        if width != self.embedding_size:
            raise ConfigError(
                f"'embedding_size' must be the width that {kind} returns, {width}, got "
                f"{self.embedding_size}."
            )

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Runs the network; it has no augmentation."""
        weight = {"edge_weight": graph.normalized(x.dtype)} if self.config.edge_weight else {}
        out = self.network(x, graph.edge_index, **weight)
        return Encoding(out, (x, out))
