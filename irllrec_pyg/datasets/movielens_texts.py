r"""Texts of movies and of users, from titles, years and genres by template."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Movies and genres that a user's text names.
_MOVIES, _GENRES = 10, 4


def item_texts(movies: pd.DataFrame) -> dict[str, list[str]]:
    r"""Texts of movies.

    Args:
        movies (pandas.DataFrame): Table with the columns ``title``, ``year`` and ``genres``, one
            row a movie.

    Returns:
        ``x``: what the movie is; ``intent``: what attracts to it and what does not.
    """
    common = [
        genre
        for genre, _ in Counter(
            genre for genres in movies["genres"] for genre in genres
        ).most_common(_GENRES)
    ]
    profiles, intents = [], []
    for title, year, genres in zip(movies["title"], movies["year"], movies["genres"], strict=True):
        kind, era = _join(genres), _decade(year)
        profiles.append(
            f"{title}{f' ({year})' if year else ''}, a movie{era}{': ' + kind if kind else ''}."
        )
        others = [genre for genre in common if genre not in genres]
        intents.append(
            f"Attracts viewers who look for {kind or 'movies'}{era}; "
            f"unattractive to those who want {_join(others)}."
        )
    return {"x": profiles, "intent": intents}


def user_texts(
    movies: pd.DataFrame,
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    num_users: int,
    seed: int,
) -> dict[str, list[str]]:
    r"""Texts of users, from the given interactions and nothing else about the users.

    Args:
        movies (pandas.DataFrame): As in :func:`item_texts`.
        user (numpy.ndarray): User of each training interaction, shape :math:`(E)`.
        item (numpy.ndarray): Movie of each training interaction, shape :math:`(E)`.
        num_users (int): Number of users.
        seed (int): Seed of the sample of movies that a text names.

    Returns:
        ``x``: genres and movies that the user likes; ``intent``: genres that the user has more
        often than others, and less often.
    """
    rng = np.random.default_rng(seed)
    titles, years, genres = (movies[name].tolist() for name in ("title", "year", "genres"))
    overall = _shares([genres[at] for at in item])
    order = np.argsort(user, kind="stable")
    bounds = np.searchsorted(user[order], np.arange(num_users + 1))
    profiles, intents = [], []
    for start, stop in pairwise(bounds):
        own = item[order[start:stop]]
        if not len(own):  # every word would be about somebody else
            profiles.append("A viewer of whom nothing is known.")
            intents.append("Likes and dislikes are unknown.")
            continue
        shares = _shares([genres[at] for at in own])
        named = rng.permutation(own)[:_MOVIES]
        best = sorted(shares, key=lambda genre: (-shares[genre], genre))[:_GENRES]
        era = Counter(_decade(years[at]) for at in own).most_common(1)[0][0]
        likes = f"Likes {_join(best)} movies{', mostly' + era if era else ''}" if best else "Likes"
        profiles.append(f"{likes}, such as {_join([titles[at] for at in named])}.")
        lift = {genre: shares.get(genre, 0.0) - share for genre, share in overall.items()}
        ranked = sorted(lift, key=lambda genre: (-lift[genre], genre))
        intents.append(
            f"Likes {_join(ranked[:_GENRES])} movies; dislikes {_join(ranked[::-1][:_GENRES])}."
        )
    return {"x": profiles, "intent": intents}


def _shares(genres: list[list[str]]) -> dict[str, float]:
    r"""How many of the movies have each genre, as a share."""
    count = Counter(genre for row in genres for genre in row)
    return {genre: number / len(genres) for genre, number in count.items()}


def _join(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _decade(year: str) -> str:
    return f" from the {year[:3]}0s" if year else ""
