"""Heads: losses that tie node embeddings to language."""

from .base import Head, TextHead
from .intent import IntentAlignment
from .matching import MomentumMatching
from .pairwise import PairwiseAlignment
from .profile import ProfileAlignment
from .reconstruction import ProfileReconstruction
from .shaping import ProfileShaping
from .teacher import Teacher
from .tower import InteractionTower
from .translation import TranslationAlignment

__all__ = [
    "Head",
    "IntentAlignment",
    "InteractionTower",
    "MomentumMatching",
    "PairwiseAlignment",
    "ProfileAlignment",
    "ProfileReconstruction",
    "ProfileShaping",
    "Teacher",
    "TextHead",
    "TranslationAlignment",
]
