r"""Are texts worth their price? Two judgements on a sample, before a model is trained."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData
from tqdm import tqdm

from ..linear import EASE, L3AE, Popularity, TextMean
from ..linear.ease import without_own
from ..linear.item_weights import inverse_
from ..linear.l3ae import corrected_
from ..linear.texts import item_texts
from ..ranking import evaluate_users
from ..ranking.ranker import Ranker, ranker_arguments
from ..text.embeddings import unit_length
from ..text.encoding import Vectors
from ..text.views import AnyEncoder, fitted
from .config import JudgeConfig
from .data import TITLE, Judged, JudgeError, Sample, draw
from .faults import Faults, find_faults

#: The first metric decides, and settings are chosen by it; the second stands beside it.
METRICS = ("ndcg@20", "recall@20")
RETRIEVAL, ADDS = "retrieval", "adds"
POPULARITY, INTERACTIONS = "popularity", "interactions"
BYTES = 48  # a pair of items at the peak: two matrices of float64, and a float32 a ridge
#: Settings: where the search begins, the factor of a step, and the bounds. The texts' weight is the
#: paper's, which unlike L3AE's own setting stays where it is best when the ridge moves.
STEPS = {
    "reg": (160.0, 4.0, 2.5, 40960.0),
    "text_weight": (640.0, 4.0, 2.5, 40960.0),
    "text_reg": (10.0, 5.0, 0.4, 1250.0),
}


@dataclass(frozen=True)
class Arm:
    r"""Texts as vectors of the sampled items.

    Args:
        text (str): Which texts.
        encoder (str): Which encoder.
        intents (str): Which intents stand beside them, or ``""``.
        vectors (Tensor): Of shape :math:`(I, T)`.
    """

    text: str
    encoder: str
    intents: str
    vectors: Tensor = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """In words."""
        return self.text + (f" & intents of {self.intents}" if self.intents else "")


Values = NDArray[np.float64]
#: Judgement, what was ranked by, and whether its texts were permuted.
Key = tuple[str, Arm | str, bool]


@dataclass(frozen=True)
class Findings:
    r"""What was measured.

    Args:
        values (dict): Metrics by user, of shape :math:`(U, 2)`, by judgement, arm (or
            ``"popularity"``, ``"interactions"``) and whether the texts were permuted.
        chosen (dict): Settings chosen on validation, by the same key.
        faults (dict): By name of the texts.
        sizes (dict): Of the sample.
        notes (list of str): What a reader must know.
    """

    values: dict[Key, Values]
    chosen: dict[Key, dict[str, float]]
    faults: dict[str, Faults]
    sizes: dict[str, int]
    notes: list[str]


def judge(
    judged: Judged,
    encoders: Sequence[tuple[str, AnyEncoder]],
    config: JudgeConfig | None = None,
    progress: bool = True,
) -> Findings:
    r"""Judges texts of items in two ways, on the test pairs of sampled users.

    *Retrieval*: a user is the mean of the training items' texts, and items are ranked by similarity
    to it (:class:`~irllrec_pyg.linear.TextMean`). It tells whether texts say what tastes go by,
    which is all there is for new items.

    *Adds*: items are ranked by interactions and texts together
    (:class:`~irllrec_pyg.linear.L3AE`), against interactions alone
    (:class:`~irllrec_pyg.linear.EASE`), the settings of both chosen on validation. L3AE whose texts
    have no weight is EASE and among its choices, so texts that say nothing new change nothing.
    Texts may be good at retrieval and add nothing, where interactions tell the same.

    Both are done with the texts permuted as well, each given to another item, and with intents
    beside the texts, two views of length 1 side by side.

    Args:
        judged (Judged): A split and its texts.
        encoders (sequence of tuple): Names and encoders.
        config (JudgeConfig, optional): How much is looked at. (default: the defaults)
        progress (bool, optional): Whether to show a bar. (default: ``True``)

    Raises:
        ValueError: If there is nothing to judge, or too many items for the memory; says what to do.
    """
    config = config or JudgeConfig()
    sample = draw(judged, config.users, config.items, config.seed)
    with tqdm(desc="reading texts", unit="step", disable=not progress) as bar:
        faults: dict[str, Faults] = {}
        arms = list(_arms(judged, sample, encoders, faults, bar))
        order = np.random.default_rng([config.seed, 1]).permutation(len(sample.items))
        keys = [(arm, permuted) for arm, permuted in product(arms, (False, True))]
        bar.total = bar.n + 2 * len(keys) + 1
        vectors = {
            (arm, permuted): arm.vectors[order] if permuted else arm.vectors
            for arm, permuted in keys
        }
        values: dict[Key, Values] = {
            (RETRIEVAL, POPULARITY, False): measured(Popularity(sample.data), sample.test)
        }
        bar.set_description("ranking by texts alone")
        for (arm, permuted), x in vectors.items():
            ranker = TextMean(with_texts(sample.data, x))
            values[RETRIEVAL, arm, permuted] = measured(ranker, sample.test)
            bar.update()
        adds = Adds(sample, bar)
        bar.update()
        bar.set_description("adding texts to interactions")
        chosen: dict[Key, dict[str, float]] = {}
        key: Key = (ADDS, INTERACTIONS, False)
        values[key], chosen[key] = adds.best(None)
        for (arm, permuted), x in vectors.items():
            key = ADDS, arm, permuted
            values[key], chosen[key] = adds.best(x)
            bar.update()
    sizes = {
        "items": len(sample.items),
        "items of the data set": int(judged.data["item"].num_nodes),
        "training interactions": sample.data["user", "rates", "item"].edge_index.size(1),
        "users for validation": len(sample.val[0].unique()),
        "users for test": len(sample.test[0].unique()),
    }
    return Findings(values, chosen, faults, sizes, judged.notes)


class Adds:
    r"""Ranks by interactions and texts, with settings chosen on validation.

    The inverse of :class:`EASE` is computed once a ridge, and shared by all texts.

    Args:
        sample (Sample): What is ranked.
        bar (tqdm): Is told of each step.
    """

    def __init__(self, sample: Sample, bar: "tqdm[Any]") -> None:
        self.sample, self.bar = sample, bar
        size = int(sample.data["item"].num_nodes)
        needed, free = BYTES * size**2, psutil.virtual_memory().available
        if needed > free:
            raise JudgeError(
                f"{size} items need {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
                "available; judge fewer items (--judge-items)."
            )
        self.ranker = EASE.restore(
            {}, {"weight": torch.zeros(size, size)}, **ranker_arguments(sample.data)
        )
        bar.set_description("ranking by interactions")
        self.gram = self.ranker.gram()
        self.inverses: dict[float, Tensor] = {}
        self.alone = climb({"reg": STEPS["reg"][0]}, lambda tried: self._validated(tried, None))

    def best(self, vectors: Tensor | None) -> tuple[Values, dict[str, float]]:
        """Metrics by user on the test pairs, and the settings that were best on validation.

        Args:
            vectors (Tensor, optional): Of the items' texts; none: interactions alone.
        """
        settings, texts = self.alone[0], None
        if vectors is not None:
            texts = item_texts(with_texts(self.sample.data, vectors)).float()
            first = {name: start for name, (start, *_) in STEPS.items()} | settings
            added, value = climb(first, lambda tried: self._validated(tried, texts))
            # Of equal ones that without texts.
            settings, texts = (added, texts) if value > self.alone[1] else (settings, None)
        self._weigh(settings, texts)
        return measured(self.ranker, self.sample.test), {"text_weight": 0.0, **settings}

    def _validated(self, settings: dict[str, float], texts: Tensor | None) -> float:
        self._weigh(settings, texts)
        return float(measured(self.ranker, self.sample.val)[:, 0].mean())

    def _weigh(self, settings: dict[str, float], texts: Tensor | None) -> None:
        ridge = settings["reg"]
        if ridge not in self.inverses:
            matrix = self.gram.clone()
            matrix.diagonal().add_(ridge)
            self.inverses[ridge] = inverse_(matrix).float()
        inverse = self.inverses[ridge].clone()
        if texts is None:
            self.ranker.weight = without_own(inverse)
        else:
            own = settings | {"text_weight": settings["text_weight"] / ridge}
            self.ranker.weight = corrected_(inverse, inverse @ texts, texts, L3AE.Config.read(own))


def climb(
    settings: dict[str, float], value: Callable[[dict[str, float]], float]
) -> tuple[dict[str, float], float]:
    r"""The best settings that steps along one setting at a time lead to, and their value.

    Args:
        settings (dict): Where to begin, each of :data:`STEPS`.
        value (callable): What is to be great.
    """
    best, most, known = settings, value(settings), [settings]
    while True:
        before = best
        for name in settings:
            _, factor, low, high = STEPS[name]
            for step in (factor, 1 / factor):
                while low <= (place := round(best[name] * step, 6)) <= high:
                    tried = best | {name: place}
                    if tried in known:
                        break
                    known.append(tried)
                    if (found := value(tried)) <= most:
                        break
                    best, most = tried, found
        if best == before:
            return best, most


def with_texts(data: HeteroData, vectors: Tensor) -> HeteroData:
    """A graph of the same interactions with vectors of the items' texts."""
    out = copy.copy(data)
    out["item"].x = vectors
    return out


