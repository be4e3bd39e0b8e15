r"""Cards of data sets: what each is, how large, where its files come from, under which licence."""

from functools import cache
from pathlib import Path

from ..config import Config, field, read_yaml


class SourceFile(Config):
    r"""A file, or some of one source, that a data set is made of."""

    name: str = field("", help="name of the file")
    what: str = field("", help="what is in it")
    licence: str = field("none stated", help="licence as its publisher states it")
    source: str = field("", help="where it is described, where it may not be fetched")
    url: str | None = field(None, help="where it is fetched")
    sha256: str | None = field(None, help="its hash; none is the one seen first")


class Card(Config):
    r"""What a data set is.

    Sizes are those of its core of five: every user and item has as many interactions. The papers'
    own matrices are as they are.
    """

    title: str = field("", help="what it is")
    users: int = field(0, ge=0, help="number of users")
    items: int = field(0, ge=0, help="number of items")
    interactions: int = field(0, ge=0, help="number of interactions in all splits")
    text: str = field("", help="what its texts are")
    note: str = field("", help="what must be known before results are believed")
    files: list[SourceFile] = field([], help="what it is made of")

    def describe(self) -> str:
        r"""The card as text, a line for each file."""
        sizes = f"{self.users:,} users x {self.items:,} items, {self.interactions:,} interactions"
        lines = [f"{self.title}: {sizes}. Texts: {self.text}. {self.note}".strip()]
        for file in self.files:
            what = f" ({file.what})" if file.what else ""
            lines.append(f"- {file.name}{what}, {file.licence}: {file.url or file.source}")
        return "\n".join(lines)


@cache
def cards() -> dict[str, Card]:
    r"""The cards by the names of the data sets."""
    table = read_yaml(Path(__file__).with_name("cards.yaml"))
    return {name: Card.read(values) for name, values in table.items()}
