import numpy as np
import pytest
import torch

from irllrec_pyg.config import ConfigError
from irllrec_pyg.nn import LightGCN, MissingTextError, ProfileAlignment, Recommender
from tests.nn.test_losses import naive_nce

USER = torch.tensor([0, 3, 3, 7, 11, 0])
POS = torch.tensor([1, 2, 2, 8, 0, 1])
NEG = torch.tensor([5, 5, 6, 0, 3, 4])


def build(data):
    backbone = LightGCN(data, embedding_size=4)
    head = ProfileAlignment(data, backbone)
    return Recommender(backbone, [head]), head


@pytest.mark.parametrize("negatives", [True, False])
def test_equals_the_formula_over_repeated_rows(tiny_data, negatives):
    backbone = LightGCN(tiny_data, embedding_size=4)
    head = ProfileAlignment(tiny_data, backbone, weight=0.5, temperature=0.3, negatives=negatives)
    model = Recommender(backbone, [head]).double()
    loss = model.losses(USER, POS, NEG, augment=False)["profile"]

    e = backbone().nodes
    p = head.mlp(torch.cat([tiny_data["user"].x, tiny_data["item"].x]).double())
    users, pos, neg = p[:12], 12 + POS, 12 + NEG
    expected = naive_nce(e[USER], p[USER], users, 0.3) + naive_nce(e[pos], p[pos], p[pos], 0.3)
    if negatives:
        expected = expected + naive_nce(e[neg], p[neg], p[neg], 0.3)
    expected = 0.5 * expected / 6
    torch.testing.assert_close(loss, expected)
    weights = [*head.parameters(), backbone.embedding]
    for a, b in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_several_negatives_count_as_one_on_average(tiny_data):
    model = build(tiny_data)[0].double()
    one = model.losses(USER, POS, NEG, augment=False)["profile"]
    batch = model.losses(USER, POS, NEG.view(-1, 1).repeat(1, 3), augment=False)["profile"]
    torch.testing.assert_close(one, batch)


def test_texts_are_mapped_only_where_the_loss_needs_them(tiny_data):
    model, head = build(tiny_data)
    rows = []
    head.mlp.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    model.losses(USER, POS, NEG)
    assert sum(rows) == 12 + len({*POS.tolist(), *NEG.tolist()})


def test_texts_are_not_in_the_state_dict_and_follow_the_dtype(tiny_data):
    _, head = build(tiny_data)
    assert all(key.startswith("mlp.") for key in head.state_dict())
    assert head.features.dtype == torch.float32
    assert head.double().features.dtype == torch.float64


def profile_loss(model, mixed=True):
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        return model.losses(USER, POS, NEG, augment=False)["profile"]


def test_texts_that_are_kept_for_autocast_are_those_of_the_head(tiny_data):
    model, head = build(tiny_data)
    with torch.inference_mode():
        first = profile_loss(model)
    profile_loss(model).backward()
    kept = head._narrow
    assert torch.equal(profile_loss(model), first)
    assert head._narrow is kept
    head.features = head.features.flip(0)
    second = profile_loss(model)
    assert not torch.equal(second, first)
    torch.testing.assert_close(second, profile_loss(model, mixed=False), rtol=0.02, atol=0)
    head.features.mul_(-3)
    assert not torch.equal(profile_loss(model), second)


def test_replaced_texts_are_never_taken_for_those_before(tiny_data):
    model, head = build(tiny_data)
    generator, memory = np.random.default_rng(0), np.empty((21, 6), np.float32)
    for step in range(10):
        memory[:] = generator.standard_normal((21, 6))
        head.features = torch.from_numpy(memory)  # a new tensor where the last one lay
        if step % 2:
            profile_loss(model)  # some are kept, others are replaced before they are used
        narrow = head.features.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(head._in_dtype_of_products(), narrow)
            head.features.mul_(2)
            assert torch.equal(head._in_dtype_of_products(), 2 * narrow)


def test_texts_of_items_alone_are_enough(tiny_data):
    tiny_data["user"].x = None
    model, head = build(tiny_data)
    user, item = tiny_data["user", "rates", "item"].edge_index
    for one in range(12):
        torch.testing.assert_close(
            head.features[one], tiny_data["item"].x[item[user == one]].mean(0)
        )
    assert model.losses(USER, POS, NEG)["profile"] > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weight": -1.0}, "'weight' must be at least 0"),
        ({"temperature": 0}, "'temperature' must be greater than 0"),
        ({"negatives": 1}, "'negatives' must be true or false"),
        ({"temprature": 1.0}, "did you mean 'temperature'"),
    ],
)
def test_wrong_settings_are_named(tiny_data, wrong, message):
    with pytest.raises(ConfigError, match=message):
        ProfileAlignment(tiny_data, LightGCN(tiny_data, embedding_size=4), **wrong)


def test_float64_stays_under_autocast(tiny_data):
    model = build(tiny_data)[0].double()
    assert torch.equal(profile_loss(model), profile_loss(model, mixed=False))


def test_missing_texts_fail_with_the_words_of_the_data_set(tiny_data):
    del tiny_data["item"].x
    with pytest.raises(MissingTextError, match=r"profile-text embeddings .*data\['item'\]\.x"):
        build(tiny_data)
    tiny_data.missing = {"x": "Get them there, put them here."}
    with pytest.raises(MissingTextError, match=r"Get them there, put them here\."):
        build(tiny_data)


@pytest.mark.parametrize(("shape", "message"), [((9, 3), "6 wide"), ((8, 6), "each of the 9")])
def test_wrong_shapes_are_named(tiny_data, shape, message):
    tiny_data["item"].x = torch.randn(shape)
    with pytest.raises(ValueError, match=message):
        build(tiny_data)
