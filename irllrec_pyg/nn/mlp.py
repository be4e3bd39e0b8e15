"""The map between texts and embeddings."""

from collections.abc import Sequence

import torch
from torch import Tensor

# A hidden layer is in pieces of so many bytes on a CPU. Larger ones come from the system, which
# clears them whenever one is made. With larger ones, and a teacher's layer that moves as a whole, a
# step took 5 to 9 % longer: `benchmarks/speed.py --model lightgcn_int --precision bf16-mixed`.
BLOCK_BYTES = 24 << 20


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

    def forward(self, x: Tensor) -> Tensor:
        """Maps rows."""
        return self.output(self.hidden(x))

    def hidden(self, x: Tensor) -> list[Tensor]:
        r"""The hidden layer before its activation, in blocks of rows, each of shape
        :math:`(\leq M, h)`.
        """
        weight: Tensor = self[0].weight  # type: ignore[assignment]
        rows = max(1, BLOCK_BYTES // (weight.size(0) * weight.element_size()))
        if x.device.type != "cpu" or x.size(0) <= rows:
            return [self[0](x)]
        with self._own_casts(x):
            return [self[0](block) for block in x.split(rows)]

    def output(self, hidden: Sequence[Tensor]) -> Tensor:
        """The output for a hidden layer, which is overwritten with its activation."""
        if len(hidden) == 1:
            out: Tensor = self[2](self[1](hidden[0]))
            return out
        with self._own_casts(hidden[0]):
            return torch.cat([self[2](self[1](block)) for block in hidden])

    @staticmethod
    def _own_casts(x: Tensor) -> torch.autocast:
        """Has autocast round the weights for each block: the gradients of blocks that share one
        rounded copy would be added up in its dtype.
        """
        device = x.device.type
        return torch.autocast(
            device, enabled=torch.is_autocast_enabled(device), cache_enabled=False
        )

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
