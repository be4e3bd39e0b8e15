import pytest
import torch

from irllrec_pyg.nn import GCCF, IntentAlignment, ProfileAlignment, Recommender

from . import dense


@pytest.mark.parametrize("self_loops", [True, False])
def test_equals_dense_propagation(tiny_data, self_loops):
    backbone = GCCF(tiny_data, 4, num_layers=2, self_loops=self_loops)
    model = Recommender(backbone).double()
    matrix = dense.ones(backbone.graph) + self_loops * torch.eye(21)
    layers = dense.lightgcn(backbone.embedding, [dense.normalized(matrix)] * 2)
    encoding = backbone()
    for ours, expected in zip(encoding.layers, layers, strict=True):
        torch.testing.assert_close(ours, expected)
    expected = torch.cat(layers, dim=1)
    assert encoding.nodes.shape == (21, backbone.out_channels) == (21, 12)
    torch.testing.assert_close(encoding.nodes, expected)
    loss = model.losses(dense.USER, dense.POS, dense.NEG)["bpr"]
    dense.same(loss, dense.bpr(expected), [backbone.embedding])


def test_a_node_without_interactions_keeps_its_embedding(tiny_data):
    edge_index = tiny_data["user", "rates", "item"].edge_index
    tiny_data["user", "rates", "item"].edge_index = edge_index[:, edge_index[0] != 5]
    backbone = GCCF(tiny_data, 4, num_layers=2)
    assert torch.equal(backbone().nodes[5], backbone.embedding[5].repeat(3))


def test_heads_take_the_width_they_need(tiny_data):
    backbone = GCCF(tiny_data, 4, num_layers=2)
    heads = [
        ProfileAlignment(tiny_data, backbone),
        IntentAlignment(tiny_data, backbone, num_intents=3),
    ]
    losses = Recommender(backbone, heads).losses(dense.USER, dense.POS, dense.NEG)
    losses["total"].backward()
    assert heads[0].mlp[2].out_features == 12
    assert heads[1].mlp[2].out_features == 4
