"""The neighbourhoods of a batch, for graphs that are not propagated as a whole."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_geometric.typing
from torch import Tensor
from torch_geometric.sampler import (
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NeighborSampler,
    NodeSamplerInput,
    SamplerOutput,
)

from ..edges import EDGE_TYPE, REVERSE_TYPE
from ..sparse import pointers, ranges
from .draws import default_generator_seeded, stream_key, uniform_below
from .interactions import InteractionIndex, as_int


def check_num_neighbors(num_neighbors: Sequence[int]) -> list[int]:
    r"""Reads ``num_neighbors``: a number of neighbours a hop, ``-1`` for all of them."""
    if isinstance(num_neighbors, (str, int, dict)) or not isinstance(num_neighbors, Sequence):
        raise TypeError(
            f"'num_neighbors' must be a list with one number a hop, got {num_neighbors!r}."
        )
    numbers = [as_int(number, "num_neighbors", low=-1) for number in num_neighbors]
    if not numbers or 0 in numbers:
        raise ValueError(
            f"'num_neighbors' must hold at least one hop, and for each a positive number or -1 "
            f"for all neighbors, got {numbers}."
        )
    return numbers


def edge_weight(
    interactions: InteractionIndex, out: HeteroSamplerOutput
) -> dict[tuple[str, str, str], Tensor]:
    r"""The weights :math:`1 / \sqrt{\deg(u) \deg(i)}` of sampled edges.

    Degrees are those of the whole training graph: a sampled neighbour then counts as much as it
    does there, and with all neighbours the propagation is the one over the whole graph.
    """
    user_degree = interactions.user_degree[out.node["user"]]
    item_degree = interactions.item_degree[out.node["item"]]
    dtype = torch.get_default_dtype()
    weight = {}
    for edge_type, row in out.row.items():
        col = out.col[edge_type]
        user, item = (row, col) if edge_type == EDGE_TYPE else (col, row)
        weight[edge_type] = (user_degree[user] * item_degree[item]).to(dtype).rsqrt()
    return weight


@dataclass
class _Side:
    r"""The incoming edges of one node type, sorted by its nodes."""

    edge_type: tuple[str, str, str]
    source: str  # The node type at the other end.
    pointer: Tensor
    neighbor: Tensor
    edge: Tensor | None  # Ids of the interactions, where they are not simply counted up.


class TorchNeighborhood:
    r"""Samples neighbours without replacement in plain PyTorch, on the device of the graph.

    As in PyG, a node is expanded once, in the hop after the one that found it, and its edges
    point towards it. Nodes with no more neighbours than asked for keep all of them; of the others
    a uniform subset is drawn by Floyd's algorithm, at a cost that does not depend on the degree
    (`"Programming Pearls: A Sample of Brilliance" <https://doi.org/10.1145/30401.315746>`_).

    Args:
        interactions (InteractionIndex): The training graph.
        num_neighbors (List[int]): Neighbours of a node in each hop, ``-1`` for all.
    """

    def __init__(self, interactions: InteractionIndex, num_neighbors: list[int]) -> None:
        self.num_neighbors = num_neighbors
        self.num_nodes = {"user": interactions.num_users, "item": interactions.num_items}
        item, by_item = torch.sort(interactions.item, stable=True)
        self.sides = {
            "user": _Side(
                REVERSE_TYPE,
                "item",
                interactions.user_pointer,
                interactions.item_by_user,
                interactions.edge_by_user,
            ),
            "item": _Side(
                EDGE_TYPE,
                "user",
                pointers(item, interactions.num_items),
                interactions.user[by_item],
                by_item,
            ),
        }

    def sample(self, seed: dict[str, Tensor], key: int) -> HeteroSamplerOutput:
        r"""Samples around ``seed``.

        Args:
            seed (Dict[str, torch.Tensor]): Distinct nodes of one type, or sorted distinct nodes of
                both. They come first in the output, in their order.
            key (int): The random stream.
        """
        device = self.sides["user"].neighbor.device
        empty = torch.empty(0, dtype=torch.long, device=device)
        frontier = {node_type: seed.get(node_type, empty) for node_type in self.sides}
        nodes = {node_type: [node] for node_type, node in frontier.items()}
        count = {node_type: node.numel() for node_type, node in frontier.items()}
        local = {}
        for node_type, node in frontier.items():
            local[node_type] = torch.full((self.num_nodes[node_type],), -1, device=device)
            local[node_type][node] = torch.arange(node.numel(), device=device)
        row: dict[str, list[Tensor]] = {node_type: [] for node_type in self.sides}
        col: dict[str, list[Tensor]] = {node_type: [] for node_type in self.sides}
        edge: dict[str, list[Tensor]] = {node_type: [] for node_type in self.sides}

        for hop, num in enumerate(self.num_neighbors):
            found = {}
            for number, (node_type, side) in enumerate(self.sides.items()):
                target, position = _pick(
                    side.pointer, frontier[node_type], num, stream_key(key, hop, number)
                )
                found[side.source] = side.neighbor[position]
                col[node_type].append(local[node_type][frontier[node_type][target]])
                edge[node_type].append(position if side.edge is None else side.edge[position])
            for node_type, node in found.items():
                new = torch.unique(node[local[node_type][node] < 0])
                local[node_type][new] = torch.arange(
                    count[node_type], count[node_type] + new.numel(), device=device
                )
                count[node_type] += new.numel()
                nodes[node_type].append(new)
                frontier[node_type] = new
            for node_type, side in self.sides.items():
                row[node_type].append(local[side.source][found[side.source]])

        return HeteroSamplerOutput(
            node={node_type: torch.cat(parts) for node_type, parts in nodes.items()},
            row={side.edge_type: torch.cat(row[t]) for t, side in self.sides.items()},
            col={side.edge_type: torch.cat(col[t]) for t, side in self.sides.items()},
            edge={side.edge_type: torch.cat(edge[t]) for t, side in self.sides.items()},
            num_sampled_nodes={t: [part.numel() for part in parts] for t, parts in nodes.items()},
            num_sampled_edges={
                side.edge_type: [part.numel() for part in col[t]] for t, side in self.sides.items()
            },
        )


def _pick(pointer: Tensor, node: Tensor, num: int, key: int) -> tuple[Tensor, Tensor]:
    r"""Positions of at most ``num`` edges of each node, and which node each belongs to."""
    start = pointer[node]
    degree = pointer[node + 1] - start
    all_of = degree if num < 0 else degree * (degree <= num)
    target, position = ranges(start, start + all_of)
    if num < 0:
        return target, position

    large = (degree > num).nonzero().flatten()
    drawn = _distinct_below(degree[large], num, key, node[large]) + start[large, None]
    return torch.cat([target, large.repeat_interleave(num)]), torch.cat([position, drawn.flatten()])


def _distinct_below(high: Tensor, num: int, key: int, counter: Tensor) -> Tensor:
    r"""Uniform subsets of ``num`` numbers in :math:`[0, \mathrm{high})` :math:`[n, num]`."""
    drawn = high.new_full((high.numel(), num), -1)
    for step in range(num):
        last = high - num + step
        value = uniform_below(key, counter * num + step, last + 1)
        taken = (drawn[:, :step] == value[:, None]).any(dim=1)
        drawn[:, step] = torch.where(taken, last, value)
    return drawn


class PyGNeighborhood:
    r"""Samples neighbours with PyG's :class:`~torch_geometric.sampler.NeighborSampler`, which is
    faster on the CPU but needs pyg-lib or torch-sparse.

    Args:
        interactions (InteractionIndex): The training graph.
        num_neighbors (List[int]): Neighbours of a node in each hop, ``-1`` for all.
    """

    def __init__(self, interactions: InteractionIndex, num_neighbors: list[int]) -> None:
        data = interactions.to_data()
        data[REVERSE_TYPE].edge_index = interactions.edge_index.flip(0)
        with warnings.catch_warnings():
            # torch-sparse alone is deprecated there; without it there still is our own sampler.
            warnings.filterwarnings("ignore", message=".*without a 'pyg-lib' installation.*")
            self.sampler = NeighborSampler(data, num_neighbors=num_neighbors)

    @staticmethod
    def is_available() -> bool:
        r"""Whether PyG finds one of the extensions that its sampler needs."""
        typing = torch_geometric.typing
        return bool(typing.WITH_PYG_LIB or typing.WITH_TORCH_SPARSE)

    def sample(self, seed: dict[str, Tensor], key: int) -> HeteroSamplerOutput:
        r"""See :meth:`TorchNeighborhood.sample`."""
        if len(seed) == 1:
            [(node_type, node)] = seed.items()
            return self._seeded(
                key, self.sampler.sample_from_nodes, NodeSamplerInput(None, node, None, node_type)
            )
        # Two types go in as pairs, the shorter repeated; PyG makes each of them unique again.
        num = max(node.numel() for node in seed.values())
        user, item = (
            node.repeat(-(-num // node.numel()))[:num] for node in (seed["user"], seed["item"])
        )
        index = EdgeSamplerInput(None, user, item, input_type=EDGE_TYPE)
        return self._seeded(key, self.sampler.sample_from_edges, index)

    def _seeded(
        self, key: int, sample: Callable[..., SamplerOutput | HeteroSamplerOutput], index: Any
    ) -> HeteroSamplerOutput:
        with default_generator_seeded(key):
            out = sample(index)
        assert isinstance(out, HeteroSamplerOutput)  # As its input has two node types.
        permutation = self.sampler.edge_permutation
        assert isinstance(permutation, dict)
        for edge_type, edge in out.edge.items():
            order = permutation[edge_type]
            if edge is not None and order is not None:  # Its ids are those of its sorted edges.
                out.edge[edge_type] = order[edge]
        return out
