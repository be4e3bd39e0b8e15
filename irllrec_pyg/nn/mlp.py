"""The map between texts and embeddings."""

import torch
from torch import Tensor


class TextMLP(torch.nn.Sequential):
    r"""The two-layer map of RLMRec and IRLLRec, ``Linear -> LeakyReLU -> Linear``.

    Args:
        in_channels (int): Input width :math:`a`.
        out_channels (int): Output width :math:`b`.
        hidden_channels (int, optional): Width :math:`h` between the layers.
            (default: :math:`\lfloor (a + b) / 2 \rfloor`)

    Shapes:
        - **input:** :math:`(M, a)`
        - **output:** :math:`(M, b)`
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: int | None = None
    ) -> None:
        hidden = hidden_channels or (in_channels + out_channels) // 2
        super().__init__(
            torch.nn.Linear(in_channels, hidden),
            torch.nn.LeakyReLU(0.01, inplace=True),
            torch.nn.Linear(hidden, out_channels),
        )
        self._xavier()

    def hidden(self, x: Tensor) -> Tensor:
        r"""The hidden layer before its activation, of shape :math:`(M, h)`."""
        out: Tensor = self[0](x)
        return out

    def output(self, hidden: Tensor) -> Tensor:
        """The output for a hidden layer, which is overwritten with its activation."""
        out: Tensor = self[2](self[1](hidden))
        return out

    def reset_parameters(self) -> None:
        """Draws new weights, Xavier-uniform, and biases."""
        for layer in self:
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()
        self._xavier()

    def _xavier(self) -> None:
        for layer in self:
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.xavier_uniform_(layer.weight)
