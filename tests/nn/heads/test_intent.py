import json

import pytest
import torch

from irllrec_pyg.config import ConfigError
from irllrec_pyg.nn import (
    DCCF,
    IntentAlignment,
    LightGCN,
    MissingTextError,
    ProfileAlignment,
    ProfileReconstruction,
    Recommender,
)
from irllrec_pyg.registry import read_part
from tests.nn.conv.test_adaptive_conv import naive as naive_adaptive
from tests.nn.test_losses import cosine, naive_nce, naive_ssl

USER = torch.tensor([0, 3, 3, 7, 11, 0])
POS = torch.tensor([1, 2, 2, 8, 0, 1])
NEG = torch.tensor([5, 5, 6, 0, 3, 4])
# What the released code of LightGCN computes, and what the paper says.
TRANSLATION = {"as_published": {"noise": "multiplicative", "nodes": "all"}, "as_in_paper": {}}
MATCHING = {"as_published": {"target": "predictions"}, "as_in_paper": {}}


def settings(mode="as_published", nodes=None, pairwise=(), translation=(), matching=(), **kwargs):
    """Settings of an intent head with weights that tell its parts apart."""
    translation = {"weight": 0.2, **TRANSLATION[mode], **dict(translation)}
    return {
        "num_intents": 3,
        "temperature": 0.3,
        "pairwise": {"weight": 0.5, **dict(pairwise)},
        "translation": translation if nodes is None else {**translation, "nodes": nodes},
        "matching": {"weight": 0.7, **MATCHING[mode], **dict(matching)},
        **kwargs,
    }


def build(data, size=4, **kwargs):
    torch.manual_seed(0)
    backbone = LightGCN(data, embedding_size=size)
    head = IntentAlignment(data, backbone, **settings(**kwargs))
    return Recommender(backbone, [head]).double(), head


def towers(head, encoding, graph, prototypes, mlp):
    """Both towers by their formulas, for all nodes."""
    layers = []
    for layer in encoding.layers[:-1]:
        hidden = torch.cat(
            [
                torch.softmax(layer[:12] @ prototypes.user, 1) @ prototypes.user.t(),
                torch.softmax(layer[12:] @ prototypes.item, 1) @ prototypes.item.t(),
            ]
        )
        layers.append(naive_adaptive(layer, hidden, graph.edge_index))
    return sum(layers) / len(layers), mlp(head.features)


def test_as_published_equals_the_formulas(tiny_data):
    model, head = build(tiny_data)
    with torch.no_grad():  # a teacher that differs from its student
        for weight in head.matching.teacher.parameters():
            weight.mul_(0.5)
    model.eval()
    losses = model.losses(USER, POS, NEG, augment=False)
    e = model.backbone()
    r, z = towers(head, e, model.backbone.graph, head.intents, head.mlp)
    pos, neg = 12 + POS, 12 + NEG
    pairwise = (
        naive_nce(r[USER], z[USER], z[:12], 0.3)
        + naive_nce(r[pos], z[pos], z[pos], 0.3)
        + naive_nce(r[neg], z[neg], z[neg], 0.3)
    ) / 6
    translation = naive_ssl(z, e.nodes, 1.0)
    target = head.matching.teacher["mlp"](head.features).softmax(1)
    entropy = -(target * z.softmax(1).log()).sum() / 21
    expected = {
        "intent": 0.5 * pairwise,
        "translation": 0.2 * translation,
        "matching": 0.7 * (0.4 * 0.2 * translation + 0.6 * entropy),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-6, atol=1e-7)