def measured(ranker: Ranker, pairs: Tensor) -> Values:
    r"""The metrics of each user who has a pair, of shape :math:`(U, 2)`."""
    table = evaluate_users(ranker, pairs, k=20, metrics=("ndcg", "recall"))
    return table[list(METRICS)].to_numpy(float)


def _arms(
    judged: Judged,
    sample: Sample,
    encoders: Sequence[tuple[str, AnyEncoder]],
    faults: dict[str, Faults],
    bar: "tqdm[Any]",
) -> Iterator[Arm]:
    """Vectors of each text by each encoder, alone and with intents beside them; and their faults,
    as the first encoder shows them.
    """

    def encoded(encoder: AnyEncoder, texts: list[str], label: str) -> Vectors:
        corpus = [texts[item] for item in sample.items]
        vectors = fitted(encoder, corpus, judged.cache)(corpus)
        if label not in faults:
            faults[label] = find_faults(corpus, vectors)
        bar.update()
        return vectors

    profiles = [text for text in judged.texts if text != TITLE] or list(judged.texts)
    for name, encoder in encoders:
        known = {text: encoded(encoder, rows, text) for text, rows in judged.texts.items()}
        for text, vectors in known.items():
            yield Arm(text, name, "", _filled(vectors))
        for intents, rows in judged.intents.items():
            view = encoded(encoder, rows, f"intents of {intents}")
            for text in [intents] if intents in known else profiles:
                yield Arm(text, name, intents, _filled(unit_length(np.hstack([known[text], view]))))


def _filled(vectors: Vectors) -> Tensor:
    """Vectors with the mean of the others', which says nothing, where there are zeros."""
    there = vectors.any(axis=1)
    filled = vectors.copy()
    if there.any():
        filled[~there] = vectors[there].mean(axis=0)
    return torch.from_numpy(filled)
