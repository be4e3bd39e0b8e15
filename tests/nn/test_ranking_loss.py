import math

import pytest
import torch

from irllrec_pyg import triplet_loader
from irllrec_pyg.nn import LightGCN, Recommender, contrast
from irllrec_pyg.nn.ranking_loss import InBatchSoftmax, MultinomialSoftmax
from irllrec_pyg.registry import names
from irllrec_pyg.training import fit


def training_triplets(data):
    """Two items of one user, an item of two users, and others; negatives do not matter."""
    edges = data["user", "rates", "item"].edge_index
    picked = edges[:, [0, 1, 5, 9, 13, 17, 17, 21, 30]]
    return picked[0], picked[1], torch.zeros_like(picked[0])


def model_of(data, **arguments):
    torch.manual_seed(0)
    return Recommender(
        LightGCN(data, embedding_size=6), ranking_loss=InBatchSoftmax(**arguments)
    ).double()


def naive(model, data, user, pos, tau, popularity):
    """Every pair of a user with an item of the batch, one at a time."""
    edges = data["user", "rates", "item"].edge_index
    pairs = set(map(tuple, edges.t().tolist()))
    degree = torch.bincount(edges[1], minlength=data["item"].num_nodes)
    users, items = model.embed()

    def logit(u, i):
        cosine = (
            users[u]
            @ items[i]
            / torch.sqrt((users[u] @ users[u] + 1e-8) * (items[i] @ items[i] + 1e-8))
        )
        share = degree[i].item() / (edges.size(1) / data["item"].num_nodes)
        return cosine / tau - (popularity * math.log(share))

    total = 0.0
    for u, i in zip(user.tolist(), pos.tolist(), strict=True):
        z = torch.exp(logit(u, i))
        for other in pos.tolist():
            if (u, other) not in pairs:
                z = z + torch.exp(logit(u, other))
        total = total - logit(u, i) + torch.log(z)
    return total / len(user)


@pytest.mark.parametrize("rows", [1, 20, 10_000])
@pytest.mark.parametrize("tau", [0.005, 0.15])
@pytest.mark.parametrize("popularity", [0.0, 0.4, 1.0])
def test_equals_a_loop_over_pairs(tiny_data, monkeypatch, rows, tau, popularity):
    monkeypatch.setattr(contrast, "MIN_ROWS", 1)
    monkeypatch.setitem(contrast.BLOCK_ENTRIES, "cpu", rows)
    model = model_of(tiny_data, temperature=tau, popularity=popularity)
    user, pos, neg = training_triplets(tiny_data)
    found = model.losses(user, pos, neg, augment=False)
    assert list(found) == ["softmax", "reg", "total"]
    expected = naive(model, tiny_data, user, pos, tau, popularity)
    torch.testing.assert_close(found["softmax"], expected)
    parameter = model.backbone.embedding
    torch.testing.assert_close(
        torch.autograd.grad(2 * found["softmax"], parameter),
        torch.autograd.grad(2 * expected, parameter),
    )


def test_a_sharp_softmax_stays_finite_in_float32(tiny_data):
    model = model_of(tiny_data, temperature=0.001).float()
    loss = model.losses(*training_triplets(tiny_data))["softmax"]
    loss.backward()
    assert loss.isfinite()
    assert model.backbone.embedding.grad.isfinite().all()


def test_a_user_who_has_every_item_of_the_batch_costs_nothing(tiny_data):
    edges = tiny_data["user", "rates", "item"].edge_index
    user = edges[0].bincount().argmax()
    pos = edges[1, edges[0] == user]
    loss = model_of(tiny_data).losses(user.expand_as(pos), pos, pos)["softmax"]
    assert loss.abs() < 1e-12


@pytest.mark.parametrize("popularity", [0.0, 0.4, 1.0])
def test_complete_neighbourhoods_give_the_loss_of_the_whole_graph(tiny_data, popularity):
    model = model_of(tiny_data, popularity=popularity)
    for num_neighbors in ([-1] * 4, [2, 2]):
        loader = triplet_loader(tiny_data, batch_size=11, num_neighbors=num_neighbors, seed=1)
        batch = next(iter(loader))
        sampled = model.losses_from_batch(batch, augment=False)["softmax"]
        user, item = batch["user"], batch["item"]
        whole = model.losses(
            user.n_id[user.src_index],
            item.n_id[item.dst_pos_index],
            item.n_id[item.dst_neg_index],
            augment=False,
        )["softmax"]
        if num_neighbors[0] == -1:
            torch.testing.assert_close(sampled, whole, rtol=1e-5, atol=1e-6)
        assert sampled.isfinite()


def test_trains_in_place_of_bpr_and_is_part_of_the_runs_settings(tiny_data, tmp_path):
    model = model_of(tiny_data).float()
    result = fit(model, tiny_data, epochs=2, batch_size=16, folder=tmp_path, progress=False)
    assert "loss_softmax" in result.history
    assert "loss_bpr" not in result.history
    with pytest.raises(ValueError, match="temperature"):
        fit(
            model_of(tiny_data, temperature=0.3).float(),
            tiny_data,
            epochs=2,
            batch_size=16,
            folder=tmp_path,
            progress=False,
        )


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature"):
        InBatchSoftmax(temperature=0.0)


def naive_over_all_items(model, user, pos, tau, similarity):
    """Every item for every pair, one at a time."""
    users, items = model.embed()

    def logit(u, i):
        x, y = users[u], items[i]
        if similarity == "cosine":
            x, y = x / torch.sqrt(x @ x + 1e-8), y / torch.sqrt(y @ y + 1e-8)
        return x @ y / tau

    total = 0.0
    for u, i in zip(user.tolist(), pos.tolist(), strict=True):
        z = sum(torch.exp(logit(u, other)) for other in range(len(items)))
        total = total - logit(u, i) + torch.log(z)
    return total / len(user)


@pytest.mark.parametrize("ranks_by", ["cosine", "dot"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_multinomial_loss_equals_a_loop_over_all_items(tiny_data, similarity, ranks_by):
    torch.manual_seed(0)
    loss = MultinomialSoftmax(temperature=0.3, similarity=similarity)
    backbone = LightGCN(tiny_data, embedding_size=6)
    model = Recommender(backbone, ranking_loss=loss, similarity=ranks_by).double()
    user, pos, neg = training_triplets(tiny_data)
    found = model.losses(user, pos, neg, augment=False)
    assert list(found) == ["softmax-all", "reg", "total"]
    expected = naive_over_all_items(Recommender(backbone), user, pos, 0.3, similarity)
    torch.testing.assert_close(found["softmax-all"], expected)
    torch.testing.assert_close(
        torch.autograd.grad(found["softmax-all"], backbone.embedding),
        torch.autograd.grad(expected, backbone.embedding),
    )


@pytest.mark.parametrize("name", names("ranking-loss"))
def test_every_ranking_loss_trains_every_backbone_whole_and_sampled(tiny_data, name):
    for backbone in names("backbone"):
        model = Recommender.from_config({"backbone": backbone, "ranking_loss": name}, tiny_data)
        exact = next(iter(triplet_loader(tiny_data, batch_size=9)))
        sampled = next(iter(triplet_loader(tiny_data, batch_size=9, num_neighbors=[2, 2])))
        for batch in (exact, sampled):
            loss = model.losses_from_batch(batch)[name]
            loss.backward()
            assert loss.isfinite(), backbone
