"""The claims of Song et al. (2017), with the numbers and bounds that decide them."""

from __future__ import annotations

import numpy as np

from repsim import signal
from repsim.figures.papers.engine import (
    Claim,
    Found,
    Judged,
    Number,
    exactly,
    over_seeds,
    rank_correlation,
)
from repsim.figures.papers.song2017.analyses import CONTROLS, GRID, SIGNALS, SOLVERS
from repsim.figures.papers.song2017.heads import (
    TEXT,
    bits_of,
    cells,
    changes,
    entry_of,
    of_cell,
    of_extractor,
)
from repsim.figures.papers.song2017.published import ACCURACY, SIGNAL, WITH, WITHOUT
from repsim.figures.papers.song2017.runs import cells_of

#: Half of the last digit of the published signals.
_ROUNDED = 0.005


@exactly(
    "0a: the signal in closed form",
    "the signal is (1 - keep) [log2 K + p log2 p + (1 - p) log2((1 - p) / (K - 1))]",
    "largest distance from the published cells (bits)",
    below=_ROUNDED + 1e-9,
    networks=False,
)
def closed_form(found: Found) -> Number:
    return Number(
        [abs(signal(*cell) - value) for cell, value in SIGNAL.items()],
        note="ten cells, of no left digit kept; in the other 90 these are multiplied by 1 - keep, "
        "in the paper as here",
    )


@over_seeds(
    "0b: labels destroy what they do not reward, {head}",
    "a CNN that learns the left label loses what it knew of the right digit",
    "accuracy on the right digit, trained less untrained, in points",
    below=-5.0,
)
def labels_destroy(found: Found, head: str) -> Number:
    return Number(changes(found, "CNN", head=head), published=_change("CNN", head))


@over_seeds(
    "0c: {name} helps, {head}",
    "training without labels improves what is known of the right digit",
    "accuracy on the right digit, trained less untrained, in points",
    above=3.0,
)
def unsupervised_helps(found: Found, name: str, head: str) -> Number:
    return Number(changes(found, name, head=head), published=_change(name, head))


@over_seeds(
    "0d: {name} is on par with the autoencoder, {head}",
    "GANs serve as well as an autoencoder",
    "distance of their accuracies on the right digit, in points",
    below=3.0,
)
def on_par(found: Found, name: str, head: str) -> Number:
    gaps = np.subtract(of_extractor(found, name, head=head), of_extractor(found, "AE", head=head))
    theirs = abs(WITH[name] - WITH["AE"])
    return Number(list(np.abs(gaps)), published=_theirs(head, theirs, ".2f"))


@over_seeds(
    "0e: the signal predicts the accuracy, {head}",
    "the more bits the right digit adds, the better it is learned",
    "Spearman correlation of signal and accuracy over the grid",
    above=0.7,
)
def signal_predicts(found: Found, head: str) -> Number:
    known = cells(found)
    rows = np.transpose([of_cell(found, *cell, head=head) for cell in known])
    bits = [signal(*cell) for cell in known]
    theirs = rank_correlation([SIGNAL[cell] for cell in ACCURACY], list(ACCURACY.values()))
    return Number(
        [rank_correlation(bits, row) for row in rows],
        published=_theirs(head, theirs, ".3f"),
        note=f"over {len(known)} cells; 100 in the paper",
    )


def _gains(found: Found, keep: float, copy: float, head: str) -> np.ndarray:
    """Points that copied labels add on a row of the grid, for each seed."""
    return np.subtract(of_cell(found, keep, copy, head=head), of_cell(found, keep, 0.0, head=head))


def _published_gain(keep: float, copy: float) -> float:
    return ACCURACY[keep, copy] - ACCURACY[keep, 0.0]


@over_seeds(
    "0f: labels teach where they need the right digit, {head}",
    "with left digits unreadable, copied labels teach the right digit",
    "accuracy at 0.9 copied less at none, no left digit kept, in points",
    above=10.0,
)
def labels_teach(found: Found, head: str) -> Number:
    theirs = _theirs(head, _published_gain(0.0, 0.9), "g")
    return Number(list(_gains(found, 0.0, 0.9, head)), published=theirs)


