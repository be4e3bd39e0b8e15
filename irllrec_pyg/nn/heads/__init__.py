"""Heads: losses that tie node embeddings to language."""

from .base import Head, TextHead, text_mlp
from .intent import IntentAlignment, InteractionTower
from .profile import ProfileAlignment
from .reconstruction import ProfileReconstruction

__all__ = ["Head", "IntentAlignment", "InteractionTower", "ProfileAlignment",
           "ProfileReconstruction", "TextHead", "text_mlp"]
