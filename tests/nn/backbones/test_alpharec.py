import pytest
import torch

from irllrec_pyg.nn import AlphaRec, MissingTextError, Recommender

from . import dense

NEG = torch.tensor([[5, 4, 3], [5, 6, 7], [6, 6, 0], [0, 1, 2], [3, 2, 1], [4, 4, 4]])


def build(data, **kwargs):
    torch.manual_seed(0)
    backbone = AlphaRec(data, embedding_size=4, num_layers=2, temperature=0.3, **kwargs)
    return Recommender(backbone).double(), backbone


def test_inputs_are_item_texts_and_means_over_training_items(tiny_data):
    edge_index = tiny_data["user", "rates", "item"].edge_index
    tiny_data["user", "rates", "item"].edge_index = edge_index[:, edge_index[0] != 5]
    del tiny_data["user"].x  # users need no texts
    _, backbone = build(tiny_data)
    text = tiny_data["item"].x.double()
    assert torch.equal(backbone.features[12:], text)
    for user in range(12):
        items = edge_index[1][edge_index[0] == user]
        expected = text[items].mean(0) if user != 5 else torch.zeros(6, dtype=torch.float64)
        torch.testing.assert_close(backbone.features[user], expected, rtol=1e-5, atol=1e-6)
    assert backbone.mlp[0].out_features == 3  # half the texts' width
    assert backbone.embedding is None
    assert all(name.startswith("backbone.mlp") for name in Recommender(backbone).state_dict())


@pytest.mark.parametrize("keep_rate", [1.0, 0.6])
def test_equals_the_formulas_with_their_gradients(tiny_data, keep_rate):
    model, backbone = build(tiny_data, keep_rate=keep_rate)
    torch.manual_seed(5)
    loss = model.losses(dense.USER, dense.POS, NEG)["bpr"]
    torch.manual_seed(5)
    matrix = dense.values(backbone.graph.drop_edges(torch.float64, keep_rate))
    e = sum(dense.lightgcn(backbone.mlp(backbone.features), [matrix] * 2)) / 3
    expected = 0.0
    for user, pos, negs in zip(dense.USER, dense.POS, NEG, strict=True):
        items = torch.cat([pos.view(1), negs]) + 12
        logits = dense.cosines(e[user].view(1, -1), e[items])[0] / 0.3
        expected = expected - logits.log_softmax(0)[0] / 6
    dense.same(loss, expected, list(backbone.mlp.parameters()))


def test_a_single_negative_will_do(tiny_data):
    model, _ = build(tiny_data)
    one = model.losses(dense.USER, dense.POS, dense.NEG)
    column = model.losses(dense.USER, dense.POS, dense.NEG.view(-1, 1))
    assert one["bpr"] == column["bpr"]


def test_scores_are_dot_products_or_cosines(tiny_data):
    model, backbone = build(tiny_data)
    cosine = Recommender(backbone, similarity="cosine")
    e = backbone().nodes
    user = torch.arange(12)
    torch.testing.assert_close(model.score(user), e[:12] @ e[12:].t())
    torch.testing.assert_close(cosine.score(user), dense.cosines(e[:12], e[12:]))
    torch.testing.assert_close(
        cosine.losses(dense.USER, dense.POS, NEG)["bpr"],
        model.losses(dense.USER, dense.POS, NEG)["bpr"],
    )


def test_missing_item_texts_are_named(tiny_data):
    del tiny_data["item"].x
    with pytest.raises(MissingTextError, match=r"for its item nodes: set data\['item'\]\.x"):
        build(tiny_data)
