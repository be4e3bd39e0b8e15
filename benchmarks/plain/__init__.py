"""The models written plainly: what the fast implementations of the package are compared with.

Formulas of RLMRec and IRLLRec as one writes them first, with torch's own autograd throughout:
propagation by COO matrices, contrastive sums as whole matrices, MLPs over all nodes, weights of
edges through gathered rows, negatives and metrics in Python loops. Weights are those of a
:class:`irllrec_pyg.nn.Recommender`, so that both can be held against each other.
"""

from .loop import PlainLoader, evaluate
from .losses import Plain, plain_losses

__all__ = ["Plain", "PlainLoader", "evaluate", "plain_losses"]
