"""Nearest neighbours, exact, in blocks."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 1024


def knn_predict(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    classes: int,
    *,
    k: int = 1,
) -> Int[Tensor, " m"]:
    """Majority class of the k nearest training rows, Euclidean; ties go to the lower class.

    Features are centred on the training mean, so that distances keep their accuracy when features
    lie far from the origin.
    """
    centre = train.mean(0)
    train, test = train - centre, test - centre
    norms = train.square().sum(1)
    predictions = []
    for block in test.split(_BLOCK):
        # |t|² of the test row is the same for all its neighbours, so it is left out.
        nearest = torch.addmm(norms, block, train.T, alpha=-2).topk(k, largest=False).indices
        votes = torch.nn.functional.one_hot(labels[nearest], classes).sum(1)
        predictions.append(votes.argmax(1))
    return torch.cat(predictions)
