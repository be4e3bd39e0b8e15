"""Training triplets with strict negatives, through PyG's loaders."""

from irllrec_pyg.loader.triplet_loader import TripletLoader, triplet_loader
from irllrec_pyg.loader.triplet_sampler import TripletSampler

__all__ = ["TripletLoader", "TripletSampler", "triplet_loader"]
