"""Intent prototypes, of backbones that have some and of IRLLRec's interaction tower."""

import torch
from torch import Tensor


class IntentPrototypes(torch.nn.Module):
    r"""Soft assignment of nodes to learnable intents, users and items apart.

    .. math::
        \mathbf{h}_v = \mathrm{softmax}(\mathbf{e}_v^{\top} \mathbf{C}) \, \mathbf{C}^{\top},
        \qquad \mathbf{C} \in \mathbb{R}^{d \times K}

    Args:
        embedding_size (int): Width :math:`d` of the embeddings.
        num_intents (int): Number :math:`K` of prototypes on each side.

    Shapes:
        - **input:** node embeddings :math:`(N, d)`, users first; the number of users
        - **output:** intent states :math:`(N, d)`
    """

    def __init__(self, embedding_size: int, num_intents: int) -> None:
        super().__init__()
        self.user = torch.nn.Parameter(torch.empty(embedding_size, num_intents))
        self.item = torch.nn.Parameter(torch.empty(embedding_size, num_intents))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new prototypes, Xavier-uniform."""
        torch.nn.init.xavier_uniform_(self.user)
        torch.nn.init.xavier_uniform_(self.item)

    def forward(self, x: Tensor, num_users: int) -> Tensor:
        """Mixes the prototypes of each node's side."""
        parts = ((x[:num_users], self.user), (x[num_users:], self.item))
        return torch.cat([(part @ c).softmax(1) @ c.t() for part, c in parts])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.user.size(0)}, num_intents={self.user.size(1)})"
