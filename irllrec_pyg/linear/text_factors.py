"""What factorisations share whose items' factors follow from texts."""

from typing import ClassVar

from torch import Tensor

from .ials import IALS
from .texts import MappedTexts


class TextFactors(MappedTexts, IALS):
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

    @property
    def factors(self) -> Tensor:
        """Factors of the items that those of users are solved from, before texts come in."""
        return self.warm
