"""Closed-form models: what a trained one must beat before anybody should care for it."""

from .base import EmbeddingModel, LinearModel
from .choose import Choice, build_linear, choose_settings, chosen
from .ease import EASE
from .knn import ItemKNN, NeighbourModel, TextKNN
from .linear_filter import LinearFilter
from .low_pass import LowPassSVD
from .popularity import Popularity
from .text_profile import TextProfile

__all__ = [
    "EASE",
    "Choice",
    "EmbeddingModel",
    "ItemKNN",
    "LinearFilter",
    "LinearModel",
    "LowPassSVD",
    "NeighbourModel",
    "Popularity",
    "TextKNN",
    "TextProfile",
    "build_linear",
    "choose_settings",
    "chosen",
]
