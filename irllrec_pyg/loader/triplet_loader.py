"""PyG's loader of links, with batches of triplets that depend on seed and epoch alone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkNeighborLoader
from torch_geometric.sampler import HeteroSamplerOutput, NegativeSampling

from ..edges import EDGE_TYPE
from .draws import default_generator_seeded, stream_key
from .neighborhood import edge_weight
from .order import EpochOrder, EpochSampler
from .triplet_sampler import TripletSampler

WORKERS = 3  # Of an epoch's streams; 0 to 2 are its order, negatives and neighbors.


class _Collate:
    r"""Makes a batch of an entry of :class:`EpochOrder`.

    It is an object of its own rather than a method of the loader: workers then get no more than
    they need, and persistent workers, which the loader holds, do not hold the loader in turn. In
    such a cycle Torch waits in vain for them to end, ten seconds for two of them.

    Args:
        sampler (TripletSampler): Draws the triplets.
        transform (callable, optional): Changes a batch.
        transform_sampler_output (callable, optional): Changes what the sampler drew.
    """

    def __init__(
        self,
        sampler: TripletSampler,
        transform: Callable[[HeteroData], Any] | None,
        transform_sampler_output: Callable[[HeteroSamplerOutput], HeteroSamplerOutput] | None,
    ) -> None:
        self.sampler = sampler
        self.transform = transform
        self.transform_sampler_output = transform_sampler_output

    def __call__(self, index: tuple[int, int, Tensor]) -> Any:
        epoch, batch, interaction = index
        return self.join(self.sampler.sample(interaction, epoch, batch))

    def join(self, out: HeteroSamplerOutput) -> Any:
        r"""Makes a batch of what the sampler drew: ids, counts, edges with their weights."""
        if self.transform_sampler_output is not None:
            out = self.transform_sampler_output(out)
        batch = HeteroData()
        input_id, src_index, dst_pos_index, dst_neg_index, _ = out.metadata  # type: ignore[misc]
        user, item = batch["user"], batch["item"]
        for store, node in ((user, out.node["user"]), (item, out.node["item"])):
            store.n_id, store.num_nodes = node, node.numel()
        user.src_index, user.src_count = src_index, torch.bincount(src_index)
        num_items = 1 + int(max(dst_pos_index.max(), dst_neg_index.max()))
        for name, index in (("dst_pos", dst_pos_index), ("dst_neg", dst_neg_index)):
            count = torch.bincount(index.flatten(), minlength=num_items)
            item[f"{name}_index"], item[f"{name}_count"] = index, count
            item[f"{name}_unique"] = count.nonzero().flatten()
        batch[EDGE_TYPE].input_id = input_id
        if out.row:
            weight = edge_weight(self.sampler.interactions, out)
            for edge_type, row in out.row.items():
                batch[edge_type].edge_index = torch.stack([row, out.col[edge_type]])
                batch[edge_type].edge_weight = weight[edge_type]
                batch[edge_type].e_id = out.edge[edge_type]
            # Of PyG's extensions, torch-sparse does not count them.
            for node_type, nodes in (out.num_sampled_nodes or {}).items():
                batch[node_type].num_sampled_nodes = nodes
            for edge_type, edges in (out.num_sampled_edges or {}).items():
                batch[edge_type].num_sampled_edges = edges
        return batch if self.transform is None else self.transform(batch)


class TripletLoader(LinkNeighborLoader):
    r"""Loads the triplets :math:`(u, i^+, i^-)` of pairwise training from a graph of interactions.

    This is PyG's :class:`~torch_geometric.loader.LinkNeighborLoader` with the strict negatives of a
    :class:`~irllrec_pyg.loader.TripletSampler`. Every interaction :math:`(u, i^+)` occurs once an
    epoch, with new negatives in every epoch.
    A batch is a :class:`~torch_geometric.data.HeteroData` as from PyG's loaders:

    .. code-block:: python

        loader = triplet_loader(data, batch_size=4096)
        for batch in loader:
            user = batch['user'].n_id[batch['user'].src_index]  # [B]
            pos = batch['item'].n_id[batch['item'].dst_pos_index]  # [B]
            neg = batch['item'].n_id[batch['item'].dst_neg_index]  # [B] or [B, num_negatives]

    As there, the nodes ``n_id`` of a batch are distinct, and those of the triplets come first, in
    ascending order. How often a triplet names each of these is in ``batch['user'].src_count``
    :math:`[U]`, ``batch['item'].dst_pos_count`` and ``batch['item'].dst_neg_count`` :math:`[I]`;
    the positions of the items that are a positive or a negative at all are
    ``batch['item'].dst_pos_unique`` and ``batch['item'].dst_neg_unique``. A training step has
    nothing left to count, for which it would have to wait for a GPU.

    ``batch['user', 'rates', 'item'].input_id`` :math:`[B]` are the columns of
    ``edge_index`` that the triplets come from. With ``num_neighbors``, both edge types have an
    ``edge_index`` between the nodes of the batch, whole-graph ``edge_weight``
    :math:`1/\sqrt{\deg(u) \deg(i)}` and the interactions' columns ``e_id``. Edges run towards the
    nodes that were expanded: a message to a user comes along ``('item', 'rated_by', 'user')``.
    There are never features in a batch: whoever needs them gathers them by ``n_id``.

    Args:
        data (torch_geometric.data.HeteroData): The training graph.
        batch_size (int, optional): Interactions in a batch. (default: ``4096``)
        shuffle (bool, optional): If set to ``False``, keeps the order of the graph.
            (default: ``True``)
        num_negatives (int, optional): Negatives for each interaction. (default: ``1``)
        num_neighbors (List[int], optional): Neighbours to sample of each node in each hop,
            ``-1`` for all. Without it a batch holds triplets only, for models that propagate
            over the whole graph. (default: ``None``)
        seed (int, optional): The seed. Order and negatives of an epoch are a pure function of it
            and of the epoch. (default: ``0``)
        device (torch.device or str, optional): Where batches are made. Counting on a GPU waits
            for it, so that training on one goes fastest with ``device="cpu"``,
            ``pin_memory=True`` and ``batch.to("cuda", non_blocking=True)``.
            (default: the device of the graph)
        rank (int, optional): Which part of each epoch this process takes. (default: ``0``)
        world_size (int, optional): How many processes share each epoch; they all get the same
            number of batches. (default: ``1``)
        drop_last (bool, optional): If set to ``True``, leaves out the last batch if it is
            smaller than the others. (default: ``False``)
        **kwargs (optional): Further arguments of PyG's
            :class:`~torch_geometric.loader.LinkNeighborLoader` and of
            :class:`torch.utils.data.DataLoader`, such as ``transform``, ``num_workers``,
            ``persistent_workers`` or ``pin_memory``.

    Raises:
        ValueError: If an argument or the graph is out of range, or if a user has every item.
    """

    link_sampler: TripletSampler
    sampler: EpochSampler
    collate_fn: _Collate  # type: ignore[assignment]

    def __init__(
        self,
        data: HeteroData,
        batch_size: int | None = 4096,
        shuffle: bool = True,
        num_negatives: int = 1,
        num_neighbors: Sequence[int] | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        **kwargs: Any,
    ) -> None:
        for name in (
            "batch_sampler",
            "neighbor_sampler",
            "edge_label_index",
            "neg_sampling",
            "filter_per_worker",
        ):
            if kwargs.pop(name, None) is not None:
                raise ValueError(f"{type(self).__name__} does not take '{name}'; leave it out.")

        sampler = TripletSampler(data, num_negatives, num_neighbors, seed, device)
        device = sampler.interactions.device
        for name, why in (
            ("num_workers", "workers are other processes, and batches are made on the device"),
            ("pin_memory", "only CPU memory can be pinned"),
        ):
            if device.type != "cpu" and kwargs.get(name):
                raise ValueError(
                    f"'{name}' must be left out for a graph on '{device}', got {kwargs[name]}: "
                    f"{why}. Pass device='cpu' to make the batches there."
                )
        order = _order(
            len(sampler.interactions),
            kwargs.pop("dataset", None),
            kwargs.pop("sampler", None),
            {
                "batch_size": batch_size,
                "shuffle": shuffle,
                "drop_last": drop_last,
                "rank": rank,
                "world_size": world_size,
                "seed": seed,
                "device": device,
            },
        )
        # PyTorch Lightning reads arguments from attributes when it makes a loader like this one.
        self.num_negatives = sampler.num_negatives
        self.num_neighbors = sampler.num_neighbors
        self.seed = sampler.seed
        self.device = device
        self.rank = order.rank
        self.world_size = order.world_size
        # PyG hands this to the workers; its method of the same name would take the loader along.
        self.collate_fn = _Collate(
            sampler, kwargs.get("transform"), kwargs.get("transform_sampler_output")
        )
        # Features never travel, neither to workers nor with a batch.
        topology = sampler.interactions.to_data()
        super().__init__(
            topology,
            num_neighbors=self.num_neighbors or [],
            edge_label_index=(EDGE_TYPE, topology[EDGE_TYPE].edge_index),
            neg_sampling=NegativeSampling("triplet", sampler.num_negatives),
            neighbor_sampler=sampler,  # type: ignore[arg-type]  # PyG takes any BaseSampler.
            filter_per_worker=True,
            batch_size=None,  # An entry of the order is a whole batch.
            sampler=EpochSampler(order),
            **kwargs,
        )
        # PyG's data set is range(num_links), whose Python integers a loader gathers one by one:
        # 4.5 ms for a batch of 4,096. This one has batches as tensors. DataLoader lets nobody
        # assign a data set later as its sampler might not fit; the sampler here is made for it.
        vars(self)["dataset"] = order

    def set_epoch(self, epoch: int) -> None:
        r"""Makes ``epoch`` the next one to be iterated; the ones after it count on.

        Order and negatives of an epoch are a pure function of seed and epoch.

        Args:
            epoch (int): The epoch, counted from 0.
        """
        self.sampler.set_epoch(epoch)

    def __iter__(self) -> _BaseDataLoaderIter:
        epoch = self.sampler.epoch
        # Torch's loaders draw a seed for their workers; not from the model's stream.
        with default_generator_seeded(stream_key(self.seed, epoch, WORKERS)):
            iterator = super().__iter__()
        # Counted here, as Torch's loaders iterate a sampler twice when they start workers.
        self.set_epoch(epoch + 1)
        return iterator

    def __call__(self, index: Tensor | list[int]) -> Any:
        r"""Makes a batch of given interactions, with the negatives of the next epoch.

        Args:
            index (torch.Tensor or List[int]): Columns of ``edge_index``.
        """
        index = torch.as_tensor(index, dtype=torch.long, device=self.device)
        return self.collate_fn((self.sampler.epoch, 0, index))

    def filter_fn(self, out: HeteroSamplerOutput) -> Any:  # type: ignore[override]
        r"""Makes a batch of what the sampler drew: ids, and the edges with their weights."""
        return self.collate_fn.join(out)

    def __repr__(self) -> str:
        order = self.sampler.order
        return (
            f"{type(self).__name__}({order.num_interactions} interactions, "
            f"batch_size={order.batch_size}, num_negatives={self.num_negatives}, "
            f"num_neighbors={self.num_neighbors})"
        )


triplet_loader = TripletLoader  # What one calls goes by a function's name.


def _order(num_interactions: int, dataset: Any, sampler: Any, wanted: dict[str, Any]) -> EpochOrder:
    r"""The order of the epochs, of which somebody else may decide.

    PyTorch Lightning makes loaders again with the data set of the first one and a sampler of its
    own choice, to share an epoch among processes or to keep to one order.
    """
    first = sampler.order if isinstance(sampler, EpochSampler) else dataset
    if isinstance(first, EpochOrder):
        names = ("batch_size", "shuffle", "drop_last", "rank", "world_size")
        wanted |= {name: getattr(first, name) for name in names}
    if isinstance(sampler, DistributedSampler):
        wanted |= {"shuffle": sampler.shuffle, "rank": sampler.rank}
        wanted["world_size"] = sampler.num_replicas
    elif isinstance(sampler, (SequentialSampler, RandomSampler)):
        wanted["shuffle"] = isinstance(sampler, RandomSampler)
    elif sampler is not None and not isinstance(sampler, EpochSampler):
        raise ValueError(
            f"'sampler' must be one that PyTorch Lightning sets, got {type(sampler).__name__}; use "
            f"'shuffle', 'rank' and 'world_size'."
        )
    if wanted["batch_size"] is None:
        raise ValueError("'batch_size' must be a whole number, got None.")
    return EpochOrder(num_interactions, **wanted)
