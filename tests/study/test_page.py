"""What the page says of results that are made up."""

import numpy as np
import pandas as pd
import pytest

from irllrec_pyg.study.claims import by_group, under_noise
from irllrec_pyg.study.config import StudyConfig
from irllrec_pyg.study.page import page
from irllrec_pyg.study.summary import Form, Summary
from irllrec_pyg.study.units import Units

METRICS = ["recall@5", "recall@10", "recall@20", "ndcg@5", "ndcg@10", "ndcg@20"]


def made_up(units, form, shift, value):
    """Five splits of 300 users, in which a metric is better by what ``shift`` says of it."""
    for split in range(1, 6):
        rng = np.random.default_rng(split)
        own = np.random.default_rng([split, sum(map(ord, form.text + form.model))])
        table = {"user": np.arange(300), "history": 5, "history_group": np.arange(300) % 4 + 1}
        for metric in METRICS:
            table[metric] = 0.3 + 0.1 * rng.random(300) + shift.get(metric, 0.0)
            table[metric] += 0.002 * own.standard_normal(300)
        row = {"split": split, "seed": 0, "commit": "abc", "dirty": False, "device": "cpu"}
        row |= {"metrics": {"coverage@20": 0.5}, "fit_seconds": 1.0, "tuning_seconds": 9.0}
        units.write(f"{form.path}/split-{split}_seed-0", row, pd.DataFrame(table))
    tuning = {"settings": {"a": 0.5}, "value": value, "trials": 3, "edges": ["a"]}
    units.write(f"{form.path}/tuning", tuning)


@pytest.fixture
def summary(tmp_path):
    units = Units(tmp_path)
    forms = [
        Form("shop", "warm", model, text, f"shop/warm/{model}/{text}")
        for model, text in (
            ("plain", "none"),
            ("better", "none"),
            ("text", "none"),
            ("text", "real"),
            ("text", "permuted"),
        )
    ]
    made_up(units, forms[0], {}, 0.9)
    made_up(units, forms[1], {"ndcg@20": 0.01}, 0.8)  # validation does not see that it is better
    made_up(units, forms[2], {}, 0.7)
    made_up(units, forms[3], {"ndcg@20": 0.05, "recall@5": -0.05}, 0.9)
    made_up(units, forms[4], {"recall@20": -0.05}, 0.1)
    missing = Form("shop", "warm", "gone", "real", "shop/warm/gone/real")
    units.write("shop/warm/gone/real/failed", {"reason": "MemoryError: it needs 12 GB"})
    return Summary(units, [*forms, missing], 0.01)


def test_verdicts_are_those_of_the_truth(summary):
    table = summary.comparisons()
    first = table[table["first"]].set_index("question")
    assert first.at["does the text help?", "verdict"] == "gain"
    assert first.at["does the text help?", "difference"] == pytest.approx(0.05, abs=0.001)
    assert first.at["do texts of other items help?", "verdict"] == "no difference"
    assert (first["p_holm"] >= first["p"]).all()


def test_the_best_are_chosen_by_validation_and_not_by_test(summary):
    real, none = summary.best("shop", "warm")
    assert (real.model, none.model) == ("text", "plain")


def test_what_disagrees_is_said(summary):
    text = page(
        StudyConfig(),
        summary.forms,
        summary,
        {},
        {"groups": by_group(summary), "noise": under_noise(summary)},
    )
    said = text[text.index("## What disagrees") :].split("\n## ")[0]
    assert "text real against text none: gain by ndcg@20; but recall@5 -14" in said
    assert "text permuted against text none: no difference by ndcg@20; but recall@20 -14" in said
    assert "text none: validation chose plain (0.3478 on test); better has 0.357" in said
    assert "- shop, warm, gone, real: MemoryError: it needs 12 GB" in text
    assert "text, real: a = 0.5 is as far as the search went." in text
