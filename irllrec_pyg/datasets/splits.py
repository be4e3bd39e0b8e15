r"""Splits of interactions into training, validation and test: within users, by time, of nodes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["random", "time", "time-global", "cold-items", "cold-users"]
KINDS: tuple[str, ...] = get_args(Kind)
#: What a pair is for.
TRAIN, VAL, TEST, HISTORY = range(4)
#: So many nodes of neighbouring degree are shared out together.
_BLOCK = 10


@dataclass(frozen=True)
class Split:
    r"""Which part each pair of user and item is in.

    Args:
        part (numpy.ndarray): 0 for training, 1 for validation, 2 for test, 3 for the histories of
            cold users; int8 of shape :math:`(E)`.
        nodes (dict): For cold items or users, by ``"item"`` or ``"user"``: 0 for warm nodes, 1 and
            2 for those held out for validation and for test, int8 of shape :math:`(N)`.
    """

    part: NDArray[np.int8]
    nodes: dict[str, NDArray[np.int8]] = field(default_factory=dict)


def check_shares(shares: Sequence[float], name: str) -> NDArray[np.float64]:
    r"""The shares of training, validation and test as an array.

    Raises:
        ValueError: Unless these are three numbers with sum 1, none negative, the first not 0.
    """
    found = np.asarray(shares, dtype=np.float64)
    if found.shape != (3,) or (found < 0).any() or found[0] == 0 or abs(found.sum() - 1) > 1e-6:
        raise ValueError(
            f"'{name}' must be the shares of training, validation and test, none negative, the "
            f"first not 0, with sum 1, got {tuple(shares)}"
        )
    return found


def split_pairs(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    kind: Kind,
    shares: NDArray[np.float64],
    seed: int,
    moment: NDArray[np.int64] | None = None,
    order: NDArray[np.int64] | None = None,
) -> Split:
    r"""Splits distinct pairs, sorted by user and item.

    - ``"random"``: each user's pairs on their own. The sizes of a user's splits are the shares
      rounded up or down at random, so that the shares hold overall; a user's training split is
      never empty.
    - ``"time"``: the same sizes, the oldest pairs in training, the newest in test.
    - ``"time-global"``: two moments split the pairs of all users. The pairs of one moment are
      never torn apart: those of a cut-off belong to the earlier split.
    - ``"cold-items"``: whole items are held out, with all their pairs, so that training knows
      nothing of them but their texts. They are drawn by shares among each ten items of
      neighbouring degree: popular and rare ones are held out alike.
    - ``"cold-users"``: whole users are held out in the same way. A random half of a held-out user's
      pairs, the larger one where they are odd, is the history by which the user is known when
      ranked; the other half is to be found.

    The same seed gives the same split, another one draws it anew.

    Args:
        user (numpy.ndarray): User of each pair, int64 of shape :math:`(E)`.
        item (numpy.ndarray): Item of each pair, int64 of shape :math:`(E)`.
        kind (str): See above.
        shares (numpy.ndarray): Of training, validation and test; see :func:`check_shares`.
        seed (int): Seed of all that is drawn.
        moment (numpy.ndarray, optional): Time of each pair, for ``"time-global"``, int64 of shape
            :math:`(E)`. (default: ``None``)
        order (numpy.ndarray, optional): Place of each pair in time, for ``"time"``, int64 of shape
            :math:`(E)`. (default: ``None``)

    Raises:
        ValueError: If there are too few items or users to hold some of them out.
    """
    rng = np.random.default_rng(seed)
    if kind == "time-global" and moment is not None:
        last = np.ceil(np.cumsum(shares)[:2] * len(user) - 1e-6).astype(np.int64) - 1
        cuts = np.sort(moment)[last.clip(0, len(user) - 1)]
        return Split((moment[:, None] > cuts).sum(axis=1).astype(np.int8))
    if kind == "cold-items":
        cold = _draw_nodes(np.bincount(item), shares, rng, "items")
        return Split(cold[item], {"item": cold})
    if kind == "cold-users":
        cold = _draw_nodes(np.bincount(user), shares, rng, "users")
        position, count = _positions(user, rng.permutation(len(user)))
        history = (cold[user] != TRAIN) & (position < (count + 1) // 2)
        return Split(np.where(history, np.int8(HISTORY), cold[user]), {"user": cold})
    rank = order if kind == "time" and order is not None else rng.permutation(len(user))
    position, count = _positions(user, rank)
    per_user = np.bincount(user)
    rest = shares[1] + shares[2]
    num_train = np.floor(per_user * shares[0] + rng.random(len(per_user))).astype(np.int64)
    num_train = np.clip(num_train, np.minimum(per_user, 1), per_user)
    left = per_user - num_train
    num_val = np.floor(left * (shares[1] / rest if rest else 0) + rng.random(len(per_user)))
    num_val = np.minimum(num_val.astype(np.int64), left)
    part = (position >= num_train[user]).astype(np.int8)
    return Split(part + (position >= (num_train + num_val)[user]).astype(np.int8))


def _positions(
    user: NDArray[np.int64], rank: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    r"""The place of each pair among its user's pairs by rank, and how many these are."""
    count = np.bincount(user)
    position = np.empty(len(user), np.int64)
    # By user, then by rank.
    position[np.lexsort((rank, user))] = np.arange(len(user)) - (np.cumsum(count) - count)[user]
    return position, count[user]


def _draw_nodes(
    degree: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator, what: str
) -> NDArray[np.int8]:
    r"""Which nodes are held out: of each block of neighbouring degree, the shares at random."""
    known = np.flatnonzero(degree)  # of nodes without interaction there is nothing to hold out
    by_degree = known[np.lexsort((rng.permutation(len(known)), degree[known]))]
    bounds = np.round(np.cumsum(shares)[:, None] * _ends(len(known)))
    sizes = np.diff(np.diff(bounds, axis=0, prepend=0), axis=1).astype(np.int64)
    part = np.zeros(len(degree), np.int8)
    for at, block in enumerate(np.array_split(by_degree, _ends(len(known))[1:-1].astype(np.int64))):
        part[block] = rng.permutation(np.repeat(np.arange(3, dtype=np.int8), sizes[:, at]))
    held_out = np.bincount(part[known], minlength=3)
    if ((held_out == 0) & (shares > 0)).any():
        raise ValueError(
            f"'split' cannot be 'cold-{what}' with the shares {tuple(shares.tolist())}: of "
            f"{len(known)} {what}, {held_out[VAL]} would be held out for validation and "
            f"{held_out[TEST]} for test. Take larger shares or more {what}"
        )
    return part


def _ends(size: int) -> NDArray[np.float64]:
    r"""Where the blocks of so many nodes begin and end; the last one may be shorter."""
    return np.append(np.arange(0.0, size, _BLOCK), float(size))
