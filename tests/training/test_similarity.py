"""Dot products or cosines, chosen on the validation items."""

import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.checkpoint import load_model, load_ranker
from irllrec_pyg.config import ConfigError
from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.ranking import evaluate
from irllrec_pyg.training import fit

SETTINGS = {"batch_size": 16, "k": (2,), "monitor": "recall@2", "accelerator": "cpu"}


def train(data, similarity="validation", seed=0, folder=None, **settings):
    torch.manual_seed(seed)
    model = build_model("lightgcn", data, settings={"similarity": similarity})
    settings = {"epochs": 3, "lr": 0.1, "seed": seed, **SETTINGS, **settings}
    return model, fit(model, data, folder=folder, progress=False, **settings)


def both(model, data):
    """The metric of the same weights, as each of two models without a choice has it."""
    found = {}
    for similarity in ("dot", "cosine"):
        other = build_model("lightgcn", data, settings={"similarity": similarity})
        state = {name: value for name, value in model.state_dict().items() if name != "cosine"}
        other.load_state_dict(state)
        found[similarity] = evaluate(other.eval(), data, "val", k=2, metrics="recall")["recall@2"]
    return found


def test_the_better_one_on_validation_ranks_and_is_recorded(tiny_data):
    seen = set()
    for seed in range(12):
        model, result = train(tiny_data, seed=seed)
        values = both(model, tiny_data)
        better = "cosine" if values["cosine"] > values["dot"] else "dot"
        seen.add(better)
        assert model.ranks_by == result.similarity == better
        assert result.validation["recall@2"] == max(values.values())
        assert result.test == evaluate(model, tiny_data, "test", k=2)
        # Where dot products win, everything is as in a run that was told so.
        if better == "dot":
            assert train(tiny_data, "dot", seed)[1].test == result.test
    assert seen == {"dot", "cosine"}


def seed_of_cosine(data):
    return next(seed for seed in range(20) if train(data, seed=seed)[0].ranks_by == "cosine")


def test_the_choice_is_saved_loaded_and_found_again(tiny_data, tmp_path):
    seed = seed_of_cosine(tiny_data)
    model, _ = train(tiny_data, seed=seed, folder=tmp_path)
    users = torch.arange(12)
    for again in (
        load_ranker(tmp_path / "model.safetensors"),
        load_model(tmp_path / "model.safetensors"),
        load_model(tmp_path / "model.safetensors", tiny_data),
        train(tiny_data, seed=seed, folder=tmp_path)[0],  # the finished run
    ):
        torch.testing.assert_close(again.score(users), model.score(users))
    assert load_model(tmp_path / "model.safetensors").config == model.config
    assert train(tiny_data, seed=seed, folder=tmp_path)[1].similarity == "cosine"


def test_a_resumed_run_chooses_as_an_uninterrupted_one(tiny_data, tmp_path):
    seed = seed_of_cosine(tiny_data)
    whole, result = train(tiny_data, seed=seed, epochs=5)
    train(tiny_data, seed=seed, epochs=2, folder=tmp_path)  # chooses too, and goes on from there
    resumed, again = train(tiny_data, seed=seed, epochs=5, folder=tmp_path)
    assert (again.test, again.validation, again.similarity) == (
        result.test,
        result.validation,
        result.similarity,
    )
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_what_has_nothing_to_choose_by_is_refused(tiny_data):
    with pytest.raises(ConfigError, match=r"'monitor' must be one of recall@2"):
        train(tiny_data, monitor="recall@3", eval_every=0)
    del tiny_data[EDGE_TYPE].val_edge_label_index
    with pytest.raises(ValueError, match="no validation interactions to choose by; set"):
        train(tiny_data, eval_every=0)
    assert train(tiny_data, "cosine", eval_every=0)[0].ranks_by == "cosine"
