"""Empty, refused and repeated texts are counted."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from irllrec_pyg.judge.faults import find_faults


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot provide a summary.",
        "As an AI language model, I have no tastes.",
        "I am unable to write about this item.",
        "Unfortunately, I don't have enough information about this book.",
        "N/A",
        "null",
        "?!",
    ],
)
def test_refusals(text: str) -> None:
    assert find_faults([text, "A good book."], np.eye(2, dtype=np.float32)).refused == 1


@pytest.mark.parametrize(
    "text",
    [
        "Sorry, Wrong Number (1948)",
        "I Am Sam (2001)",
        "Fans of films such as I, Robot will like this; as an aid it is of use.",
        "None But the Lonely Heart",
        "I Can't Sleep (1994)",
        "8½",
        "機動戦士",
    ],
)
def test_titles_that_are_no_refusals(text: str) -> None:
    assert find_faults([text, "A good book."], np.eye(2, dtype=np.float32)).refused == 0


def test_counts_are_those_of_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    words = np.array(["one", "two", "three", "four", "five", "six", "seven"])
    texts = [" ".join(rng.choice(words, 6)) for _ in range(60)]
    texts += ["", "", texts[0].upper(), f"  {texts[1]}"]
    vectors = np.array([[text.lower().split().count(word) for word in words] for text in texts])
    vectors = (vectors / np.maximum(1, np.linalg.norm(vectors, axis=1))[:, None]).astype(np.float32)
    found = find_faults(texts, vectors)
    plain = [" ".join(text.lower().split()) for text in texts]
    same = [at for at, text in enumerate(plain) if text and plain.count(text) > 1]
    assert (found.texts, found.empty, found.same) == (64, 2, len(same))
    firsts = [at for at, text in enumerate(plain) if text and text not in plain[:at]]
    near = 0
    for one in firsts:
        others = [other for other in firsts if other != one]
        nearest = max(others, key=lambda other: (vectors[one] @ vectors[other]).round(6))
        best = vectors[one] @ vectors[nearest]
        ties = [o for o in others if abs(vectors[one] @ vectors[o] - best) < 1e-6]
        shares = [
            len({*plain[one].split()} & {*plain[o].split()})
            >= 0.8 * len({*plain[one].split()} | {*plain[o].split()})
            for o in ties
        ]
        near += all(shares)
        assert all(shares) or not any(shares) or len(ties) > 1
    assert found.near >= near > 0
    assert found.characters == sum(map(len, texts))
    assert len(found.examples["same"]) == 3


def test_nothing_to_count() -> None:
    found = find_faults(["", ""], np.zeros((2, 3), np.float32))
    assert (found.empty, found.same, found.near, found.longest) == (2, 0, 0, 0)
    alone = find_faults(["one"], np.ones((1, 3), np.float32))
    assert (alone.same, alone.near, alone.examples) == (0, 0, {})
