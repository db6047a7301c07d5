"""Signs of mode collapse: how even the discriminator's ratio is, and which classes appear."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from repsim.networks import Discriminator
from repsim.training.loaders import Feed

#: Images, steps, batch size and width of the classifier: some seconds on one core, for 97 % of
#: digits.
_IMAGES, _STEPS, _BATCH, _WIDTH = 10_000, 200, 64, 8


def alpha(logits: Tensor) -> tuple[float, float]:
    """Mean and coefficient of variation of α = p_g / p_r, as a discriminator sees it.

    At its optimum D = p_r / (p_r + p_g) = 1 / (1 + α), so that α = (1 - D) / D = exp(-logit).
    Without mode collapse α is the same for all real images (Mao et al. 2019, Corollaries 1 to 3).

    Args:
        logits: (n, 1) or (n,) of images being real.
    """
    ratio = (-logits.detach().flatten().cpu().double()).exp()
    mean = ratio.mean()
    return float(mean), float(ratio.std(correction=0) / mean)


def classes_seen(predicted: Tensor, classes: int) -> int:
    """The number of classes that generated images fall into, strays aside.

    A class counts if it has a tenth of an even share, n / classes, or more.
    """
    counts = predicted.bincount(minlength=classes)
    return int((counts >= max(1.0, 0.1 * len(predicted) / classes)).sum())


class Coverage:
    """A small classifier of the training set, and what it makes of generated images.

    Args:
        feed: the training images.
        classes: their number of classes.
        seed: of its initialisation and data order, which torch's random numbers then go on from.
    """

    def __init__(self, feed: Feed, classes: int, seed: int) -> None:
        self.classes = classes
        torch.manual_seed(seed)
        chosen = torch.randperm(len(feed))[:_IMAGES]
        held, known = chosen.tensor_split([max(1, len(chosen) // 10)])
        (batch,) = feed.batches(held[None])
        _, channels, height, width = batch.images.shape
        network = Discriminator(channels, classes, _WIDTH, size=(height, width))
        self.network = network.to(feed.device)
        self._train(feed, known)
        #: on a tenth of those images, which it was not trained on
        self.accuracy = float((self.classify(batch.images) == batch.labels.cpu()).double().mean())

    def _train(self, feed: Feed, known: Tensor) -> None:
        optimizer = torch.optim.Adam(self.network.parameters(), 2e-3)
        rows = torch.stack([known[torch.randint(len(known), (_BATCH,))] for _ in range(_STEPS)])
        for batch in feed.batches(rows):
            optimizer.zero_grad()
            F.cross_entropy(self.network(batch.images), batch.labels).backward()
            optimizer.step()
        self.network.eval()

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """The class of each image, on the CPU."""
        return torch.cat([self.network(part).argmax(1).cpu() for part in images.split(500)])

    def seen(self, samples: Tensor | Mapping[str, Tensor]) -> dict[str, float]:
        """Classes seen among all generated images, and of each of several generators."""
        named = {"": samples} if isinstance(samples, Tensor) else dict(samples)
        found = {name: self.classify(images) for name, images in named.items()}
        row: dict[str, float] = {
            "classes_seen": classes_seen(torch.cat(list(found.values())), self.classes)
        }
        if len(found) > 1:
            for name, predicted in found.items():
                row[f"classes_seen.{name}"] = classes_seen(predicted, self.classes)
        return {**row, "classifier_accuracy": self.accuracy}