def test_as_in_paper_equals_the_formulas(tiny_data):
    model, head = build(tiny_data, mode="as_in_paper")
    with torch.no_grad():
        for weight in head.matching.teacher.parameters():
            weight.mul_(0.5)
    model.eval()
    losses = model.losses(USER, POS, NEG, augment=False)
    e = model.backbone()
    r, z = towers(head, e, model.backbone.graph, head.intents, head.mlp)
    teacher = head.matching.teacher["prototypes"], head.matching.teacher["mlp"]
    r_m, z_m = towers(head, e, model.backbone.graph, *teacher)
    users, items = sorted({*USER.tolist()}), sorted({*(12 + POS).tolist(), *(12 + NEG).tolist()})
    translation = naive_ssl(z[users + items], e.nodes[users + items], 1.0)
    divergence = 0.0
    for nodes in (users, items):
        student = torch.stack(
            [torch.stack([cosine(r[a], z[b]) / 0.3 for b in nodes]) for a in nodes]
        )
        teacher = torch.stack(
            [torch.stack([cosine(r_m[a], z_m[b]) / 0.3 for b in nodes]) for a in nodes]
        )
        for s, t in ((student, teacher), (student.t(), teacher.t())):
            p = t.softmax(1)
            divergence += 0.5 * (p * (p.log() - s.softmax(1).log())).sum() / len(nodes)
    torch.testing.assert_close(losses["translation"], 0.2 * translation)
    torch.testing.assert_close(
        losses["matching"], 0.7 * (0.4 * 0.2 * translation + 0.6 * divergence), rtol=1e-6, atol=1e-7
    )


def test_translation_over_the_batch_alone(tiny_data):
    model, head = build(tiny_data, nodes="batch")
    rows = []
    head.mlp.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    loss = model.eval().losses(USER, POS, NEG, augment=False)["translation"]
    nodes = sorted({*USER.tolist(), *(12 + POS).tolist(), *(12 + NEG).tolist()})
    assert sum(rows) == 12 + len([node for node in nodes if node >= 12])
    z = head.mlp(head.features)[nodes]
    torch.testing.assert_close(loss, 0.2 * naive_ssl(z, model.backbone().nodes[nodes], 1.0))


@pytest.mark.parametrize("mode", ["as_published", "as_in_paper"])
def test_the_teacher_starts_as_a_copy_moves_once_a_step_and_takes_no_gradient(tiny_data, mode):
    model, head = build(tiny_data, mode=mode, matching={"momentum": 0.9})
    slow = head.matching.teacher
    students = {"mlp": head.mlp, "prototypes": head.intents}

    def state(module):
        return {key: value.clone() for key, value in module.state_dict().items()}

    assert slow.keys() == ({"mlp"} if mode == "as_published" else {"mlp", "prototypes"})
    for name, teacher in slow.items():
        student = state(students[name])
        assert all(torch.equal(value, student[key]) for key, value in state(teacher).items())
    assert any(
        key.startswith("heads.intent.parts.matching.teacher.mlp") for key in model.state_dict()
    )

    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.losses(USER, POS, NEG)["total"].backward()
    optimizer.step()
    before, student = state(slow), state(head.mlp)
    assert all(parameter.grad is None for parameter in slow.parameters())
    model.losses(USER, POS, NEG)
    for key, value in slow["mlp"].state_dict().items():
        torch.testing.assert_close(value, 0.9 * before[f"mlp.{key}"] + 0.1 * student[key])
    after = state(slow)
    model.eval().losses(USER, POS, NEG)  # not a training step
    assert all(torch.equal(value, after[key]) for key, value in state(slow).items())
    head.reset_teacher()
    assert torch.equal(slow["mlp"][0].weight, head.mlp[0].weight)


def test_noise_is_drawn_only_in_augmentation(tiny_data):
    model, _ = build(tiny_data)
    model.eval()
    calm, again = (model.losses(USER, POS, NEG, augment=False) for _ in range(2))
    first, second = (model.losses(USER, POS, NEG) for _ in range(2))
    assert calm["translation"] == again["translation"]
    assert first["translation"] != second["translation"]
    assert first["intent"] == calm["intent"]


def test_parts_with_zero_weight_are_left_out(tiny_data):
    for translation, matching in (({"weight": 0.0}, {"weight": 0.0}), (None, None)):
        torch.manual_seed(0)
        backbone = LightGCN(tiny_data, embedding_size=4)
        head = IntentAlignment(tiny_data, backbone, translation=translation, matching=matching)
        model = Recommender(backbone, [head])
        assert set(model.losses(USER, POS, NEG)) == {"bpr", "reg", "intent", "total"}
        assert not any("teacher" in name for name in model.state_dict())


def test_the_intent_loss_reaches_every_weight(tiny_data):
    model, head = build(tiny_data)
    model.losses(USER, POS, NEG)["intent"].backward()
    for weight in (
        model.backbone.embedding,
        head.mlp[0].weight,
        head.intents.user,
        head.intents.item,
    ):
        assert weight.grad.abs().sum() > 0


