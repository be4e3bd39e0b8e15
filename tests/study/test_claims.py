"""What is claimed of texts, on results that are made up: held to plain sums."""

import numpy as np
import pandas as pd
import pytest

from irllrec_pyg.study.claims import by_group, group_lines, noise_lines, under_noise
from irllrec_pyg.study.summary import AGAINST, Form, Summary
from irllrec_pyg.study.units import Units

USERS, SPLITS = 200, (1, 2)
# ndcg@20 of an arm in each group of users; of a noisy arm, so much less.
WORTH = {"none": 0.2, "real": 0.2}
GAIN = {1: 0.1, 2: 0.0}  # texts help those with short histories
LOST = {"none": 0.05, "real": 0.02}


def write(units, form, rng):
    for split in SPLITS:
        group = np.arange(USERS) % 2 + 1
        value = WORTH[form.text] + 0.01 * rng.standard_normal(USERS)
        if form.text == "real":
            value = value + np.where(group == 1, GAIN[1], GAIN[2])
        if form.setting != "warm":
            value = value - LOST[form.text]
        table = {"user": np.arange(USERS), "history": 3 * group, "history_group": group}
        table |= {"ndcg@20": value, "recall@20 items 1": value, "recall@20 items 2": value / 2}
        row = {"split": split, "seed": 0, "fit_seconds": 1.0, "metrics": {}}
        units.write(f"{form.path}/split-{split}_seed-0", row, pd.DataFrame(table))


@pytest.fixture
def summary(tmp_path):
    units, rng = Units(tmp_path), np.random.default_rng(0)
    forms = [
        Form("shop", setting, model, text, f"shop/{setting}/{model}/{text}", against)
        for setting in ("warm", "noisy_10", "noisy_25")
        for model, against in (("text", ""), ("other", "text"))
        for text in ("none", "real")
    ]
    for form in forms:
        write(units, form, rng)
    return Summary(units, forms, 0.01)


def values(summary, setting, text):
    tables = [
        summary.units.users(f"shop/{setting}/text/{text}/split-{split}_seed-0") for split in SPLITS
    ]
    return pd.concat(tables)


def test_groups_are_those_of_the_tables(summary):
    table = by_group(summary)
    own = table[(table["question"] == "does the text help?") & (table["model"] == "text")]
    users = own[(own["setting"] == "warm") & (own["groups"] == "users by history")]
    real, none = (values(summary, "warm", text) for text in ("real", "none"))
    for row in users.to_dict("records"):
        ours, theirs = (
            one.loc[one["history_group"] == row["group"], "ndcg@20"].mean() for one in (real, none)
        )
        assert row["difference"] == pytest.approx(ours - theirs)
        assert row["reference"] == pytest.approx(theirs)
        assert (row["least"], row["most"]) == (3 * row["group"], 3 * row["group"])
    assert users["low"].iloc[0] > 0.09
    assert users["low"].iloc[1] < 0 < users["high"].iloc[1]
    items = own[(own["setting"] == "warm") & (own["groups"] == "items by degree")]
    assert items["metric"].tolist() == ["recall@20", "recall@20"]
    assert items["difference"].iloc[1] == pytest.approx(items["difference"].iloc[0] / 2)
    text = "\n".join(group_lines(table))
    assert "**shop, warm, users by history**" in text
    assert "| text, real | text, none | 3 to 3: +5" in text


def test_a_model_is_compared_with_the_one_that_it_names(summary):
    found = [(ours.text, theirs[:4]) for asked, ours, theirs in summary.pairs() if asked == AGAINST]
    assert found[:2] == [
        ("none", ("shop", "warm", "text", "none")),
        ("real", ("shop", "warm", "text", "real")),
    ]
    assert len(found) == 6


def test_a_loss_by_random_interactions_is_held_against_the_one_without_texts(summary):
    table = under_noise(summary).query("model == 'text'").set_index(["share", "text"])
    assert set(table.index) == {(share, text) for share in (0.1, 0.25) for text in LOST}
    change = {}
    for text in LOST:
        clean, noisy = (values(summary, at, text)["ndcg@20"] for at in ("warm", "noisy_10"))
        change[text] = noisy.mean() / clean.mean() - 1
        assert table.at[(0.1, text), "change"] == pytest.approx(change[text])
    row = table.loc[(0.1, "real")]
    assert row["beside_none"] == pytest.approx(change["real"] - change["none"])
    assert row["beside_none_low"] > 0.1
    assert np.isnan(table.at[(0.1, "none"), "beside_none"])
    assert "| shop | text, real | 10% | ndcg@20 |" in "\n".join(noise_lines(under_noise(summary)))


def test_without_results_nothing_is_claimed(tmp_path):
    summary = Summary(Units(tmp_path), [], 0.01)
    assert group_lines(by_group(summary)) == noise_lines(under_noise(summary)) == []
