"""Makes the sample data set: a synthetic film library, seeded, with its truth known.

Nothing here is real: no person, film or text. The data set exists so that the package can be tried
and tested without a download. Numbers obtained on it are not results.

To remake it (some seconds; only the embeddings need wordllama)::

    pip install numpy scipy "wordllama>=0.4"
    python datasets/sample/make_sample.py                # writes beside this script
    python datasets/sample/make_sample.py --out DIR      # writes elsewhere

How the data come about:

1. Every user has two or three of the twelve intents in ``intents.json``, every film one or two.
   Every user and every film also belongs to one of ten circles, which no text mentions.
2. A user's interactions are the films with the largest sum of shared intents, shared circle,
   popularity and Gumbel noise (a draw without replacement from a softmax). Users have few of them.
3. Texts are filled into templates. They disclose most intents, not all, sometimes a wrong one, and
   never the circle. Profiles speak of what is on the screen, intent texts of what a viewer wants.

So interactions hold something that texts lack (circles, popularity), and texts hold something that
the few interactions lack (the intents).

Only :meth:`numpy.random.Generator.random` is drawn from, one stream a purpose: NumPy may change its
other distributions between versions, and this script has to give the same files again.
"""

import argparse
import copyreg
import csv
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import coo_matrix

SEED = 2025
NUM_USERS = 600
NUM_ITEMS = 360
NUM_CIRCLES = 10
MIN_INTERACTIONS = 5
MAX_INTERACTIONS = 40
EXTRA_INTERACTIONS = 7.0  # mean of the exponential tail above the minimum

INTENT_STRENGTH = 6.5
CIRCLE_STRENGTH = 2.0
POPULARITY_STRENGTH = 0.4

DISCLOSED = 0.75  # chance that a text names an intent its owner has
MISTAKEN = 0.25  # chance that a text names an intent its owner does not have
PHRASINGS = 2  # of each intent that a text names

HERE = Path(__file__).resolve().parent
# For each intent a description, and phrasings of its 'topics' and 'wishes'.
INTENTS: dict[str, dict[str, Any]] = json.loads((HERE / "intents.json").read_text("utf-8"))
NAMES = list(INTENTS)

# The words of titles, a first and a second one; they say nothing about intents on purpose.
TITLES: dict[str, list[str]] = json.loads((HERE / "titles.json").read_text("utf-8"))
ITEM_PROFILES = (
    "Viewers drawn to {likes} would enjoy this film. {aside}",
    "A film about {likes}. {aside}",
    "{aside} It should please anybody who likes to watch {likes}.",
    "The audience for this one likes stories of {likes}. {aside}",
)
USER_PROFILES = (
    "This viewer enjoys films about {likes}. {aside}",
    "{aside} Comes back again and again to {likes}.",
    "Most of what this person watches has to do with {likes}. {aside}",
    "A viewer with a taste for {likes}. {aside}",
)
ITEM_INTENTS = (
    "Attracts people who want {likes}; unattractive to those who want {dislikes}.",
    "Made for {likes}. Those who look for {dislikes} will be disappointed.",
    "Offers {likes}, and little in the way of {dislikes}.",
)
USER_INTENTS = (
    "Likes {likes}; dislikes {dislikes}.",
    "Looking for {likes}. Has no patience for {dislikes}.",
    "Watches films for {likes}, and avoids {dislikes}.",
)
ITEM_ASIDES = (
    "It runs a little under two hours.",
    "The print was restored recently.",
    "The cast is unknown.",
    "It won a prize at a small festival.",
    "The library holds two copies.",
    "It has subtitles.",
    "Reviews were mixed.",
    "It was shot in three weeks.",
)
USER_ASIDES = (
    "Borrows on Fridays.",
    "Rarely leaves a review.",
    "Watches with friends.",
    "Returns films late.",
    "Has been a member for years.",
    "Prefers evenings.",
    "Follows recommendations of the staff.",
    "Often watches a film twice.",
)

T = TypeVar("T")


@dataclass
class Side:
    """Users or films: the truth about them, and the texts that tell a part of it.

    Args:
        intents: Weights over the intents, one row a node, rows summing to one.
        circle: The circle of each node.
    """

    intents: np.ndarray
    circle: np.ndarray
    profile: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    intent_text: list[str] = field(default_factory=list)


