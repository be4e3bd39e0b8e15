"""Losses of every published model but AlphaRec, from the weights of a ``Recommender``."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from irllrec_pyg.nn import Recommender

from .masking import draw_graphs
from .ops import adaptive, attention, drop_edges, nce, normalized, propagate, ssl


@dataclass
class Pass:
    """What a backbone made of the graph: final embeddings, layers, and what its losses need."""

    nodes: Tensor
    layers: list[Tensor]
    views: list[list[Tensor]] = field(default_factory=list)
    interaction: list[Tensor] = field(default_factory=list)
    infomax: Tensor | None = None


class Plain:
    """The losses of a model, written plainly.

    Args:
        model (Recommender): Built by :func:`irllrec_pyg.published.build_model`, as published.
    """

    def __init__(self, model: Recommender) -> None:
        self.model, self.backbone = model, model.backbone
        self.kind = type(self.backbone).__name__
        graph = self.backbone.graph
        self.num_users, self.num_nodes = graph.num_users, graph.num_nodes
        self.edge_index = torch.stack([graph.row, graph.col])
        self.dtype = self.backbone.embedding.dtype
        edges = self.edge_index
        if self.kind == "GCCF" and self.backbone.self_loops:
            loop = torch.arange(self.num_nodes, device=edges.device)
            edges = torch.cat([edges, torch.stack([loop, loop])], dim=1)
        self.adjacency = normalized(edges, self.num_nodes, self.dtype)
        self.heads = {type(head).__name__: head for head in model.heads.values()}
        intent = self.heads.get("IntentAlignment")
        matching = None if intent is None else intent.matching
        if matching is not None and matching.target != "predictions":
            raise ValueError("The plain implementation is that of the published code.")
        self.step = 0  # AutoCF redraws its graphs from time to time
        self.graphs: tuple[Tensor, Tensor] | None = None

    def begin_epoch(self) -> None:
        """The first batch of an epoch redraws."""
        self.step = 0

    @torch.no_grad()
    def embed(self) -> Tensor:
        """Final embeddings without augmentation, users first."""
        kind = {"SGL": "LightGCN", "SimGCL": "LightGCN"}.get(self.kind, self.kind).lower()
        nodes: Tensor = getattr(self, f"_{kind}")(self.backbone.embedding, False).nodes
        return nodes

    def losses(
        self,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
        augment: bool = True,
        masked_nodes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As :meth:`irllrec_pyg.nn.Recommender.losses`."""
        x = self.backbone.embedding
        if "ProfileReconstruction" in self.heads:
            head = self.heads["ProfileReconstruction"]
            if masked_nodes is None:
                count = max(int(self.num_nodes * head.mask_ratio), 1)
                masked_nodes = torch.randperm(self.num_nodes, device=x.device)[:count]
            x = x.clone()
            x[masked_nodes] = head.mask_token
        out = getattr(self, f"_{self.kind.lower()}")(x, augment)
        pos, neg = pos + self.num_users, neg + self.num_users
        e_user, e_pos, e_neg = out.nodes[user], out.nodes[pos], out.nodes[neg]
        penalty = sum(p.square().sum() for p in self.model.parameters() if p.requires_grad)
        losses = {"reg": self.model.reg_weight * penalty}
        if self.kind == "AutoCF":
            losses["bpr"] = -(e_user * e_pos).sum(-1).mean()
        else:
            losses["bpr"] = F.softplus((e_user * e_neg).sum(-1) - (e_user * e_pos).sum(-1)).mean()
        own = getattr(self, f"_{self.kind.lower()}_losses", None)
        if own is not None:
            losses |= own(out, user, pos, neg)
        if "ProfileReconstruction" in self.heads:
            predicted = head.mlp(out.nodes[masked_nodes])
            losses["reconstruction"] = head.weight * ssl(
                predicted, head.features[masked_nodes], head.temperature
            )
        if "ProfileAlignment" in self.heads:
            head = self.heads["ProfileAlignment"]
            losses["profile"] = self._align(
                head, head.temperature, out.nodes, head.mlp(head.features), user, pos, neg
            )
        if "IntentAlignment" in self.heads:
            losses |= self._intent(self.heads["IntentAlignment"], out, user, pos, neg, augment)
        return {**losses, "total": sum(losses.values())}

    # Passes over the graph

    def _gccf(self, x: Tensor, augment: bool) -> Pass:
        layers = propagate(x, [self.adjacency] * self.backbone.num_layers)
        return Pass(torch.cat(layers, dim=1), layers)

    def _lightgcn(self, x: Tensor, augment: bool) -> Pass:
        adjacency = drop_edges(self.adjacency, self.backbone.keep_rate if augment else 1.0)
        layers = propagate(x, [adjacency] * self.backbone.num_layers)
        return Pass(sum(layers), layers)

    def _sgl(self, x: Tensor, augment: bool) -> Pass:
        """Views drop edges; the published configurations know no other augmentation."""
        depth, rate = self.backbone.num_layers, self.backbone.keep_rate if augment else 1.0
        layers = propagate(x, [self.adjacency] * depth)
        views = [propagate(x, [drop_edges(self.adjacency, rate)] * depth) for _ in range(2)]
        return Pass(sum(layers), layers, views)

    def _simgcl(self, x: Tensor, augment: bool) -> Pass:
        depth = self.backbone.num_layers
        layers = propagate(x, [self.adjacency] * depth)
        views = [[x], [x]]
        for view in views:
            for _ in range(depth):
                e = torch.spmm(self.adjacency, view[-1])
                if augment:
                    noise = F.normalize(torch.rand_like(e), dim=-1) * torch.sign(e)
                    e = e + noise * self.backbone.noise
                view.append(e)
        return Pass(sum(layers), layers, views)

    def _dccf(self, x: Tensor, augment: bool) -> Pass:
        layers, branches = [x], []
        for _ in range(self.backbone.num_layers):
            x = layers[-1]
            g = torch.spmm(self.adjacency, x)
            h = self._mix(self.backbone.intents, x)
            branch = g, h, adaptive(x, g, self.edge_index), adaptive(x, h, self.edge_index)
            branches.append(branch)
            layers.append(sum(branch) + x)
        views = [list(view) for view in zip(*branches, strict=True)]
        return Pass(sum(layers), layers, views, interaction=views[3])

    def _bigcf(self, x: Tensor, augment: bool) -> Pass:
        layers = propagate(x, [self.adjacency] * self.backbone.num_layers)
        nodes = sum(layers)
        hidden = self._mix(self.backbone.intents, nodes)
        if augment:
            nodes = nodes + hidden * torch.randn_like(nodes)
        return Pass(nodes, layers, [[hidden]])

    def _autocf(self, x: Tensor, augment: bool) -> Pass:
        encoder, decoder, infomax = self.adjacency, self.edge_index, x.new_zeros(())
        if augment:
            if self.step % self.backbone.redraw_every == 0 or self.graphs is None:
                *self.graphs, infomax = draw_graphs(
                    self.edge_index, self.backbone.embedding, self.backbone
                )
            self.step += 1
            encoder, decoder = self.graphs
        layers = propagate(x, [encoder] * self.backbone.num_layers)
        for layer in self.backbone.transformers:
            layers.append(
                attention(
                    layers[-1],
                    decoder,
                    layer.query.weight,
                    layer.key.weight,
                    layer.value.weight,
                    layer.heads,
                )
            )
        return Pass(sum(layers), layers, infomax=infomax)

    def _mix(self, prototypes: torch.nn.Module, x: Tensor) -> Tensor:
        user, item = x[: self.num_users], x[self.num_users :]
        return torch.cat(
            [
                torch.softmax(side @ c, dim=1) @ c.T
                for side, c in ((user, prototypes.user), (item, prototypes.item))
            ]
        )

    # Losses of backbones; ``pos`` and ``neg`` are nodes

    def _sgl_losses(self, out: Pass, user: Tensor, pos: Tensor, neg: Tensor) -> dict[str, Tensor]:
        first, second = (sum(view) for view in out.views)
        sides = [(user, second[: self.num_users]), (pos, second[self.num_users :])]
        if self.kind == "SGL":
            sides.append((neg, second[self.num_users :]))
        total = sum(
            nce(first[index], second[index], everyone, self.backbone.temperature)
            for index, everyone in sides
        )
        return {"ssl": self.backbone.weight * total / user.numel()}

    _simgcl_losses = _sgl_losses

    def _dccf_losses(self, out: Pass, user: Tensor, pos: Tensor, neg: Tensor) -> dict[str, Tensor]:
        users, items = user.unique(), pos.unique()
        anchors, *others = out.views
        total = sum(
            nce(g[index], y[index], y[index], self.backbone.temperature)
            for view in others
            for g, y in zip(anchors, view, strict=True)
            for index in (users, items)
        )
        return {"ssl": self.backbone.weight * total / users.numel()}

    def _bigcf_losses(self, out: Pass, user: Tensor, pos: Tensor, neg: Tensor) -> dict[str, Tensor]:
        pairs = [(out.nodes[a], out.nodes[b]) for a, b in ((user, user), (pos, pos), (user, pos))]
        pairs += [(out.views[0][0][index],) * 2 for index in (user, pos)]
        total = sum(ssl(x, y, self.backbone.temperature) for x, y in pairs)
        center = sum(c.square().sum() for c in self.backbone.intents.parameters())
        return {"ssl": self.backbone.weight * total, "center": self.backbone.center_weight * center}

    def _autocf_losses(
        self, out: Pass, user: Tensor, pos: Tensor, neg: Tensor
    ) -> dict[str, Tensor]:
        e = out.nodes
        users, items = e[: self.num_users], e[self.num_users :]

        def spread(rows: Tensor, everyone: Tensor) -> Tensor:
            return torch.exp(rows @ everyone.T).sum(-1).log().mean()

        sides = spread(e[user.unique()], users) + spread(e[pos.unique()], items)
        return {
            "ssl": self.backbone.weight * sides + spread(e[user], items),
            "infomax": out.infomax,
        }

    # Losses of heads

    def _align(
        self,
        part: torch.nn.Module,
        t: float,
        nodes: Tensor,
        text: Tensor,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor:
        total = nce(nodes[user], text[user], text[: self.num_users], t)
        for index in (pos, neg) if part.negatives else (pos,):
            total = total + nce(nodes[index], text[index], text[index], t)
        return part.weight * total / user.numel()

    def _intent(
        self,
        head: torch.nn.Module,
        out: Pass,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
        augment: bool,
    ) -> dict[str, Tensor]:
        translation, matching = head.translation, head.matching
        if matching is not None and head.training:
            teacher, m = matching.teacher["mlp"], matching.momentum
            with torch.no_grad():
                for slow, fast in zip(teacher.parameters(), head.mlp.parameters(), strict=True):
                    slow.copy_(m * slow + (1 - m) * fast)
        prototypes = head.student_intents
        layers = out.layers if head.view is None else out.views[head.view]
        rows = out.interaction or [
            adaptive(x, self._mix(prototypes, layer), self.edge_index)
            for layer, x in zip(layers[:-1], layers[head.shift :], strict=False)
        ]
        text = head.mlp(head.features)
        interaction = sum(rows) / len(rows)
        losses = {
            "intent": self._align(
                head.pairwise, head.temperature, interaction, text, user, pos, neg
            )
        }
        if matching is None:
            return losses
        z, e = text, out.nodes
        if augment:
            z, e = (x + x * torch.randn_like(x) for x in (z, e))
        losses["translation"] = translation.weight * ssl(z, e, 1.0)
        with torch.no_grad():
            target = torch.softmax(matching.teacher["mlp"](head.features), dim=1)
        gap = -(target * torch.log_softmax(text, dim=1)).sum(1).mean()
        losses["matching"] = matching.weight * (
            (1 - matching.alpha) * losses["translation"] + matching.alpha * gap
        )
        return losses


def plain_losses(
    model: Recommender,
    user: Tensor,
    pos: Tensor,
    neg: Tensor,
    augment: bool = True,
    masked_nodes: Tensor | None = None,
) -> dict[str, Tensor]:
    """The losses of one batch; :class:`Plain` builds its matrices once for many."""
    return Plain(model).losses(user, pos, neg, augment, masked_nodes)
