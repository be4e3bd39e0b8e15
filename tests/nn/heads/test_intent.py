import pytest
import torch

from irllrec_pyg.nn import IntentAlignment, LightGCN, MissingTextError, Recommender
from tests.nn.conv.test_adaptive_conv import naive as naive_adaptive
from tests.nn.test_losses import cosine, naive_nce, naive_ssl

USER = torch.tensor([0, 3, 3, 7, 11, 0])
POS = torch.tensor([1, 2, 2, 8, 0, 1])
NEG = torch.tensor([5, 5, 6, 0, 3, 4])
WEIGHTS = {"weight": 0.5, "temperature": 0.3, "translation_weight": 0.2, "matching_weight": 0.7}


def build(data, size=4, **kwargs):
    torch.manual_seed(0)
    head = IntentAlignment(data, size, num_intents=3, **{**WEIGHTS, **kwargs})
    return Recommender(LightGCN(data, size), [head]).double(), head


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
        for weight in head.teacher.parameters():
            weight.mul_(0.5)
    model.eval()
    losses = model.losses(USER, POS, NEG, augment=False)
    e = model.backbone()
    r, z = towers(head, e, model.backbone.graph, head.prototypes, head.mlp)
    pos, neg = 12 + POS, 12 + NEG
    pairwise = (
        naive_nce(r[USER], z[USER], z[:12], 0.3)
        + naive_nce(r[pos], z[pos], z[pos], 0.3)
        + naive_nce(r[neg], z[neg], z[neg], 0.3)
    ) / 6
    translation = naive_ssl(z, e.nodes, 1.0)
    target = head.teacher["mlp"](head.features).softmax(1)
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
        for weight in head.teacher.parameters():
            weight.mul_(0.5)
    model.eval()
    losses = model.losses(USER, POS, NEG, augment=False)
    e = model.backbone()
    r, z = towers(head, e, model.backbone.graph, head.prototypes, head.mlp)
    teacher = head.teacher["prototypes"], head.teacher["mlp"]
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
    model, head = build(tiny_data, all_nodes=False)
    rows = []
    head.mlp.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    loss = model.eval().losses(USER, POS, NEG, augment=False)["translation"]
    nodes = sorted({*USER.tolist(), *(12 + POS).tolist(), *(12 + NEG).tolist()})
    assert sum(rows) == 12 + len([node for node in nodes if node >= 12])
    z = head.mlp(head.features)[nodes]
    torch.testing.assert_close(loss, 0.2 * naive_ssl(z, model.backbone().nodes[nodes], 1.0))


@pytest.mark.parametrize("mode", ["as_published", "as_in_paper"])
def test_the_teacher_starts_as_a_copy_moves_once_a_step_and_takes_no_gradient(tiny_data, mode):
    model, head = build(tiny_data, mode=mode, momentum=0.9)

    def state(module):
        return {key: value.clone() for key, value in module.state_dict().items()}

    assert head.teacher.keys() == ({"mlp"} if mode == "as_published" else {"mlp", "prototypes"})
    for name, teacher in head.teacher.items():
        student = state(getattr(head, name))
        assert all(torch.equal(value, student[key]) for key, value in state(teacher).items())
    assert any(key.startswith("heads.0.teacher.mlp") for key in model.state_dict())

    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.losses(USER, POS, NEG)["total"].backward()
    optimizer.step()
    before, student = state(head.teacher), state(head.mlp)
    assert all(parameter.grad is None for parameter in head.teacher.parameters())
    model.losses(USER, POS, NEG)
    for key, value in head.teacher["mlp"].state_dict().items():
        torch.testing.assert_close(value, 0.9 * before[f"mlp.{key}"] + 0.1 * student[key])
    after = state(head.teacher)
    model.eval().losses(USER, POS, NEG)  # not a training step
    assert all(torch.equal(value, after[key]) for key, value in state(head.teacher).items())
    head.reset_teacher()
    assert torch.equal(head.teacher["mlp"][0].weight, head.mlp[0].weight)


def test_noise_is_drawn_only_in_augmentation(tiny_data):
    model, _ = build(tiny_data)
    model.eval()
    calm, again = (model.losses(USER, POS, NEG, augment=False) for _ in range(2))
    first, second = (model.losses(USER, POS, NEG) for _ in range(2))
    assert calm["translation"] == again["translation"]
    assert first["translation"] != second["translation"]
    assert first["intent"] == calm["intent"]


def test_parts_with_zero_weight_are_left_out(tiny_data):
    model, head = build(tiny_data, translation_weight=0.0, matching_weight=0.0)
    assert set(model.losses(USER, POS, NEG)) == {"bpr", "reg", "intent", "total"}
    assert not list(head.teacher.parameters())


def test_the_intent_loss_reaches_every_weight(tiny_data):
    model, head = build(tiny_data)
    model.losses(USER, POS, NEG)["intent"].backward()
    for weight in (
        model.backbone.embedding,
        head.mlp[0].weight,
        head.prototypes.user,
        head.prototypes.item,
    ):
        assert weight.grad.abs().sum() > 0


def test_missing_texts_and_wrong_arguments_fail_at_construction(tiny_data):
    with pytest.raises(ValueError, match="'mode'"):
        build(tiny_data, mode="as_dreamt")
    with pytest.raises(ValueError, match="'momentum'"):
        build(tiny_data, momentum=1.1)
    del tiny_data["user"].intent
    with pytest.raises(MissingTextError, match=r"data\['user'\]\.intent"):
        build(tiny_data)
