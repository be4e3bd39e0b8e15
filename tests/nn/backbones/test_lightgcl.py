import pytest
import torch

from irllrec_pyg.nn import LightGCL, Recommender

from . import dense


def build(data, **settings):
    torch.manual_seed(0)
    backbone = LightGCL(data, embedding_size=4, num_layers=2, rank=3, **settings)
    return Recommender(backbone).double(), backbone


@pytest.mark.parametrize("keep_rate", [1.0, 0.7])
def test_equals_the_formulas_with_their_gradients(tiny_data, keep_rate):
    model, backbone = build(tiny_data, keep_rate=keep_rate, weight=0.4, temperature=0.3)
    torch.manual_seed(5)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    torch.manual_seed(5)
    matrix = dense.values(backbone.graph.drop_edges(torch.float64, keep_rate))
    layers = dense.lightgcn(backbone.embedding, [matrix] * 2)
    whole = dense.normalized(dense.ones(backbone.graph))
    u, s, vt = torch.linalg.svd(whole[:12, 12:])
    low = torch.zeros_like(whole)
    low[:12, 12:] = u[:, :3] @ s[:3].diag() @ vt[:3]
    low = low + low.t()
    view = layers[0] + low @ layers[0] + low @ layers[1]
    parameters = [backbone.embedding]
    dense.same(losses["bpr"], dense.bpr(sum(layers)), parameters)
    expected = 0.4 * dense.contrast(sum(layers), view, 0.3, negatives=False)
    torch.testing.assert_close(losses["ssl"], expected, rtol=1e-5, atol=1e-7)  # float32 factors
    ours, other = (torch.autograd.grad(x, parameters)[0] for x in (losses["ssl"], expected))
    torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-6)


def test_the_view_is_a_part_of_the_weights(tiny_data):
    model, _ = build(tiny_data)
    assert {"backbone.user_factor", "backbone.item_factor"} <= set(model.state_dict())


def test_a_rank_without_so_many_items_is_refused(tiny_data):
    with pytest.raises(ValueError, match=r"'rank' must be less than the 12 users and the 9 items"):
        LightGCL(tiny_data, rank=9)
