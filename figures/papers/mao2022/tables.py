"""The tables of Mao et al. (2022)."""

from __future__ import annotations

from typing import Any

from repsim.figures.papers.engine import Found, mean_columns, settings_table
from repsim.figures.papers.mao2022.heads import CONVERGED, PAPERS, gap, made, of_controls, of_heads
from repsim.figures.papers.mao2022.null_spaces import noises_in, reports_of
from repsim.figures.papers.mao2022.published import published
from repsim.figures.papers.mao2022.runs import MGAN, NAMES, removed_in
from repsim.networks.describe import describe
from repsim.networks.families.dcgan import LATENT

Rows = list[dict[str, Any]]


def table_1(found: Found) -> Rows:
    """The layers of generators, discriminator and classifier, from the modules."""
    method = found.trained(MGAN[removed_in(found)[-1]])[0].run.build()
    shapes = {"generator": (LATENT,), "discriminator": None, "classifier": None}
    return [
        {"network": name, **row}
        for name, shape in shapes.items()
        for row in describe(method.networks[name], shape or method.spec.shape)
    ]


def table_2(found: Found) -> Rows:
    """Accuracies by number of convolutions removed and head, with intervals over seeds."""
    return [_line(found, removed, head) for removed in made(found) for head in (CONVERGED, PAPERS)]


def _line(found: Found, removed: int, head: str) -> dict[str, Any]:
    place = list(removed_in(found)).index(removed)
    row: dict[str, Any] = {"removed": removed, "head": head}
    for name in NAMES:
        row |= mean_columns(name, of_heads(found, name, removed, head))
        row |= _theirs(found, name, place, head)
    row |= mean_columns("difference", gap(found, removed, head))
    row |= _theirs(found, "difference", place, head)
    return row | mean_columns("untrained", of_controls(found, head))


def _theirs(found: Found, name: str, place: int, head: str) -> dict[str, Any]:
    """The published number; the paper's heads are those by SGD."""
    values = published(found.data, name) if head == PAPERS else []
    return {f"{name}_published": values[place] if values else ""}


#: Shares of the energy of a noise's effect on the features, by quantity and part.
_NOISE = {
    "row space": ("noise_share", "row"),
    "row space, centred": ("noise_share_centred", "row"),
    "shift of all images": ("noise_shift", "full"),
}


def noise(found: Found) -> Rows:
    """Shares of noise in the row space, as they are and about the mean, with intervals."""
    return [
        {"noise": each, "extractor": name, **_shares(found, name, each)}
        for name in NAMES
        for each in noises_in(found, name)
    ]


def _shares(found: Found, name: str, noise: str) -> dict[str, float]:
    row: dict[str, float] = {}
    for column, (quantity, part) in _NOISE.items():
        values = [each.value(quantity, part, noise) for each in reports_of(found, name)]
        row |= mean_columns(column, values)
    return row


def settings(found: Found) -> Rows:
    return settings_table({"mgan": found.trained(MGAN[made(found)[0]])[0]}, leave=("shared",))


TABLES = {"table-1": table_1, "table-2": table_2, "noise": noise, "settings": settings}
