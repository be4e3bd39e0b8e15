"""A PyG model that knows nothing of this package trains with its heads."""

import pytest
import torch
from torch_geometric.nn import GAT

from irllrec_pyg import IRLLRecDataset
from irllrec_pyg.nn import GNNBackbone, IntentAlignment, Ranker, Recommender
from irllrec_pyg.ranking import evaluate
from irllrec_pyg.training import fit


class Popularity(Ranker):
    def score(self, user):
        count = torch.bincount(self.seen_item, minlength=self.num_items).float()
        return count.expand(len(user), -1).clone()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return IRLLRecDataset(tmp_path_factory.mktemp("data"), name="sample")[0]


def build(data, shift):
    torch.manual_seed(0)
    backbone = GNNBackbone(data, gnn=GAT(32, 32, num_layers=2))
    head = IntentAlignment(data, backbone, num_intents=16, shift=shift)
    return Recommender(backbone, [head], reg_weight=1e-6)


def test_gat_with_intents_beats_popularity(data):
    model = build(data, shift=1)
    result = fit(model, data, epochs=10, lr=1e-2, batch_size=512, progress=False)
    edges = data["user", "rates", "item"].edge_index
    popular = evaluate(Popularity(edges, model.num_users, model.num_items), data, "test")
    assert result.test["recall@20"] > popular["recall@20"] > 0.1
    assert result.test["ndcg@20"] > popular["ndcg@20"]


@pytest.mark.parametrize(
    ("shift", "names"),
    [
        (1, ["intent"]),  # the tower reads the network's output
        (0, ["translation", "matching"]),  # it reads the input, as for the published models
    ],
)
def test_the_intent_losses_reach_the_weights_of_the_gat(data, shift, names):
    model = build(data, shift)
    batch = torch.arange(50), torch.arange(50), torch.arange(50, 100)
    losses = model.losses(*batch)
    for name in names:
        grads = torch.autograd.grad(
            losses[name],
            list(model.backbone.network.parameters()),
            retain_graph=True,
            allow_unused=True,
        )
        assert sum(grad.abs().sum() for grad in grads if grad is not None) > 0, name
