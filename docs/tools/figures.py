"""Tables of the pages, from the committed results; no figure is typed.

``python docs/tools/figures.py`` writes them between the marks "figures: NAME" and "end".
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
RESULTS = DOCS.parent / "benchmarks" / "results"
MARKS = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table of results."""
    with (RESULTS / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    rows = list(rows)
    sides = ["---:" if _is_number(cell) else "---" for cell in rows[0]]
    lines = [head, sides, *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def fold_in() -> str:
    """Recall of users who were held out whole."""
    rows = read("fold_in/steam.csv")
    kinds = list(dict.fromkeys(row["users"] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    found = {(row["model"], row["users"]): f"{float(row['recall@20']):.4f}" for row in rows}
    return table(
        ["1,000 users of `steam`", *kinds],
        [[f"`{model}`", *(found[model, kind] for kind in kinds)] for model in models],
    )


def new_items() -> str:
    """Recall of new items, built into a model and added to one."""
    rows = read("new_items/steam.csv")
    models = list(dict.fromkeys(row["model"] for row in rows))
    found = {(row["model"], row["new items"]): row["recall@20"] for row in rows}
    return table(
        ["", *(f"`{model}`" for model in models)],
        [
            [kind, *(f"{float(found[model, kind]):.4f}" for model in models)]
            for kind in ("built with them", "added")
        ],
    )


def index() -> str:
    """Time and recall of approximate lists."""
    rows = [
        [f"{items:,}", row["index"], row["build_s"], row["recall"], row["ms_a_user"]]
        for items in (100_000, 1_000_000)
        for row in read(f"index/{items}.csv")
    ]
    return table(["items", "index", "built in s", "recall", "ms a user"], rows)


def load() -> str:
    """What a server answers."""
    rows = read("serve/load.csv")
    names = [name for name in rows[0] if name != "answers"]
    for row in rows:
        row["items"] = f"{int(row['items']):,}"
        row["lists"] = row["lists"].partition(",")[0]  # without how long the index took
    head = [name.replace("a_second", "answers a second").replace("_", " ") for name in names]
    return table(head, [[row[name] for name in names] for row in rows])


def growth() -> str:
    """The first table of the page about growth."""
    return _first_table("speed/scale-cpu.md")


def texts_scale() -> str:
    """The table of its page."""
    return _first_table("texts_scale.md")


def costs() -> str:
    """What the commands of a day take, from the page that ran them."""
    text = (DOCS / "walk.md").read_text(encoding="utf-8")
    rows = [
        row.strip("|").split("|") for row in re.findall(r"^\| `irllrec .*$", text, re.MULTILINE)
    ]
    daily = [row for row in rows if re.search(r"train .* runs/shop |--all|serve", row[0])]
    cells = [[cell.strip() for cell in row] for row in daily]
    return table(["command", "seconds", "peak memory"], cells)


TABLES: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (fold_in, new_items, index, load, growth, texts_scale, costs)
}


def filled(text: str) -> str:
    """A page with its tables."""
    return MARKS.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def _first_table(name: str) -> str:
    text = (RESULTS / name).read_text(encoding="utf-8")
    found = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert found is not None
    return found[0]


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+\d.,]+", cell) is not None


if __name__ == "__main__":
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        if filled(before) != before:
            page.write_text(filled(before), encoding="utf-8")
            print(page.relative_to(DOCS))
