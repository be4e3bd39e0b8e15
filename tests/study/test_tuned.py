r"""One model with the best of the settings that were tried, by hand on the same graph."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import from_interactions
from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.config import ConfigError
from irllrec_pyg.linear import EASE
from irllrec_pyg.ranking import Blend, evaluate, learn_weights

pytest.importorskip("optuna")
from irllrec_pyg.study.arms import read_candidate
from irllrec_pyg.study.candidates import NOTHING
from irllrec_pyg.study.measure import measure
from irllrec_pyg.study.tuned import tuned
from irllrec_pyg.study.tuning import open_journal


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
    with_text = ["L3AE", "TextIALS", "GFCF", "TextMean", "BilinearText", "TextPopularity"]
    assert parts(model) == with_text
    save_ranker(model, tmp_path / "model.safetensors")
    loaded, everyone = load_ranker(tmp_path / "model.safetensors"), torch.arange(4)
    np.testing.assert_allclose(loaded.score(everyone), model.score(everyone), rtol=1e-5, atol=1e-5)
    # The same folder holds what was tried: nothing is tried again, and the answer is the same.
    monkeypatch.setattr("irllrec_pyg.study.tuned.measure", None)
    again = tuned("tale", shop, trials=3, folder=tmp_path / "search")
    assert again.config == model.config


def test_learnt_weights_are_tried_after_equal_ones(shop, tmp_path):
    """Two trials are equal weights and what softmax regression finds."""
    mixed = read_candidate("mixed", {"blend": ["ease", "popularity", "item-knn"]})
    model = tuned(mixed, shop, trials=2, folder=tmp_path)
    (journal,) = tmp_path.glob("*/mixed-*.log")
    tried = [trial.user_attrs["settings"] for trial in open_journal(journal).trials]
    learnt = [max(weight, NOTHING) for weight in learn_weights(Blend(*model.rankers()), shop)]
    assert [list(json.loads(one).values()) for one in tried] == [
        [1.0, 1.0, 1.0],
        pytest.approx(learnt),
    ]
    assert min(learnt) < 1


def test_without_texts_the_ensemble_is_that_of_its_other_forms(shop):
    del shop["item"].x
    assert parts(tuned("tale", shop, trials=1)) == ["EASE", "IALS", "GFCF", "Popularity"]
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


def test_new_users_are_ranked_by_their_histories(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(u, i) for u in range(60) for i in range(24) if rng.random() < 0.6 * (i % 3 == u % 3)]
    table = pd.DataFrame(rows, columns=["user", "item"])
    data = from_interactions(table, "user", "item", kind="cold-users")
    asked = []

    def watched(ranker, data, setting, *more):
        asked.append((setting, measure(ranker, data, setting, *more)))
        return asked[-1][1]

    monkeypatch.setattr("irllrec_pyg.study.tuned.measure", watched)
    tuned("ease", data, trials=1)
    assert asked[0][0] == "cold_users"
    assert asked[0][1].means()["recall@5"] > 0.7  # popularity finds less than half


def test_two_at_once_share_the_trials(shop, tmp_path, monkeypatch):
    tried = []

    def counted(*more):
        tried.append(1)
        time.sleep(0.02)
        return measure(*more)

    monkeypatch.setattr("irllrec_pyg.study.tuned.measure", counted)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(tuned, "ease", shop, trials=4, folder=tmp_path) for _ in range(2)]
    one, other = (each.result() for each in both)
    assert one.config == other.config
    assert len(tried) == 4


def test_trials_belong_to_what_they_were_made_with(shop, tmp_path, monkeypatch):
    tried = []

    def counted(*more):
        tried.append(1)
        return measure(*more)

    monkeypatch.setattr("irllrec_pyg.study.tuned.measure", counted)
    for low in (1.0, 500.0):
        row = {"model": "ease", "search": {"reg": [low, low + 100.0]}}
        tuned(read_candidate("mine", row), shop, trials=2, folder=tmp_path)
    assert len(tried) == 4


def test_given_settings_need_no_optuna():
    script = (
        "import sys; sys.modules |= {'optuna': None, 'pyarrow': None}\n"
        "from irllrec_pyg import from_interactions\n"
        "from irllrec_pyg.study.tuned import search\n"
        "import pandas as pd\n"
        "rows = [(user, (user + step) % 8) for user in range(8) for step in range(5)]\n"
        "data = from_interactions(pd.DataFrame(rows, columns=['user', 'item']), 'user', 'item')\n"
        "print(search('ease', data, settings={'reg': 7.0}, trials=0).ranker.config.reg)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "7.0\n", done.stderr