def _competition(found: Found, copy: float, head: str) -> Number:
    most = cells_of(found)[0][-1]
    ours = _gains(found, most, copy, head) - 0.5 * _gains(found, 0.0, copy, head)
    theirs = _published_gain(most, copy) - 0.5 * _published_gain(0.0, copy)
    return Number(list(ours), published=_theirs(head, theirs, "g"))


@over_seeds(
    "0f: features compete, {head}",
    "with left digits readable nine times of ten, the same gain is at most half of it",
    "the gain there less half of the gain with none kept, in points",
    below=0.0,
)
def features_compete(found: Found, head: str) -> Number:
    return _competition(found, 0.9, head)


@over_seeds(
    "0g: next to nothing is learned, {head}",
    "where the left digit is nearly always readable, next to nothing is learned of the right one "
    "even if half of the labels are copied",
    "gain by copying half of the labels, less half of the gain with none kept, in points",
    below=0.0,
)
def next_to_nothing(found: Found, head: str) -> Number:
    number = _competition(found, 0.5, head)
    note = "rows of the published grid are told apart by the signal: it falls as more are kept"
    return Number(number.values, number.published, note)


#: Bits below which a left half leaves nothing to add: what probes find there is their own residue.
_ENOUGH_OPEN = 0.01


@over_seeds(
    "0h: no competition in a GAN, {name}, given {given}, read by {by}",
    "real and generated images differ in the right half, whatever is known of the left one",
    "bits that the right half adds",
    above=0.0,
)
def no_competition(found: Found, name: str, given: str, by: str) -> Number:
    values = bits_of(found, name, given, by)
    if given == "none":
        return Number(values)
    left_open = np.mean(bits_of(found, name, given, by, "before"))
    note = f"the left half alone leaves {left_open:.3g} bits open, the most that another can add"
    return Number(values, note=note, settles=bool(left_open >= _ENOUGH_OPEN))


@over_seeds(
    "0i: what is decoded least before, is learned least, {head}",
    "what labels do not reward is what the untrained network decodes least (Hermann and Lampinen "
    "2020; not of the paper)",
    "Spearman correlation over the ten right digits of their accuracy before and after, mean over "
    "the grid",
)
def decoded_before(found: Found, head: str) -> Number:
    before = [entry_of(curve, head=head).per_class for curve in found[CONTROLS["CNN"]]]
    values = []
    for place, known in enumerate(before):
        after = [entry_of(found[GRID[cell]][place], head=head).per_class for cell in cells(found)]
        values.append(float(np.nanmean([rank_correlation(known, each) for each in after])))
    return Number(
        values,
        note="networks of a seed start alike in all cells, so that decodability before training "
        "differs by digit and not by cell",
    )


def _change(name: str, head: str) -> str:
    """The published change of an accuracy."""
    return _theirs(head, WITH[name] - WITHOUT[name], ".2f")


def _theirs(head: str, value: float, form: str) -> str:
    """A published number in a format; empty unless the head is by SGD, as in the paper."""
    return format(value, form) if head == TEXT[1] else ""


def _by_heads(*claims: Claim) -> list[Claim]:
    """Each claim by the heads of both solvers."""
    return [claim.of(head=head) for claim in claims for head in SOLVERS]


CLAIMS: tuple[Judged, ...] = (
    closed_form,
    *_by_heads(
        labels_destroy,
        *(unsupervised_helps.of(name=name) for name in ("AE", "GAN", "WGAN")),
        *(on_par.of(name=name) for name in ("GAN", "WGAN")),
        signal_predicts,
        labels_teach,
        features_compete,
        next_to_nothing,
    ),
    *(no_competition.of(name=name, given=given, by=by) for name, given, by in SIGNALS),
    *_by_heads(decoded_before),
)
