"""Message-passing layers."""

from .adaptive_conv import AdaptiveConv
from .weighted_sum_conv import WeightedSumConv, spmm

__all__ = ["AdaptiveConv", "WeightedSumConv", "spmm"]
