"""Whether texts are judged as worth what they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from tqdm import tqdm

pytest.importorskip("sklearn")

from irllrec_pyg.judge.config import JudgeConfig
from irllrec_pyg.judge.data import JudgeError, draw, read
from irllrec_pyg.judge.judging import (
    ADDS,
    INTERACTIONS,
    RETRIEVAL,
    STEPS,
    Adds,
    Arm,
    Findings,
    climb,
    judge,
    with_texts,
)
from irllrec_pyg.judge.report import FIRST, report, verdict
from irllrec_pyg.judge.statistics import Comparison, compare
from irllrec_pyg.linear import EASE, L3AE
from irllrec_pyg.linear.texts import item_texts
from irllrec_pyg.text.encoding import FunctionEncoder
from tests.judge.shops import COLOURS, half_told, write_shop

QUICK = JudgeConfig(resamples=200)


def by_words(texts: list[str]) -> np.ndarray:
    """Counts the colours, and letters as noise."""
    return np.array(
        [[4 * t.count(c) for c in COLOURS] + [t.count(d) for d in "0123456789"] for t in texts]
    )


COUNTS = FunctionEncoder(by_words, "counts")


def judged(root: Path, texts: tuple[str, ...] = (), **arguments: object) -> Findings:
    data = read(str(root), "shop", texts, k_core=1, **arguments)  # type: ignore[arg-type]
    return judge(data, [("counts", COUNTS)], QUICK, progress=False)


def first(findings: Findings) -> list[Comparison]:
    return [row for row in compare(findings, QUICK) if row.metric == FIRST]


def test_texts_that_name_what_tastes_go_by_are_worth_having(tmp_path: Path) -> None:
    write_shop(tmp_path)
    findings = judged(tmp_path)
    rows = {(row.judgement, row.text, row.against): row for row in first(findings)}
    assert rows[ADDS, "text", "interactions"].verdict == "gain"
    assert rows[ADDS, "text", "permuted"].verdict == "gain"
    assert rows[ADDS, "text", "titles"].verdict == "gain"
    assert rows[RETRIEVAL, "text", "titles"].verdict == "gain"
    assert rows[ADDS, "title", "interactions"].verdict != "gain"
    (said,) = verdict(list(rows.values()))
    assert said.startswith("Worth having: 'text' by counts adds most to interactions, +")
    assert "Titles alone do not do as well" in said


def test_texts_that_say_nothing_are_not(tmp_path: Path) -> None:
    write_shop(tmp_path)
    findings = judged(tmp_path, ("title",))
    (said,) = verdict(first(findings))
    assert said.startswith("Do not pay for texts to serve users with a history")
    assert "permuted ones rank as well" in said


def test_intents_that_tell_the_other_half_add(tmp_path: Path) -> None:
    half_told(tmp_path)
    rows = first(judged(tmp_path, ("text",), intents=("why",)))
    own = {(row.judgement, row.intents, row.against): row for row in rows}
    assert own[RETRIEVAL, "why", "without intents"].verdict == "gain"
    assert own[ADDS, "why", "without intents"].change > 0
    again = first(judged(tmp_path, ("text",), intents=("text",)))
    (same,) = [r for r in again if r.judgement == RETRIEVAL and r.against == "without intents"]
    assert same.change == pytest.approx(0)  # twice the same view is the same view
    assert "Intents of 'text' beside 'text' by counts add nothing" in verdict(again)[-1]


def test_retrieval_is_what_a_naive_loop_finds(tmp_path: Path) -> None:
    write_shop(tmp_path, users=20)
    data = read(str(tmp_path), "shop", ("text",), k_core=1)
    findings = judge(data, [("counts", COUNTS)], QUICK, progress=False)
    ((arm, values),) = [
        (key[1], found)
        for key, found in findings.values.items()
        if key[0] == RETRIEVAL and not key[2] and key[1] != "popularity"
    ][1:]
    rows = by_words(data.texts["text"]).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows -= rows.mean(0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    edges = data.data["user", "rates", "item"]
    known, wanted = edges.edge_index.t().tolist(), edges.edge_label_index.t().tolist()
    expected = []
    for user in sorted({u for u, _ in wanted}):
        mine = [i for u, i in known if u == user]
        score = rows @ rows[mine].mean(0)
        score[mine] = -np.inf
        ranked = np.argsort(-score.round(5), kind="stable")[:20].tolist()
        relevant = {i for u, i in wanted if u == user}
        gain = sum(1 / np.log2(ranked.index(i) + 2) for i in relevant if i in ranked)
        ideal = sum(1 / np.log2(at + 2) for at in range(len(relevant)))
        expected.append((gain / ideal, len(relevant & {*ranked}) / len(relevant)))
    np.testing.assert_allclose(values, expected, atol=0.02)
    assert arm.text == "text"


def test_weights_are_those_of_ease_and_l3ae(tmp_path: Path) -> None:
    write_shop(tmp_path, users=40)
    data = read(str(tmp_path), "shop", k_core=1)
    sample = draw(data, 100, 1000, 0)
    adds = Adds(sample, tqdm(disable=True))
    x = torch.from_numpy(by_words(data.texts["text"])).float()
    graph = with_texts(sample.data, x)
    adds._weigh({"reg": 40.0}, None)
    torch.testing.assert_close(adds.ranker.weight, EASE(graph, reg=40.0).weight)
    adds._weigh({"reg": 40.0, "text_weight": 80.0, "text_reg": 2.0}, item_texts(graph).float())
    expected = L3AE(graph, reg=40.0, text_weight=2.0, text_reg=2.0).weight
    torch.testing.assert_close(adds.ranker.weight, expected, rtol=1e-3, atol=1e-4)


def test_a_climb_finds_the_top_of_a_hill() -> None:
    top = {"reg": 2560.0, "text_weight": 10.0, "text_reg": 250.0}

    def value(tried: dict[str, float]) -> float:
        return -sum(abs(np.log(tried[name] / top[name])) for name in tried)

    best, most = climb({name: start for name, (start, *_) in STEPS.items()}, value)
    assert (best, most) == (top, 0.0)
    assert climb({"reg": 160.0}, lambda tried: tried["reg"])[0] == {"reg": 40960.0}
    assert climb({"reg": 160.0}, lambda tried: 1.0)[0] == {"reg": 160.0}


def test_the_same_seed_judges_the_same(tmp_path: Path) -> None:
    write_shop(tmp_path, users=30)
    one, two = (compare(judged(tmp_path, ("text",)), QUICK) for _ in range(2))
    assert str(one) == str(two)


def test_intervals_are_those_of_the_normal_distribution() -> None:
    rng = np.random.default_rng(0)
    base = rng.random((2000, 2))
    texts = base + 0.02 * rng.standard_normal((2000, 2)) + 0.001
    rows = compare(judged_values(base, texts), JudgeConfig(resamples=1000))
    row = next(row for row in rows if row.against == "interactions")
    assert (row.high - row.low) / 2 == pytest.approx(1.96 * texts[:, 0].std() / 2000**0.5, rel=0.1)
    paired = stats.ttest_rel(texts[:, 0], base[:, 0]).pvalue
    assert 1e-3 < paired < 0.2
    assert np.log(row.p) == pytest.approx(np.log(paired), rel=0.1)
    assert row.change_low < row.change < row.change_high


def judged_values(base: np.ndarray, texts: np.ndarray) -> Findings:
    arm = Arm("text", "e", "", torch.zeros(1, 1))
    values = {
        (RETRIEVAL, arm, False): texts,
        (RETRIEVAL, arm, True): base,
        (RETRIEVAL, "popularity", False): base,
        (ADDS, INTERACTIONS, False): base,
        (ADDS, arm, False): texts,
        (ADDS, arm, True): base,
    }
    return Findings(values, {}, {}, {"users for test": len(base), "items": 1}, [])  # type: ignore[arg-type]


def test_the_verdict_follows_the_figures() -> None:
    base = np.tile(np.linspace(0.1, 0.9, 500)[:, None], 2)
    level = compare(judged_values(base, base.copy()), QUICK)
    assert "what they add is less than 1 % ('text' by e, the best: +0.0 %" in verdict(level[:3])[0]
    worse = compare(judged_values(base, base * 0.8), QUICK)
    assert "they harm" in verdict([row for row in worse if row.metric == FIRST])[0]
    little = compare(judged_values(base, base * 1.02), QUICK)
    assert verdict(little[:3])[0].startswith("A small gain: 'text' by e adds most")
    findings = judged_values(base, base * 1.2)
    better = compare(findings, QUICK)
    said = report(findings, better)
    assert said[0].startswith("Worth having: 'text' by e adds most to interactions, +20.0 %")
    assert "Interactions alone have 0.5000" in said[4]


def test_of_many_items_popular_ones_are_drawn(tmp_path: Path) -> None:
    write_shop(tmp_path)
    data = read(str(tmp_path), "shop", k_core=1)
    sample = draw(data, 40, 40, 0)
    assert (len(sample.items), sample.data["item"].num_nodes) == (40, 40)
    assert len(sample.test[0].unique()) <= 40
    assert len(sample.val[0].unique()) <= 14
    edges = data.data["user", "rates", "item"]
    place = {item: at for at, item in enumerate(sample.items.tolist())}
    kept = [(u, place[i]) for u, i in edges.edge_index.t().tolist() if i in place]
    assert sorted(kept) == sorted(
        map(tuple, sample.data["user", "rates", "item"].edge_index.t().tolist())
    )
    held_out = {(u, place[i]) for u, i in edges.edge_label_index.t().tolist() if i in place}
    assert {*map(tuple, sample.test.t().tolist())} <= held_out
    assert any("40 are drawn" in note for note in data.notes)
    degree = np.bincount(edges.edge_index[1], minlength=data.data["item"].num_nodes)
    drawn = [draw(data, 40, 40, seed).items for seed in range(20)]
    assert np.mean([degree[items].mean() for items in drawn]) > degree.mean()


def test_items_that_were_not_asked_for_are_left_out(tmp_path: Path) -> None:
    some = [f"A {COLOURS[item % 10]} thing" if item < 160 else "" for item in range(240)]
    write_shop(tmp_path, {"llm_text": some})
    data = read(str(tmp_path), "shop", k_core=1)
    sample = draw(data, 1000, 1000, 0)
    asked = [at for at, text in enumerate(data.texts["llm_text"]) if text]
    assert 0 < len(asked) < data.data["item"].num_nodes
    assert sample.items.tolist() == asked
    missing = data.data["item"].num_nodes - len(asked)
    assert any(f"'llm_text' is missing for {missing} of" in note for note in data.notes)
    write_shop(tmp_path / "b", {"none": [""] * 240})
    nothing = read(str(tmp_path / "b"), "shop", ("none",), k_core=1)
    with pytest.raises(JudgeError, match="'none' has no text for any item"):
        draw(nothing, 100, 100, 0)


def test_too_many_items_for_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shop(tmp_path, users=30)
    monkeypatch.setattr("irllrec_pyg.judge.judging.BYTES", 10**12)
    with pytest.raises(JudgeError, match=r"items need .* GB are available; judge fewer items"):
        judged(tmp_path)
