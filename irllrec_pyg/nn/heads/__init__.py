"""Heads: losses that tie node embeddings to language."""

from .base import Head, TextHead
from .intent import IntentAlignment, InteractionTower
from .profile import ProfileAlignment
from .reconstruction import ProfileReconstruction

__all__ = [
    "Head",
    "IntentAlignment",
    "InteractionTower",
    "ProfileAlignment",
    "ProfileReconstruction",
    "TextHead",
]
