"""The parts that pretext tasks on patches share: their settings, their head and their steps."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from repsim.data.augment import Greyscale
from repsim.data.patches import Grid, colour_shifts, standardised
from repsim.errors import UsageError
from repsim.networks.heads import PatchesHead
from repsim.networks.image_spec import ImageSpec
from repsim.networks.patchwise import PatchMean
from repsim.training.method import Batch, StepContext
from repsim.training.pretext import Pretext, PretextConfig, share_right

#: Rows of the head in an evaluation, at most; each has the embeddings of several patches.
_ROWS = 4000


class PatchConfig(PretextConfig):
    """The settings of the code of Kolesnikov et al. (2019), with patches by proportion."""

    cell: int = Field(0, ge=0, description="side of a cell in pixels; 0: cells fill the image")
    patch: int = Field(0, ge=0, description="side of a patch; 0: 64/85 of a cell, rounded up")
    grey: float = Field(0.66, ge=0, le=1, description="probability of an image to become grey")
    colour_shift: int = Field(
        0, ge=0, description="pixels by which channels of a patch are shifted, at most"
    )
    embedding: int = Field(1000, ge=1, description="numbers of a patch that the head reads")
    hidden: int = Field(4096, ge=1, description="units of the head")
    dropout: float = Field(0.5, ge=0, lt=1, description="in the head")
    head_weight_decay: float = Field(5e-4, ge=0, description="on every parameter of the head")

    @property
    def side(self) -> int:
        """Cells along each side of the grid."""
        return 3


class PatchTask(Pretext):
    """A head that reads embeddings of the patches of an image in some order, and says in which.

    Each patch is embedded once, for all orders. Extractors give the mean over the patches of an
    image, in colour.

    Attributes:
        grid: of the patches that are asked about.
        orders: (orders, patches of each) int64, numbers of the patches that the head reads.
    """

    extractors = ("encoder",)
    network = "resnet"
    config: PatchConfig

    def __init__(self, config: PatchConfig, spec: ImageSpec) -> None:
        self.grid, self.orders = grid_of(config, spec), self.make_orders(config)
        super().__init__(config, spec)
        self.encoder.input_shape = self.shown_spec.shape
        orders, patches = self.orders.shape
        inputs = patches * config.embedding
        self.head = PatchesHead(inputs, config.hidden, orders, config.dropout)
        self.networks["head"] = self.head
        self.augment = Greyscale(config.grey)

    @abstractmethod
    def make_orders(self, config: Any) -> Tensor:
        """The orders among which the head decides."""

    def chosen(self, batch: Batch, context: StepContext) -> Tensor:
        """Numbers of the orders that a step asks about, the same for all images: all, as a rule."""
        return torch.arange(len(self.orders))

    @property
    def shown_spec(self) -> ImageSpec:
        return replace(self.spec, height=self.grid.patch, width=self.grid.patch)

    def make_head(self, features: int) -> nn.Module:
        return nn.Linear(features, self.config.embedding)

    def extractor(self, name: str) -> nn.Module:
        return PatchMean(self.networks[name], self.grid.for_features())

    @classmethod
    def patches(cls, config: Any, spec: ImageSpec) -> dict[str, Any]:
        grid = grid_of(config, spec).for_features()
        return {"mean_over": grid.count, "pixels": grid.patch, "image": grid.image}

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        groups: list[dict[str, Any]] = [
            {"params": list(self.encoder.parameters())},
            {"params": list(self.head.parameters()), "weight_decay": c.head_weight_decay},
        ]
        return {"encoder": SGD(groups, c.lr, c.momentum, 0, c.weight_decay, c.nesterov)}

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        patches = context.augment(self.scattered, batch.images)
        chosen = self.chosen(batch, context).to(patches.device)
        embeddings = context.networks["encoder"](patches.flatten(0, 1))
        logits = context.networks["head"](self.ordered(embeddings, chosen))
        answers = chosen.repeat(len(patches))
        loss = F.cross_entropy(logits, answers)
        context.descend(loss, "encoder")
        return {"loss": loss.detach(), "accuracy": share_right(logits, answers)}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        patches = standardised(self.grid.cut(batch.images, self.grid.centred()))
        embeddings, n = self.encoder(patches.flatten(0, 1)), len(patches)
        orders = torch.arange(len(self.orders), device=patches.device)
        right = torch.zeros((), device=patches.device)
        for some in orders.split(max(1, _ROWS // n)):
            answered = share_right(self.head(self.ordered(embeddings, some)), some.repeat(n))
            right += answered * len(some) / len(orders)
        return {"accuracy": right * n}

    def scattered(self, images: Tensor) -> Tensor:
        """Random patches (n, count, c, patch, patch) of images, some grey, all standardised."""
        images = self.augment(images)
        corners = self.grid.scattered(len(images))
        if self.config.colour_shift:
            shifts = colour_shifts(images, self.grid.count, self.config.colour_shift)
            corners = (corners + shifts).clamp(0, self.grid.image - self.grid.patch)
        return standardised(self.grid.cut(images, corners))

    def ordered(self, embeddings: Tensor, chosen: Tensor) -> Tensor:
        """The input of the head for each image and each chosen order.

        Args:
            embeddings: (n count, d), the patches of an image one after the other.
            chosen: (m,) numbers of orders.

        Returns:
            (n m, patches d), the orders of an image one after the other.
        """
        orders = self.orders.to(chosen.device)[chosen]
        # ``index_select``: its backward pass is much faster than that of an index by a tensor
        rows = embeddings.unflatten(0, (-1, self.grid.count)).index_select(1, orders.flatten())
        return rows.reshape(-1, orders.shape[1] * embeddings.shape[1])


def grid_of(config: PatchConfig, spec: ImageSpec) -> Grid:
    """The grid of the patches that are asked about.

    Raises:
        UsageError: images that are not square, or patches larger than their cells.
    """
    if spec.height != spec.width:
        raise UsageError(
            f"images are {spec.height} x {spec.width}; patches are cut out of square ones: try "
            f"--image-size {min(spec.size)}"
        )
    grid = Grid.for_questions(spec.height, config.side, config.cell, config.patch)
    if grid.patch > grid.cell:
        raise UsageError(
            f"patch is {grid.patch} pixels, but cells are of {grid.cell}; expected at most that: "
            "take a smaller patch or a larger cell"
        )
    return grid
