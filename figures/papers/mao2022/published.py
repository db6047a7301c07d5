"""Numbers of the paper."""

#: Table 2 and the text beside it: accuracy in per cent by number of convolutions removed.
PUBLISHED: dict[str, dict[str, list[float]]] = {
    "mnist": {
        "discriminator": [95.92, 94.27, 93.94, 93.65, 93.09],
        "classifier": [95.89, 95.74, 96.12, 96.17, 95.78],
        "difference": [-0.03, 1.47, 2.18, 2.52, 2.69],
    },
    "cifar10": {"difference": [-0.17, 6.23, 6.62]},
}


def published(data: str, quantity: str) -> list[float]:
    """The paper's numbers of a quantity on an image set; none where it has none."""
    return PUBLISHED.get(data, {}).get(quantity, [])
