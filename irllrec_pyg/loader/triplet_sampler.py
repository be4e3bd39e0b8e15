"""What an epoch's interactions become: triplets with strict negatives, and their neighbourhoods."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info
from torch_geometric.data import HeteroData
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
)

from .draws import stream_key
from .interactions import InteractionIndex, as_int
from .neighborhood import PyGNeighborhood, TorchNeighborhood, check_num_neighbors

# Streams of an epoch; 0 is its order.
NEGATIVES = 1
NEIGHBORS = 2
# Up to so many negatives are drawn for a whole epoch: a tenth of a second, and 60 MB meanwhile.
DRAWN_AT_ONCE = 1 << 20


class TripletSampler(BaseSampler):
    r"""Draws triplets of a user, a training item of the user and items that are not.

    A negative is uniform over the items that the user has **no** training interaction with; PyG's
    own sampler may draw false negatives. It is a pure function of seed, epoch and interaction,
    hence the same with any batch size and number of workers, on the CPU and on the GPU.

    :class:`~irllrec_pyg.loader.TripletLoader` hands it to PyG's
    :class:`~torch_geometric.loader.LinkNeighborLoader`. Handed to that loader directly, as
    ``neighbor_sampler`` with ``neg_sampling="triplet"``, its negatives are as strict, but
    are seeded by Torch's default generator like those of PyG.

    Args:
        data (torch_geometric.data.HeteroData): The training graph; only the interactions
            ``data['user', 'rates', 'item'].edge_index`` and the numbers of nodes are kept.
        num_negatives (int, optional): Negatives for each interaction. (default: ``1``)
        num_neighbors (List[int], optional): If set, samples that many neighbours of each node in
            each hop around the triplets, ``-1`` for all. Uses PyG's sampler if the graph is on
            the CPU and pyg-lib or torch-sparse is installed. (default: ``None``)
        seed (int, optional): The seed. (default: ``0``)
        device (torch.device or str, optional): Where to sample.
            (default: the device of the graph)

    Raises:
        ValueError: If the graph is empty or out of range, or if a user has every item.
    """

    def __init__(
        self,
        data: HeteroData,
        num_negatives: int = 1,
        num_neighbors: Sequence[int] | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        self.num_negatives = as_int(num_negatives, "num_negatives", low=1)
        self.num_neighbors = None if num_neighbors is None else check_num_neighbors(num_neighbors)
        self.seed = as_int(seed, "seed")
        self.interactions = InteractionIndex(data, device)
        self.neighborhood: TorchNeighborhood | PyGNeighborhood | None = None
        self._negatives: tuple[tuple[int, int], Tensor] | None = None
        if self.num_neighbors is not None:
            # PyG's sampler works on the CPU: from the GPU and back costs more than it saves.
            use_pyg = PyGNeighborhood.is_available() and self.interactions.device.type == "cpu"
            kind = PyGNeighborhood if use_pyg else TorchNeighborhood
            self.neighborhood = kind(self.interactions, self.num_neighbors)

    def sample(self, interaction: Tensor, epoch: int, batch: int = 0) -> HeteroSamplerOutput:
        r"""The triplets of some interactions in an epoch.

        Args:
            interaction (torch.Tensor): Columns of ``edge_index`` :math:`[B]`.
            epoch (int): The epoch, which decides the negatives.
            batch (int, optional): The number of the batch, which decides with the epoch which
                neighbours are sampled. (default: ``0``)
        """
        interaction = interaction.to(self.interactions.device)
        user = self.interactions.user.index_select(0, interaction)
        pos = self.interactions.item.index_select(0, interaction)
        key = stream_key(self.seed, epoch, NEGATIVES)
        many = len(self.interactions) * self.num_negatives > DRAWN_AT_ONCE
        if many or get_worker_info() is not None:  # a worker makes a part of the epoch only
            neg = self._draw(interaction, user, self.num_negatives, key)
        else:
            neg = self._all_negatives(key).index_select(0, interaction)
        key = stream_key(self.seed, epoch, NEIGHBORS, batch)
        return self._join(interaction, user, pos, neg, key)

    def _all_negatives(self, key: int) -> Tensor:
        r"""Negatives of all interactions, drawn once an epoch: where these are sorted by user, as
        they mostly are, the search takes a third of the time, which is a tenth of a step of
        LightGCN (``benchmarks/speed.py --model lightgcn``).
        """
        drawn = key, self.num_negatives
        if self._negatives is None or self._negatives[0] != drawn:
            user = self.interactions.user
            everything = torch.arange(user.numel(), device=user.device)
            self._negatives = drawn, self._draw(everything, user, self.num_negatives, key)
        return self._negatives[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_negatives": None}

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> HeteroSamplerOutput:
        r"""The triplets of PyG's loaders, seeded by Torch's default generator.

        Args:
            index (torch_geometric.sampler.EdgeSamplerInput): Users and their items.
            neg_sampling (torch_geometric.sampler.NegativeSampling): Must be ``"triplet"``,
                without weights; its amount is the number of negatives.

        Raises:
            ValueError: If ``neg_sampling`` is anything else.
        """
        if (
            neg_sampling is None
            or not neg_sampling.is_triplet()
            or neg_sampling.dst_weight is not None
        ):
            raise ValueError(
                f"'neg_sampling' must be 'triplet' without weights, the only sampling of "
                f"{type(self).__name__}, got {neg_sampling}."
            )
        if index.input_id is None:  # PyG's loaders always number their links.
            raise ValueError("'input_id' of the links to sample from must be set, got None.")
        device = self.interactions.device
        key = int(torch.randint(1 << 62, ()))
        user = index.row.to(device)
        neg = self._draw(index.input_id, user, int(neg_sampling.amount), stream_key(key, NEGATIVES))
        return self._join(
            index.input_id, user, index.col.to(device), neg, stream_key(key, NEIGHBORS)
        )

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> HeteroSamplerOutput:
        r"""The neighbourhoods of PyG's node loaders, seeded by Torch's default generator.

        Args:
            index (torch_geometric.sampler.NodeSamplerInput): Distinct nodes of one type.

        Raises:
            ValueError: If the sampler was made without ``num_neighbors``, or a node occurs
                twice.
        """
        if self.neighborhood is None:
            raise ValueError(
                f"'num_neighbors' of {type(self).__name__} must be set to sample from nodes, got "
                f"None."
            )
        node = index.node.to(self.interactions.device)
        num_distinct = torch.unique(node).numel()
        if num_distinct < node.numel():
            raise ValueError(
                f"The nodes to sample from must be distinct, got {node.numel()} of which "
                f"{num_distinct} are."
            )
        out = self.neighborhood.sample(
            {str(index.input_type): node}, int(torch.randint(1 << 62, ()))
        )
        out.metadata = (index.input_id, index.time)
        return out

    def _draw(self, interaction: Tensor, user: Tensor, num_negatives: int, key: int) -> Tensor:
        r"""Negatives of some interactions, of shape ``[B]``, or ``[B, num_negatives]``."""
        counter = interaction.to(user.device)
        if num_negatives > 1:
            counter = counter[:, None] * num_negatives
            counter = counter + torch.arange(num_negatives, device=user.device)
            user = user[:, None]
        return self.interactions.negative_items(user, key, counter)

    def _join(
        self, interaction: Tensor, user: Tensor, pos: Tensor, neg: Tensor, neighbors_key: int
    ) -> HeteroSamplerOutput:
        users, src_index = distinct(user, self.interactions.num_users)
        items, dst_index = distinct(torch.cat([pos, neg.flatten()]), self.interactions.num_items)
        seeds = {"user": users, "item": items}
        if self.neighborhood is None:
            out = HeteroSamplerOutput(node=seeds, row={}, col={}, edge={})
        else:
            out = self.neighborhood.sample(seeds, neighbors_key)
        dst_pos_index, dst_neg_index = dst_index.split([pos.numel(), neg.numel()])
        out.metadata = (interaction, src_index, dst_pos_index, dst_neg_index.view_as(neg), None)
        return out


def distinct(index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    r"""The distinct entries of ``index``, as ``torch.unique`` finds them.

    It sorts nothing, which takes a fifth of the time for the 4,096 users of a batch and a graph of
    11,000 of them.

    Args:
        index (torch.Tensor): Numbers below ``size``, shape :math:`[B]`.
        size (int): How many numbers there are.

    Returns:
        The distinct ones, ascending :math:`[U]`, and the position of each entry among them
        :math:`[B]`.
    """
    number = index.new_zeros(size).index_fill_(0, index, 1).cumsum_(0)
    position = number.index_select(0, index).sub_(1)
    return index.new_empty(int(number[-1])).index_copy_(0, position, index), position
