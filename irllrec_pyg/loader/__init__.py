"""Training triplets with strict negatives, through PyG's loaders."""

from .triplet_loader import TripletLoader, triplet_loader
from .triplet_sampler import TripletSampler

__all__ = ["TripletLoader", "TripletSampler", "triplet_loader"]
