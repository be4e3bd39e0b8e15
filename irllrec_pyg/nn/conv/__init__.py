"""Message-passing layers."""

from .adaptive_conv import AdaptiveConv
from .graph_transformer_conv import GraphTransformerConv
from .weighted_sum_conv import WeightedSumConv, spmm, spmm_chain

__all__ = ["AdaptiveConv", "GraphTransformerConv", "WeightedSumConv", "spmm", "spmm_chain"]