def test_missing_texts_fail_at_construction(tiny_data):
    del tiny_data["item"].intent
    with pytest.raises(MissingTextError, match=r"data\['item'\]\.intent"):
        build(tiny_data)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"matching": {"momentum": 1.1}}, "momentum' must be at most 1"),
        ({"matching": {"alpha": -0.1}}, "alpha' must be at least 0"),
        ({"matching": {"target": "all"}}, "target' must be 'similarities' or 'predictions'"),
        ({"translation": {"noise": "pink"}}, "noise' must be 'additive' or 'multiplicative'"),
        ({"translation": {"noise_scale": -1.0}}, "noise_scale' must be at least 0"),
        ({"pairwise": {"weight": -1.0}}, "weight' must be at least 0"),
        ({"temperature": 0.0}, "'temperature' must be greater than 0"),
        ({"num_intents": 0}, "'num_intents' must be at least 1"),
        ({"num_intents": "3"}, "'num_intents' must be a whole number"),
        ({"shift": 2}, "'shift' must be at most 1"),
        ({"prototypes": "mine"}, "'prototypes' must be 'backbone' or 'own'"),
        ({"mode": "as_published"}, "Unknown field 'mode'"),
    ],
)
def test_wrong_settings_are_named(tiny_data, wrong, message):
    with pytest.raises(ConfigError, match=message):
        IntentAlignment(tiny_data, LightGCN(tiny_data, embedding_size=4), **wrong)


def test_matching_without_translation_is_distillation_alone(tiny_data):
    losses = {}
    for weight in (0.0, 0.2):  # a part of no weight leaves the nodes as they are
        model, _ = build(tiny_data, translation={"weight": weight})
        with torch.no_grad():
            for parameter in next(iter(model.heads.values())).matching.teacher.parameters():
                parameter.mul_(0.5)
        losses[weight] = model.eval().losses(USER, POS, NEG, augment=False)
    assert "translation" not in losses[0.0]
    torch.testing.assert_close(
        losses[0.0]["matching"], losses[0.2]["matching"] - 0.7 * 0.4 * losses[0.2]["translation"]
    )
    model, _ = build(tiny_data, pairwise={"weight": 0.0})
    assert set(model.losses(USER, POS, NEG)) == {"bpr", "reg", "translation", "matching", "total"}


def test_a_view_that_the_backbone_lacks_is_named(tiny_data):
    model, _ = build(tiny_data, view=1)
    with pytest.raises(ValueError, match="'view' must be less than the backbone's 0 views, got 1"):
        model.losses(USER, POS, NEG)


def test_own_prototypes_leave_the_backbones_alone(tiny_data):
    backbone = DCCF(tiny_data, embedding_size=4, num_layers=2, num_intents=5)
    head = IntentAlignment(tiny_data, backbone, **settings("as_in_paper", prototypes="own"))
    assert head.student_intents.user.shape == (4, 3)
    loss = Recommender(backbone, [head]).losses(USER, POS, NEG)["intent"]
    assert torch.autograd.grad(loss, head.intents.user)[0].abs().sum() > 0
    borrowing = IntentAlignment(tiny_data, backbone, **settings("as_in_paper"))
    assert borrowing.intents is None
    loss = Recommender(backbone, [borrowing]).losses(USER, POS, NEG)["intent"]
    assert torch.autograd.grad(loss, backbone.intents.user)[0].abs().sum() > 0


@pytest.mark.parametrize("kind", [ProfileAlignment, ProfileReconstruction, IntentAlignment])
def test_a_head_is_rebuilt_from_its_description(tiny_data, kind):
    backbone = LightGCN(tiny_data, embedding_size=4)
    changed = {"pairwise": {"weight": 0.5}, "matching": None} if kind is IntentAlignment else {}
    head = kind(tiny_data, backbone, temperature=0.5, **changed)
    cls, config = read_part("head", json.loads(json.dumps(head.description)))
    assert cls is kind
    assert cls(tiny_data, backbone, config).config == head.config
    assert head.temperature == head.config.temperature == 0.5
    assert all(info.description for info in kind.Config.model_fields.values())
    with pytest.raises(AttributeError, match="build another one"):
        head.temperature = 0.1
