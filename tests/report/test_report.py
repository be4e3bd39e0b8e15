"""What a report says of runs and studies."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from irllrec_pyg import RunConfig
from irllrec_pyg.cli import main
from irllrec_pyg.report import build, render
from irllrec_pyg.report.charts import ticks

from .conftest import HASHES, make_run

TEXTS = Path(__file__).parents[2] / "benchmarks" / "results" / "texts"


def rows_of(report):
    return list(csv.DictReader(io.StringIO(render(report, "csv"))))


def test_baselines_come_first_and_a_gain_is_marked(runs):
    report = build(runs[::-1])
    (board,) = report.boards
    assert [row.name for row in board.rows] == ["ease", "lightgcn_int"]
    assert board.first == "recall@20"
    ease, ours = [row for row in rows_of(report) if row["metric"] == "recall@20"]
    users = [np.load(Path(run, "users.npz"))["recall@20"] for run in runs]
    change = users[1] - users[0]
    half = stats.t.ppf(0.975, len(change) - 1) * stats.sem(change)
    assert float(ours["difference"]) == pytest.approx(change.mean(), abs=1e-5)
    assert float(ours["difference_low"]) == pytest.approx(change.mean() - half, abs=1e-5)
    assert (ours["verdict"], ours["against"], ours["place"]) == ("gain", "ease", "1")
    assert ease["verdict"] == ""
    assert ease["place"] == "2"
    assert "Holm" in ours["test"]


def test_how_popular_listed_items_are_has_no_best_value(runs):
    for run, value in zip(runs, (0.2, 0.3), strict=True):
        file = Path(run, "result.json")
        result = json.loads(file.read_text())
        result["test"]["popularity@20"] = value
        file.write_text(json.dumps(result))
    places = {row["metric"]: row["place"] for row in rows_of(build(runs)) if row["run"] == "ease"}
    assert places["popularity@20"] == ""
    assert places["recall@20"] == "2"


def test_tables_of_other_cores_have_other_headings(tmp_path):
    runs = []
    for at, core in enumerate((5, 10, 20)):
        folder = make_run(tmp_path / f"ease{core}", hashes=HASHES | {"train": f"a{at}"})
        config = RunConfig.load(folder / "config.yaml")
        config.replace(data=config.data.replace(k_core=core)).save(folder / "config.yaml")
        runs.append(str(folder))
    runs.append(str(make_run(tmp_path / "later", hashes=HASHES | {"train": "a9"})))
    report = build(runs[:3])
    assert [board.setting.split(", ")[1] for board in report.boards] == [
        "k_core 5", "k_core 10", "k_core 20",
    ]  # fmt: skip
    page = render(report, "html")
    heads = re.findall("<h2>(.*?)</h2>", page)
    assert len(set(heads)) == len(heads) >= 3
    assert len(build(runs[:1]).boards[0].setting.split(", ")) == 2  # alone it needs no more words
    # The same settings, of tables that were changed in between.
    settings = [board.setting.split(", ")[1:3] for board in build(runs).boards]
    assert [words[0] for words in settings] == ["k_core 5", "k_core 10", "k_core 20", "k_core 5"]
    assert [settings[0][1], settings[3][1]] == ["1", "4"]


def test_runs_of_one_name_are_named_by_the_settings_that_differ(tmp_path):
    runs = [str(make_run(tmp_path / at / "shop", "lightgcn_int")) for at in "ab"]
    config = RunConfig.load(f"{runs[1]}/config.yaml")
    config.replace(training=config.training.replace(lr=0.5)).save(f"{runs[1]}/config.yaml")
    (board,) = build(runs).boards
    assert [row.name for row in board.rows] == [
        f"shop (training.lr {lr})"
        for lr in (RunConfig.load(f"{runs[0]}/config.yaml").training.lr, 0.5)
    ]


def test_against_names_the_reference(runs):
    rows = rows_of(build(runs, against="lightgcn_int"))
    assert {row["verdict"] for row in rows if row["run"] == "ease"} == {"loss"}


def test_seeds_share_a_row_and_the_same_run_twice_does_not(tmp_path, runs):
    other = make_run(tmp_path / "again", "lightgcn_int", 0.07, seed=1)
    (board,) = build([*runs, str(other)]).boards
    assert [row.repeats for row in board.rows] == ["", "mean of 2 seeds"]
    values = [json.loads(Path(run, "result.json").read_text()) for run in (runs[1], other)]
    mean = np.mean([value["test"]["recall@20"] for value in values])
    assert board.rows[1].values["recall@20"].mean == pytest.approx(mean)
    make_run(tmp_path / "copy" / "ease")
    (board,) = build([runs[0], tmp_path / "copy" / "ease"]).boards
    assert [row.name for row in board.rows] == ["ease (1)", "ease (2)"]


def test_other_splits_have_a_table_of_their_own(tmp_path, runs):
    other = make_run(tmp_path / "other", hashes={"train": "zz"})
    report = build([*runs, str(other)])
    assert [len(board.rows) for board in report.boards] == [2, 1]
    assert report.boards[1].comparisons == []


def test_gains_by_history_are_means_of_the_groups(runs):
    (board,) = build(runs).boards
    chart = next(one for one in board.charts if "history" in one.title)
    users = [np.load(Path(run, "users.npz"))["recall@20"] for run in runs]
    history = np.arange(60) % 8 + 1
    means = [(users[1] - users[0])[np.isin(history, (a, a + 1))].mean() for a in (1, 3, 5, 7)]
    assert [name for _, name in chart.labels] == ["1 to 2", "3 to 4", "5 to 6", "7 to 8"]
    assert [point[1] for point in chart.series[0].points] == pytest.approx(means)


def test_formats_escape_names(tmp_path, runs):
    name = "a_b | <b>*x*</b> & 50%"
    make_run(tmp_path / name.replace("/", "_"), "lightgcn_int", 0.1, seed=0)
    report = build([runs[0], tmp_path / name.replace("/", "_")])
    markdown, latex = render(report, "md"), render(report, "latex")
    assert r"a\_b \| &lt;b&gt;\*x\*&lt;\_b&gt; &amp; 50%" in markdown
    assert r"a\_b \textbar{} \textless{}b\textgreater{}" in latex
    assert r"\& 50\%" in latex
    assert r"\textbf{" in latex
    assert r"$^{+}$" in latex
    assert latex.count("{") == latex.count("}")
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1


def test_a_committed_study_has_its_own_verdicts():
    report = build([TEXTS])
    assert [board.first for board in report.boards][:2] == ["ndcg@20", "recall@20"]
    rows = rows_of(report)
    known = list(csv.DictReader((TEXTS / "comparisons.csv").open(encoding="utf-8")))
    asked = {
        (row["data"], row["model"], row["text"], row["metric"]): row["verdict"]
        for row in known
        if row["question"] == "does the text help?" and row["verdict"] and "warm" in row["setting"]
    }
    found = {
        (row["data"], row["model"], row["text"], row["metric"]): row["verdict"]
        for row in rows
        if row["setting"].startswith("warm")
    }
    assert asked
    assert all(found[key] == verdict for key, verdict in asked.items())
    page = render(report, "html")
    assert "irllrec study --root TABLES" in page
    assert page == render(build([TEXTS]), "html")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("result.json", '{"test": {"recall@20": "x"}}', "recall@20"),
        ("result.json", '{"test": {"recall@20": 0.1', "is damaged"),
        ("result.json", '{"test": {"recall@20": 0.1}, "history": 3}', "is damaged"),
        ("config.yaml", "data: [", "is not YAML"),
        ("provenance.json", '{"data": [1]}', "hashes by name"),
        ("users.npz", "PK", "is damaged"),
        ("model.safetensors", "x", "is damaged"),
        ("result.json", None, "not finished"),
        ("result.json", '{"test": {"hit@3": 0.5}}', "no metric in common"),
    ],
)
def test_bad_runs_are_told_in_one_line(runs, capsys, tmp_path, file, content, said):
    path = Path(runs[0], file)
    path.unlink() if content is None else path.write_text(content)
    assert main(["report", *runs, "--out", str(tmp_path / "report.html")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("data,setting,model\nx,warm,y\n", "no column 'text'"),
        (
            "data,setting,model,text,metric,mean,low,high,commit\na,warm,b,none,r,x,1,1,c\n",
            "line 2",
        ),
        ("data,setting,model,text,metric,mean,low,high,commit\n", "no rows"),
        ("", "is damaged"),
    ],
)
def test_bad_tables_are_told_in_one_line(tmp_path, capsys, table, said):
    (tmp_path / "summary.csv").write_text(table)
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_bad_arguments(runs, tmp_path, capsys):
    for arguments, said in (
        (["--metrics", "recal@20"], "did you mean 'recall@20'"),
        (["--against", "nobody"], "Unknown row 'nobody'"),
        (["--out", str(tmp_path / "x.doc")], "--format"),
        ([str(tmp_path)], f"give {tmp_path}/*"),
        ([str(tmp_path / "none")], "There is no folder"),
    ):
        assert main(["report", *runs, *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_the_ending_says_the_format(runs, tmp_path, capsys):
    for name, begin in (("a.md", "# "), ("a.tex", "% "), ("a.csv", "data,"), ("a.html", "<!doc")):
        assert main(["report", runs[0], "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text(encoding="utf-8").lstrip().startswith(begin)
    capsys.readouterr()
    assert main(["report", runs[0], "--format", "md"]) == 0
    assert "| ease |" in capsys.readouterr().out


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.3, 0.21), (5, 5), (1e-7, 3e-7), (0.0, 0.0)])
def test_ticks_are_round_and_hold_the_values(low, high):
    found = ticks(low, high)
    assert found[0] <= low
    assert high <= found[-1]
    assert 2 <= len(found) <= 8
    steps = np.diff(found)
    assert steps == pytest.approx(steps[0])
