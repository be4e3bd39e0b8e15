"""Closed-form models: what a trained one must beat before anybody should care for it."""

from .base import EmbeddingModel, FactorModel, LinearModel
from .bilinear_text import BilinearText
from .choose import Choice, build_linear, choose_settings, chosen
from .ease import EASE
from .edlae import EDLAE, RDLAE
from .ials import IALS
from .item_weights import ItemWeights
from .knn import ItemKNN, NeighbourModel, TextKNN
from .l3ae import L3AE
from .linear_filter import LinearFilter
from .low_pass import GFCF, LowPassSVD
from .low_rank_ease import LowRankEASE
from .popularity import Popularity
from .text_ease import AdditiveEASE, CollectiveEASE
from .text_ials import TextIALS
from .text_mean import TextMean
from .text_popularity import TextPopularity
from .text_profile import TextProfile
from .text_ridge import TextRidge

__all__ = [
    "EASE",
    "EDLAE",
    "GFCF",
    "IALS",
    "L3AE",
    "RDLAE",
    "AdditiveEASE",
    "BilinearText",
    "Choice",
    "CollectiveEASE",
    "EmbeddingModel",
    "FactorModel",
    "ItemKNN",
    "ItemWeights",
    "LinearFilter",
    "LinearModel",
    "LowPassSVD",
    "LowRankEASE",
    "NeighbourModel",
    "Popularity",
    "TextIALS",
    "TextKNN",
    "TextMean",
    "TextPopularity",
    "TextProfile",
    "TextRidge",
    "build_linear",
    "choose_settings",
    "chosen",
]