@dataclass
class Sample:
    """Everything in the data set but the embeddings."""

    user: Side
    item: Side
    titles: list[str]
    splits: dict[str, np.ndarray]  # 'trn', 'val', 'tst': pairs (user, item), sorted


def stream(purpose: str) -> np.random.Generator:
    """A random stream of its own for every purpose: changing one leaves the others alone."""
    return np.random.default_rng([SEED, *purpose.encode()])


def draw(rng: np.random.Generator, options: Sequence[T], count: int) -> list[T]:
    """``count`` different elements of ``options``."""
    return [options[i] for i in np.argsort(rng.random(len(options)), kind="stable")[:count]]


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One element of ``options``."""
    return options[int(rng.random() * len(options))]


def make_side(
    num_nodes: int, mixtures: Sequence[Sequence[float]], rng: np.random.Generator
) -> Side:
    """Gives every node one of the ``mixtures`` over random intents, and a circle."""
    intents = np.zeros((num_nodes, len(NAMES)))
    for row in intents:
        weights = pick(rng, mixtures)
        row[draw(rng, range(len(NAMES)), len(weights))] = weights
    return Side(intents, (rng.random(num_nodes) * NUM_CIRCLES).astype(np.int64))


def make_interactions(user: Side, item: Side, rng: np.random.Generator) -> list[np.ndarray]:
    """The films of each user, in random order."""
    popularity = -np.log(rng.random(NUM_ITEMS))
    affinity = (
        INTENT_STRENGTH * user.intents @ item.intents.T
        + CIRCLE_STRENGTH * (user.circle[:, None] == item.circle)
        + POPULARITY_STRENGTH * popularity
    )
    noisy = affinity - np.log(-np.log(rng.random(affinity.shape)))
    extra = -EXTRA_INTERACTIONS * np.log(rng.random(NUM_USERS))
    counts = np.minimum(MIN_INTERACTIONS + extra.astype(np.int64), MAX_INTERACTIONS)
    films = [np.argsort(-row, kind="stable")[:n] for row, n in zip(noisy, counts, strict=True)]
    return [row[np.argsort(rng.random(len(row)), kind="stable")] for row in films]


def split(films: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Splits each user's films 3:1:1; what does not divide goes to training."""
    parts: dict[str, list[tuple[int, int]]] = {"trn": [], "val": [], "tst": []}
    for u, row in enumerate(films):
        fifth = len(row) // 5
        cuts = {"val": row[:fifth], "tst": row[fifth : 2 * fifth], "trn": row[2 * fifth :]}
        for name, part in cuts.items():
            parts[name] += [(u, int(i)) for i in part]
    return {name: np.array(sorted(pairs), dtype=np.int32) for name, pairs in parts.items()}


def spoken(side: Side, n: int, rng: np.random.Generator) -> list[str]:
    """The intents a text names: most of its node's own, at least one, perhaps a wrong one."""
    own = [name for name, weight in zip(NAMES, side.intents[n], strict=True) if weight > 0]
    told = [name for name in own if rng.random() < DISCLOSED] or [pick(rng, own)]
    if rng.random() < MISTAKEN:
        told.append(pick(rng, [name for name in NAMES if name not in own]))
    return draw(rng, told, len(told))


def phrases(names: Sequence[str], kind: str, rng: np.random.Generator) -> str:
    """Some phrasings of each intent, joined to a list as in a sentence."""
    words: list[str] = [
        phrase for name in names for phrase in draw(rng, INTENTS[name][kind], PHRASINGS)
    ]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def write_texts(
    side: Side,
    profiles: Sequence[str],
    intents: Sequence[str],
    asides: Sequence[str],
    basis: str,
    rng: np.random.Generator,
) -> None:
    """Fills the templates for every node of ``side``."""
    for n, weights in enumerate(side.intents):
        told = spoken(side, n, rng)
        likes = phrases(told, "topics", rng)
        text = pick(rng, profiles).format(likes=likes, aside=pick(rng, asides))
        side.profile.append(text)
        side.reasoning.append(f"{basis} suggests: {'; '.join(told)}.")
        # An intent text is a second, independent reading of the same node.
        absent = [name for name, weight in zip(NAMES, weights, strict=True) if weight == 0]
        likes = phrases(spoken(side, n, rng), "wishes", rng)
        dislikes = phrases(draw(rng, absent, 1), "wishes", rng)
        side.intent_text.append(pick(rng, intents).format(likes=likes, dislikes=dislikes))


