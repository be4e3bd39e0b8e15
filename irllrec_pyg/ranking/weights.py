"""How much each part of a blend should count."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE
from ..sparse import CSR
from .blend import Blend
from .topk import default_block_size

DEPTH = 100  # best items of each part, among which the held-out ones are to be found
MOST = 10_000  # users, who are enough for a handful of weights
CELLS = 1 << 26  # numbers that are held of them; of many parts there are many, and fewer users
RIDGE = 1e-3


def learn_weights(blend: Blend, data: HeteroData) -> list[float]:
    r"""The weights :math:`w \ge 0` of a blend's parts with which it best tells the validation items
    of a user from the other items that a part ranks high, by softmax regression:

    .. math::
        \min_{w \ge 0} \; -\frac{1}{|\mathcal U|} \sum_u \frac{1}{|V_u|} \sum_{i \in V_u}
        \log \frac{\exp(w^\top z_{ui})}{\sum_{j \in C_u} \exp(w^\top z_{uj})} + 10^{-3} \|w\|^2

    with the standardised scores :math:`z_{ui}` of all parts (see :class:`Blend`), the candidates
    :math:`C_u`, which are the 100 best items of each part, and the validation items :math:`V_u`
    among them. It takes the parts' scores once, as one evaluation does, and at most 10,000 users;
    fewer of more than eight parts, so that memory suffices.

    Args:
        blend (Blend): The parts; its own weights do not matter.
        data (HeteroData): The graph that they were built with.

    Returns:
        One weight a part, the greatest of them 1; equal ones where nothing can be learnt.

    Raises:
        ValueError: If there are no validation interactions, or they are of users whom the data set
            holds out.
    """
    pairs = data[EDGE_TYPE].get("val_edge_label_index")
    if "split" in data["user"] or pairs is None or not pairs.numel():
        raise ValueError("'data' has no validation interactions of users with scores of their own.")
    z, listed, relevant = _lessons(blend, data)
    share = relevant / relevant.sum(1, keepdim=True)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = torch.from_numpy(weights)
        logits = (z @ w.to(z.dtype)).masked_fill(~listed, -torch.inf)
        chance = torch.log_softmax(logits, dim=1)
        value = -(chance.masked_fill(~listed, 0) * share).sum(1).double().mean()
        # By hand, so that it is there also where gradients are switched off.
        gradient = ((chance.exp() - share).flatten() @ z.flatten(0, 1)).double() / len(z)
        return float(value + RIDGE * w @ w), (gradient + 2 * RIDGE * w).numpy()

    count = z.size(-1)
    if not len(z):
        return [1.0] * count
    bounds = [(0.0, None)] * count
    found = minimize(loss, np.full(count, 0.5), jac=True, method="L-BFGS-B", bounds=bounds).x
    return [1.0] * count if not found.max() > 0 else (found / found.max()).tolist()


def _lessons(blend: Blend, data: HeteroData) -> tuple[Tensor, Tensor, Tensor]:
    """Of users with a relevant candidate: standardised scores of the candidates, of shape
    ``(U, C, P)``, which of these are there, and which are relevant, both of shape ``(U, C)``.
    """
    scorers = [part.scorer() for part in blend.rankers()]
    new = blend.new_items()
    pairs = blend.check_pairs(data[EDGE_TYPE].val_edge_label_index.to(new.device), "data")
    among = data["item"].split.to(new.device) == 1 if "split" in data["item"] else ~new
    seen, depth = CSR(blend.seen_ptr, blend.seen_item), min(DEPTH, int(among.sum()))
    users, lessons = pairs.rows().unique(), []
    most = max(1, min(MOST, CELLS // max(1, depth * len(scorers) ** 2)))
    with torch.no_grad(), blend.ranking():
        for block in users[:: -(-len(users) // most)].split(default_block_size(blend)):
            row, item = seen.of(block)
            parts = blend._on_one_scale([score(block) for score in scorers], row, item, new)
            hidden = ~among.repeat(len(block), 1)
            hidden[row, item] = True
            best = parts.masked_fill(hidden, -torch.inf).topk(depth, dim=2).indices
            place = best.transpose(0, 1).flatten(1).sort(dim=1).values
            listed = ~hidden.gather(1, place)
            listed[:, 1:] &= place.diff(dim=1) > 0  # what several parts rank high counts once
            relevant = torch.zeros_like(hidden)
            relevant[pairs.of(block)] = True
            relevant = relevant.gather(1, place) & listed
            z = parts.permute(1, 2, 0).take_along_dim(place.unsqueeze(-1), 1)
            teaches = relevant.any(1)
            lessons.append([found[teaches].cpu() for found in (z.float(), listed, relevant)])
    z, listed, relevant = (torch.cat(found) for found in zip(*lessons, strict=True))
    return z, listed, relevant
