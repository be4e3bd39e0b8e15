"""What `fit` refuses, and how it reads its arguments."""

import inspect

import pytest
from pytorch_lightning import Callback
from pytorch_lightning.loggers.logger import DummyLogger

from irllrec_pyg.training import RecommenderModule, TrainingConfig, fit
from irllrec_pyg.training import trainer as trainer_module

from .runs import outcome, train


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"monitor": "recall@7"}, "'monitor' must be one of recall@5"),
        ({"epochs": 0}, "'epochs' must be at least 1"),
        ({"patience": 0}, "'patience' must be at least 1"),
        ({"eval_every": -1}, "'eval_every' must be at least 0"),
    ],
)
def test_errors(tiny_data, change, message):
    with pytest.raises(ValueError, match=message):
        train(tiny_data, "lightgcn", **change)


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("logger", False, "'loggers'"),
        ("max_epochs", 3, "'epochs'"),
        ("default_root_dir", ".", "'folder'"),
        ("enable_progress_bar", True, "'progress'"),
        ("enable_checkpointing", True, "'folder'"),
        ("plugins", [], "a Trainer of your own"),
    ],
)
def test_an_option_of_the_trainer_that_fit_sets_is_named(tiny_data, option, value, instead):
    with pytest.raises(ValueError, match=f"'{option}' of .* is set by 'fit': .*{instead}"):
        train(tiny_data, "lightgcn", **{option: value})


def test_every_option_that_fit_gives_the_trainer_is_known(tiny_data, monkeypatch):
    given = {}

    def trainer(**options):
        given.update(options)
        raise InterruptedError

    monkeypatch.setattr(trainer_module, "Trainer", trainer)
    with pytest.raises(InterruptedError):
        train(tiny_data, "lightgcn")
    own = {*inspect.signature(fit).parameters, *TrainingConfig.model_fields}
    for option in set(given) - own - set(trainer_module.OWN):
        with pytest.raises(InterruptedError):  # may be given otherwise
            train(tiny_data, "lightgcn", **{option: None})
        assert given[option] is None


def test_one_value_stands_for_a_list_of_it(tiny_data):
    class Rows(DummyLogger):
        def log_metrics(self, metrics, step=None):
            steps.append(step)

    steps = []
    options = {"epochs": 2, "seed": 3}
    many = train(tiny_data, "lightgcn", k=[20], metrics=["recall"], **options)
    one = train(
        tiny_data,
        "lightgcn",
        k=20,
        metrics="recall",
        loggers=Rows(),
        callbacks=Callback(),
        **options,
    )
    assert outcome(*one) == outcome(*many)
    assert set(one[1].test) == {"recall@20"}
    assert steps == [1, 2]
    module = RecommenderModule(one[0], tiny_data, k=7, metrics="ndcg")
    assert module.ranking == {"k": (7,), "metrics": ("ndcg",)}