def make() -> Sample:
    """The whole data set without its embeddings."""
    user = make_side(NUM_USERS, [(0.6, 0.4), (0.5, 0.3, 0.2)], stream("user"))
    item = make_side(NUM_ITEMS, [(1.0,), (0.6, 0.4)], stream("item"))
    splits = split(make_interactions(user, item, stream("interactions")))
    write_texts(user, USER_PROFILES, USER_INTENTS, USER_ASIDES, "The history", stream("user text"))
    write_texts(item, ITEM_PROFILES, ITEM_INTENTS, ITEM_ASIDES, "The blurb", stream("item text"))
    names = [f"{first} {second}" for first in TITLES["first"] for second in TITLES["second"]]
    return Sample(user, item, draw(stream("title"), names, NUM_ITEMS), splits)


def embed(texts: list[str]) -> np.ndarray:
    """Unit vectors of width 256, float16, from the weights that come in wordllama's wheel."""
    import wordllama

    encoder = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    return np.asarray(encoder.embed(texts, norm=True), dtype=np.float16)


class PublishedPickler(pickle.Pickler):
    """Writes COO matrices with the attributes of the published files.

    SciPy turned ``row`` and ``col`` into ``coords``; the old names load in old and new versions.
    """

    def reducer_override(self, obj: Any) -> Any:
        """Replaces the state of a COO matrix, and nothing else."""
        if not isinstance(obj, coo_matrix):
            return NotImplemented
        state = {
            "_shape": obj.shape,
            "maxprint": 50,
            "row": obj.row,
            "col": obj.col,
            "data": obj.data,
            "has_canonical_format": False,
        }
        return copyreg.__newobj__, (coo_matrix,), state  # type: ignore[attr-defined]


def write_pickle(path: Path, value: Any) -> None:
    """Writes ``value`` in protocol 4, as the published files are."""
    with path.open("wb") as file:
        PublishedPickler(file, protocol=4).dump(value)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes a table that reads the same on every system."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write(sample: Sample, out: Path) -> None:
    """Writes everything but the embeddings under ``out``."""
    raw = out / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, pairs in sample.splits.items():
        entries = (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1]))
        write_pickle(raw / f"{name}_mat.pkl", coo_matrix(entries, shape=(NUM_USERS, NUM_ITEMS)))
    for name, short, side in (("user", "usr", sample.user), ("item", "itm", sample.item)):
        texts = zip(side.profile, side.reasoning, strict=True)
        write_pickle(
            raw / f"{short}_prf.pkl",
            {n: {"profile": text, "reasoning": why} for n, (text, why) in enumerate(texts)},
        )
        write_csv(
            out / f"{name}_truth.csv",
            [name, "circle", *NAMES],
            [[n, side.circle[n], *map("{:g}".format, row)] for n, row in enumerate(side.intents)],
        )
    user_texts = zip(range(NUM_USERS), sample.user.profile, sample.user.intent_text, strict=True)
    write_csv(out / "user_texts.csv", ["user", "profile", "intent"], list(user_texts))
    titled = zip(range(NUM_ITEMS), sample.titles, sample.item.profile, strict=True)
    item_texts = [
        (*row, intent) for row, intent in zip(titled, sample.item.intent_text, strict=True)
    ]
    write_csv(out / "item_texts.csv", ["item", "title", "profile", "intent"], item_texts)


def write_embeddings(sample: Sample, out: Path) -> None:
    """Embeds the texts and writes the four embedding files under ``out``."""
    for name, short, side in (("user", "usr", sample.user), ("item", "itm", sample.item)):
        write_pickle(out / "raw" / f"{short}_emb_np.pkl", embed(side.profile))
        write_pickle(out / "raw" / f"{name}_intent_emb_3.pkl", embed(side.intent_text))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Makes the synthetic sample data set.")
    parser.add_argument(
        "--out", type=Path, default=HERE, help="where to (default: beside this script)"
    )
    out: Path = parser.parse_args().out
    sample = make()
    write(sample, out)
    write_embeddings(sample, out)
    print(", ".join(f"{name} {len(pairs)}" for name, pairs in sample.splits.items()), "->", out)


if __name__ == "__main__":
    main()
