r"""What a study changes of its data to learn what texts are worth: PyG's transforms."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from ..edges import EDGE_TYPE, REVERSE_TYPE, known_pairs
from .formats import EMBEDDINGS


class PermuteTexts(BaseTransform):
    r"""Gives the texts of each item to another item, and those of users to another user.

    What a model gains of texts it must lose with these: they are the same vectors, and say nothing
    about whom they belong to. A node's texts (``x``, ``intent``) stay together.

    Args:
        seed (int): Seed of the permutations.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def forward(self, data: HeteroData) -> HeteroData:
        for side, generator in _sides(data, self.seed):
            order = torch.randperm(int(data[side].num_nodes), generator=generator)
            for field in EMBEDDINGS:
                if field in data[side]:
                    data[side][field] = data[side][field][order]
        return data


class NoiseTexts(BaseTransform):
    r"""Puts Gaussian noise with the mean and covariance of the texts in their place, for users and
    items each: what a model gains of it, it gains of having more parameters or another scale.

    Args:
        seed (int): Seed of the noise.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def forward(self, data: HeteroData) -> HeteroData:
        for side, generator in _sides(data, self.seed):
            for field in EMBEDDINGS:
                if field in data[side]:
                    data[side][field] = _noise(data[side][field], generator)
        return data


class RandomInteractions(BaseTransform):
    r"""Adds random interactions to training, as in studies of robustness.

    They are drawn uniformly among the pairs that no split knows; users and items that are held out
    whole take no part.

    Args:
        share (float): How many, as a share of the training interactions.
        seed (int): Seed of the draw.

    Raises:
        ValueError: If ``share`` is negative, or if so many pairs are not free.
    """

    def __init__(self, share: float, seed: int) -> None:
        if share < 0:
            raise ValueError(f"'share' must be at least 0, got {share}")
        self.share, self.seed = share, seed

    def forward(self, data: HeteroData) -> HeteroData:
        train, num_items = data[EDGE_TYPE].edge_index, int(data["item"].num_nodes)
        wanted = round(self.share * train.size(1))
        warm = [_warm(data, side).numpy() for side in ("user", "item")]
        taken = known_pairs(data).cpu().numpy()
        taken = np.unique(taken[0] * num_items + taken[1])
        inside = np.isin(taken // num_items, warm[0]) & np.isin(taken % num_items, warm[1])
        free = len(warm[0]) * len(warm[1]) - int(inside.sum())
        if wanted > free:
            raise ValueError(
                f"'share' {self.share} asks for {wanted} random interactions, and {free} pairs are "
                "free"
            )
        rng, drawn = np.random.default_rng(self.seed), np.empty(0, np.int64)
        while len(drawn) < wanted:
            more = [rng.choice(side, 2 * (wanted - len(drawn)) + 16) for side in warm]
            keys = more[0] * num_items + more[1]
            keys = np.concatenate([drawn, keys[~np.isin(keys, taken)]])
            # The first of equal draws, in the order of drawing: all pairs are as likely.
            drawn = keys[np.sort(np.unique(keys, return_index=True)[1])][:wanted]
        added = torch.from_numpy(np.stack([drawn // num_items, drawn % num_items]))
        whole = torch.cat([train, added.to(train.device)], dim=1)
        whole = whole[:, (whole[0] * num_items + whole[1]).argsort()]
        data[EDGE_TYPE].edge_index = whole
        if REVERSE_TYPE in data.edge_types:
            data[REVERSE_TYPE].edge_index = whole.flip([0])
        return data


def _sides(data: HeteroData, seed: int) -> Iterator[tuple[str, torch.Generator]]:
    for at, side in enumerate(("item", "user")):
        yield side, torch.Generator().manual_seed(2 * seed + at)


def _warm(data: HeteroData, side: str) -> Tensor:
    split = data[side].get("split")
    size = int(data[side].num_nodes)
    return torch.arange(size) if split is None else (split == 0).nonzero().flatten().cpu()


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    wide = x.detach().double().cpu()
    centred = wide - wide.mean(dim=0)
    variances, directions = torch.linalg.eigh(centred.t() @ centred / max(len(x) - 1, 1))
    noise = torch.randn(wide.shape, generator=generator, dtype=torch.float64)
    scaled = (noise * variances.clamp_min(0).sqrt()) @ directions.t()
    noisy: Tensor = scaled + wide.mean(dim=0)
    return noisy.to(x)
