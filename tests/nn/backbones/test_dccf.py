import pytest
import torch

from irllrec_pyg.nn import DCCF, IntentAlignment, LightGCN, Recommender

from . import dense


def build(data, heads=lambda backbone: ()):
    torch.manual_seed(0)
    backbone = DCCF(
        data, embedding_size=4, num_layers=2, num_intents=3, weight=0.5, temperature=0.3
    )
    return Recommender(backbone, heads(backbone)).double(), backbone


def branches(backbone):
    ones = dense.ones(backbone.graph)
    layers, out = [backbone.embedding], []
    for _ in range(2):
        x = layers[-1]
        g, h = dense.normalized(ones) @ x, dense.intents(x, backbone.intents)
        out.append((g, h, dense.adaptive(ones, x, g), dense.adaptive(ones, x, h)))
        layers.append(sum(out[-1]) + x)
    return sum(layers), out


def test_equals_the_formulas_with_their_gradients(tiny_data):
    model, backbone = build(tiny_data)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    e, parts = branches(backbone)
    users, items = dense.USER.unique(), 12 + dense.POS.unique()
    expected = sum(
        dense.nce(g[nodes], y[nodes], y[nodes], 0.3)
        for g, *others in parts
        for y in others
        for nodes in (users, items)
    )
    parameters = [backbone.embedding, backbone.intents.user, backbone.intents.item]
    dense.same(losses["ssl"], 0.5 * expected / len(users), parameters)
    dense.same(losses["bpr"], dense.bpr(e), parameters)


@pytest.mark.parametrize("target", ["predictions", "similarities"])
def test_its_ready_layers_are_what_the_tower_would_compute(tiny_data, target):
    model, backbone = build(
        tiny_data,
        lambda backbone: [IntentAlignment(tiny_data, backbone, matching={"target": target})],
    )
    head = model.heads["intent"]
    encoding = backbone()
    r = head.tower(encoding.layers, backbone.intents, backbone.graph)
    torch.testing.assert_close(torch.stack(encoding.interaction).mean(0), r)
    torch.testing.assert_close(
        r, sum(part[3] for part in branches(backbone)[1]) / 2, rtol=1e-6, atol=1e-8
    )


def test_the_teacher_follows_prototypes_that_are_the_backbones(tiny_data):
    model, backbone = build(
        tiny_data,
        lambda backbone: [IntentAlignment(tiny_data, backbone, matching={"momentum": 0.9})],
    )
    head = model.heads["intent"]
    own = [name for name in model.state_dict() if "teacher" not in name]
    assert sum("intents" in name for name in own) == 2  # stored once
    with torch.no_grad():
        backbone.intents.user.add_(1.0)
    before = head.matching.teacher["prototypes"].user.clone()
    model.losses(dense.USER, dense.POS, dense.NEG)
    torch.testing.assert_close(
        head.matching.teacher["prototypes"].user, 0.9 * before + 0.1 * backbone.intents.user
    )
    head.reset_teacher()
    assert torch.equal(head.matching.teacher["prototypes"].user, backbone.intents.user)


def test_a_head_for_another_backbone_says_so(tiny_data):
    _, backbone = build(tiny_data)
    head = IntentAlignment(tiny_data, backbone)
    with pytest.raises(ValueError, match="prototypes of its own"):
        Recommender(LightGCN(tiny_data, embedding_size=4), [head]).losses(
            dense.USER, dense.POS, dense.NEG
        )
