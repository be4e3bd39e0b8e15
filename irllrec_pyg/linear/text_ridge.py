"""Item factors of a factorisation, and what texts say of them."""

from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .ials import IALS
from .texts import centred, centred_texts


def ridge_map(x: Tensor, y: Tensor, reg: float) -> tuple[Tensor, Tensor]:
    """A ridge regression of the rows of ``y`` on those of ``x``: its weights and its constant."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    x = x - mean_x
    gram = x.t() @ x
    gram.diagonal().add_(reg)
    weight = torch.cholesky_solve(x.t() @ (y - mean_y), torch.linalg.cholesky(gram))
    return weight, mean_y - mean_x @ weight


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


@register("text-ridge")
class TextRidge(TextFactors):
    r""":class:`IALS` whose item factors :math:`\mathbf{H}` are predicted from texts by a ridge
    regression over the items that have interactions :math:`\mathcal{I}_+`.

    .. math::
        \min_{\mathbf{A}} \sum_{i \in \mathcal{I}_+} \|\mathbf{h}_i - \mathbf{A}^{\top}
        \mathbf{f}_i\|^2 + \lambda_F \|\mathbf{A}\|^2, \qquad
        \hat{\mathbf{h}}_i = \begin{cases} (1 - a) \, \mathbf{h}_i + a \, \mathbf{A}^{\top}
        \mathbf{f}_i & i \in \mathcal{I}_+ \\ \mathbf{A}^{\top} \mathbf{f}_i &
        \text{else} \end{cases}

    with :math:`\mathbf{F}` the items' texts, centred and of unit length, beside a constant that
    has no ridge. Such maps from content to factors go back to `"Learning Attribute-to-Feature
    Mappings for Cold-Start Recommendations" <https://doi.org/10.1109/ICDM.2010.129>`_ (ICDM 2010).

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
    """

    class Config(TextFactors.Config):
        text_reg: float = field(
            1.0, gt=0, search=(0.01, 100.0), log=True, help="weight of the ridge on the texts"
        )
        text_weight: float = field(
            0.2, ge=0, le=1, search=(0.0, 1.0), help="share a of the texts for items with factors"
        )

    def fit(self, data: HeteroData) -> None:
        """Factorises, and regresses the factors on the texts."""
        texts, center = centred_texts(data)
        super().fit(data)
        has_factors = self.degree() > 0
        known = self.items[has_factors].double()
        weight, constant = ridge_map(texts[has_factors], known, self.config.text_reg)
        self.keep(warm=self.items, map=weight, constant=constant, center=center)
        share = torch.where(has_factors, self.config.text_weight, 1.0).view(-1, 1)
        predicted = texts @ weight + constant
        self.items = torch.lerp(self.items.double(), predicted, share.double()).float()
