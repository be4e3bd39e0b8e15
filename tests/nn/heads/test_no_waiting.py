"""Heads ask the device for no number: on a GPU, each answer would hold up the whole step."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from irllrec_pyg.nn import (
    DCCF,
    IntentAlignment,
    LightGCN,
    ProfileAlignment,
    ProfileReconstruction,
    Recommender,
)
from irllrec_pyg.nn.batch import Triplets
from irllrec_pyg.nn.losses import softmax_loss

from .test_intent import NEG, POS, USER, settings

WAITING = ("nonzero", "_local_scalar_dense", "masked_select", "unique", "is_nonzero", "equal")


class NoWaiting(TorchDispatchMode):
    """Fails at operations whose result, or its size, the host has to wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert not name.startswith(WAITING), name
        indices = args[1] if name in ("index", "index_put", "index_put_") else []
        assert not any(i is not None and i.dtype == torch.bool for i in indices), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("backbone", [LightGCN, DCCF])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ProfileAlignment, {}),
        (ProfileReconstruction, {}),
        (IntentAlignment, settings("as_published")),
        (IntentAlignment, settings("as_in_paper")),
    ],
)
def test_heads_wait_for_nothing(tiny_data, backbone, kind, options):
    backbone = backbone(tiny_data, embedding_size=4, num_layers=2)
    head = kind(tiny_data, backbone, **options)
    Recommender(backbone, [head]).losses(USER, POS, NEG)["total"].backward()
    batch = Triplets(USER, POS, NEG, backbone.graph)
    assert len(batch.users.index) + len(batch.items.index) + len(batch.neg_items.index) > 3
    with NoWaiting():
        head.begin_step()
        x = head.corrupt(backbone.inputs(batch.graph), batch)
    encoding = backbone.encode(batch, x)
    with NoWaiting():
        sum(head(encoding, batch).values()).backward()


def test_excluded_pairs_of_one_block_are_counted_without_asking():
    x = torch.randn(4, 3, requires_grad=True)
    exclude = torch.tensor([[0, 0, 2], [1, 2, 0]])
    with NoWaiting():
        softmax_loss(x, x, x, 0.2, exclude, torch.ones(4), torch.ones(4)).backward()


def test_what_waits_is_recognised():
    x = torch.ones(3)
    for wait in (lambda: x[x > 0], lambda: x.sum().item(), lambda: x.nonzero()):
        with pytest.raises(AssertionError), NoWaiting():
            wait()
