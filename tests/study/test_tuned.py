r"""One model with the best of the settings that were tried, by hand on the same graph."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import from_interactions
from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.config import ConfigError
from irllrec_pyg.linear import EASE
from irllrec_pyg.ranking import Blend, evaluate

pytest.importorskip("optuna")
from irllrec_pyg.study.tuned import tuned


@pytest.fixture
def shop():
    """Users who buy what is close in the space of texts."""
    rng = np.random.default_rng(0)
    items, users = rng.normal(size=(24, 3)), rng.normal(size=(40, 3))
    rows = [(u, i) for u in range(40) for i in np.argsort(-items @ users[u])[:10].tolist()]
    table = pd.DataFrame(rows, columns=["user", "item"])
    texts = {item: items[item].astype(np.float32) for item in range(24)}
    return from_interactions(table, "user", "item", x=(None, texts))


def parts(model):
    return [type(part).__name__ for part in model.rankers()]


def test_the_best_of_what_was_tried_is_built(shop):
    model = tuned("ease", shop, trials=6)
    worth = {
        reg: evaluate(EASE(shop, reg=reg), shop, "val", k=20)["ndcg@20"]
        for reg in (model.config.reg, EASE.Config().reg)
    }
    assert type(model) is EASE
    assert worth[model.config.reg] == max(worth.values())


def test_an_ensemble_is_tuned_saved_and_ranks(shop, tmp_path, monkeypatch):
    model = tuned("tale", shop, trials=3, folder=tmp_path / "search")
    assert type(model) is Blend
    assert parts(model) == ["L3AE", "TextIALS", "GFCF", "TextMean"]
    save_ranker(model, tmp_path / "model.safetensors")
    loaded, everyone = load_ranker(tmp_path / "model.safetensors"), torch.arange(4)
    np.testing.assert_allclose(loaded.score(everyone), model.score(everyone), rtol=1e-5, atol=1e-5)
    # The same folder holds what was tried: nothing is tried again, and the answer is the same.
    monkeypatch.setattr("irllrec_pyg.study.tuned.measure", None)
    again = tuned("tale", shop, trials=3, folder=tmp_path / "search")
    assert again.config == model.config


def test_without_texts_the_ensemble_is_that_of_its_other_forms(shop):
    del shop["item"].x
    assert parts(tuned("tale", shop, trials=1)) == ["EASE", "IALS", "GFCF"]
    with pytest.raises(ConfigError, match="'text-mean' needs texts of the items"):
        tuned("text-mean", shop, trials=1)


def test_new_items_are_ranked_among_themselves(shop):
    edges = shop["user", "rates", "item"]
    cold = torch.zeros(shop["item"].num_nodes, dtype=torch.int8)
    cold[:4], cold[4:8] = 1, 2
    pairs = torch.cat([edges.edge_index, edges.val_edge_label_index, edges.edge_label_index], 1)
    for name, part in (("edge_index", 0), ("val_edge_label_index", 1), ("edge_label_index", 2)):
        edges[name] = pairs[:, cold[pairs[1]] == part]
    shop["item"].split = cold
    model = tuned("tale", shop, trials=2)
    listed, _ = model.topk(torch.arange(5), 4, candidates=torch.arange(4, 8))
    assert len({tuple(row) for row in listed.tolist()}) > 1  # texts tell them apart
