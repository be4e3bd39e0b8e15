"""What factorisations share whose items' factors follow from texts."""

from typing import ClassVar

from torch import Tensor

from .ials import IALS
from .texts import centred


class TextFactors(IALS):
    """Base class of :class:`IALS` whose items' factors follow from texts by a linear map."""

    layout: ClassVar = {
        "users": "U dim",
        "items": "I dim",
        "warm": "I dim",
        "map": "width dim",
        "constant": "dim",
        "center": "width",
    }
    warm: Tensor
    map: Tensor
    constant: Tensor
    center: Tensor

    @property
    def factors(self) -> Tensor:
        """Factors of the items that those of users are solved from, before texts come in."""
        return self.warm

    @property
    def text_width(self) -> int:
        """Width of the texts."""
        return self.center.numel()

    def text_items(self, texts: Tensor) -> Tensor:
        """The map of texts."""
        mapped = centred(texts, self.center) @ self.map.double() + self.constant.double()
        return mapped.float()

    def keep(self, **parts: Tensor) -> None:
        """Keeps tensors in single precision."""
        for name, part in parts.items():
            self.register_buffer(name, part.float())
