import pytest
import torch

from irllrec_pyg.nn import LightGCN, MissingTextError, ProfileShaping, Recommender, contrast

USER = torch.tensor([3, 0, 3, 11])
POS, NEG = torch.tensor([1, 2, 8, 0]), torch.tensor([5, 6, 0, 3])


def build(data, **settings):
    torch.manual_seed(0)
    backbone = LightGCN(data, embedding_size=4)
    head = ProfileShaping(data, backbone, **settings)
    return Recommender(backbone, [head]).double(), head


def whitened(text, width):
    """Principal components of unit variance."""
    centred = (text - text.mean(0)).double()
    u, _, _ = torch.linalg.svd(centred, full_matrices=False)
    return u[:, :width] * len(text) ** 0.5


def cosine(x, y):
    return x @ y / torch.sqrt((x @ x + 1e-8) * (y @ y + 1e-8))


def naive(e, text, tau):
    """One user after the other, one item after the other."""
    total, users = 0.0, sorted(set(USER.tolist()))
    for u in users:
        target = torch.stack([cosine(text[u], text[i]) / tau for i in range(12, 21)]).softmax(0)
        share = torch.stack([cosine(e[u], e[i]) / tau for i in range(12, 21)]).softmax(0)
        entropy = -sum(p * p.log() for p in target)
        confidence = min(max(1 - entropy / torch.tensor(9.0).log(), torch.tensor(0.1)), 1)
        total = total - confidence * sum(p * q.log() for p, q in zip(target, share, strict=True))
    return total / len(users)


@pytest.mark.parametrize("rows", [1, 10_000])
@pytest.mark.parametrize("users", [True, False])
@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_equals_loops_over_users_and_items(tiny_data, monkeypatch, users, tau, rows):
    monkeypatch.setattr(contrast, "MIN_ROWS", 1)
    monkeypatch.setitem(contrast.BLOCK_ENTRIES, "cpu", rows)
    edges = tiny_data["user", "rates", "item"].edge_index
    if not users:
        tiny_data["user"].x = None
        item = tiny_data["item"].x
        user = torch.stack([item[edges[1][edges[0] == u]].mean(0) for u in range(12)])
    else:
        user, item = tiny_data["user"].x, tiny_data["item"].x
    model, _ = build(tiny_data, weight=0.7, temperature=tau)
    found = model.losses(USER, POS, NEG, augment=False)["profile-shaping"]
    text = whitened(torch.cat([user, item]), 4)
    expected = 0.7 * naive(model.backbone().nodes, text, tau)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)  # texts are float32
    for ours, other in zip(
        torch.autograd.grad(found, model.backbone.embedding),
        torch.autograd.grad(expected, model.backbone.embedding),
        strict=True,
    ):
        torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-6)


def test_has_no_weights_and_needs_texts(tiny_data):
    _, head = build(tiny_data)
    assert not list(head.parameters())
    assert head.state_dict() == {}
    del tiny_data["item"].x
    with pytest.raises(MissingTextError):
        build(tiny_data)
