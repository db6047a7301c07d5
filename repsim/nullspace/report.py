"""The report on the null space of a linear head (Mao et al., Propositions 4 to 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.confidence import paired_difference, wilson
from repsim.dense import as_tensor
from repsim.errors import MismatchError, ShapeError, UsageError
from repsim.nullspace.entries import Entries
from repsim.nullspace.head import Head, check_frames, read_features, read_head
from repsim.nullspace.measure import measure
from repsim.nullspace.statistics import coefficients
from repsim.nullspace.subspace import RowSpace, all_ones
from repsim.nullspace.verdicts import verdicts
from repsim.probes import ProbeResult, probe
from repsim.results import Examples, NullSpaceEntry, NullSpaceReport

#: Examples of each kind that a report keeps for its figures.
_SHOWN = 1000


@settled()
def null_space(
    features: Any,
    weight: Any,
    bias: Any | None = None,
    *,
    labels: Any | None = None,
    test_features: Any | None = None,
    test_labels: Any | None = None,
    generated: Any | None = None,
    generated_labels: Any | None = None,
    noisy: Mapping[str, Any] | None = None,
    control: NullSpaceReport | None = None,
    rank_tolerance: float | None = None,
    seed: int = 0,
    draws: int = 1000,
    resamples: int = 400,
    name: str = "features",
    provenance: Mapping[str, Any] | None = None,
) -> NullSpaceReport:
    """Split features against a head y = A f + b and report on each part.

    Each number comes with a 95 % interval and, where one can be, with the chance level of random
    subspaces of the same rank; see ``repsim.nullspace.measure``. With ``labels``, probes say what
    can be read off each part, if they are of two classes or more. With ``control``, the report of
    the same network before training, each number stands beside the number of the untrained network.

    Args:
        features: (n, d) array or tensor that the head takes.
        weight: (out, d) the head's matrix A.
        bias: (out,) its bias; it moves neither subspace, only α.
        labels: (n,) integers; with them a linear probe is trained on the full, the row-space and
            the null-space features.
        test_features: (m, d) held-out features for the probes and, where given, for every other
            number as well; without them the probes hold out a fifth of ``features``.
        test_labels: (m,) their labels.
        generated: (g, d) features of generated images.
        generated_labels: (g,) integers, such as the generator of each.
        noisy: name, such as ``gaussian 0.25``, to features (m, d) of the same examples as
            ``test_features`` (without them, as ``features``), in the same order, under that noise.
        control: the report of the same network before training, on the same images.
        rank_tolerance: see ``row_space``.
        seed: of resamples, random subspaces and the probes' splits.
        draws: random subspaces.
        resamples: bootstrap resamples of the examples.
        name: of the network, for tables and figures.
        provenance: a record of where they come from; JSON values.

    Raises:
        ShapeError: arrays that do not fit each other.
        NonFiniteError: NaN or infinity in one of them.
        DegenerateError: all features are zero or the same.
        MismatchError: the control is of features of another width; data frames whose rows or
            columns have the same names in another order.
        UsageError: a noise that has the name of another group; no draws or resamples.
    """
    if "clean" in (noisy or {}):
        raise UsageError("a noise is named 'clean', the name of images without noise; rename it")
    head = read_head(weight, bias, rank_tolerance, seed, draws, resamples)
    shown = ("features", features) if test_features is None else ("test_features", test_features)
    check_frames(shown, noisy, {"features": features, "generated": generated})
    train, train_labels = read_features(head, features, labels, "features", "labels")
    if test_features is None:
        if test_labels is not None:
            raise ShapeError("test_labels came without test_features")
        held, held_labels = train, train_labels
    else:
        if labels is not None and test_labels is None:
            raise ShapeError("test_features came without test_labels")
        held, held_labels = read_features(
            head, test_features, test_labels, "test_features", "test_labels"
        )
    entries = measure(
        held,
        weight,
        bias,
        labels=held_labels,
        generated=generated,
        generated_labels=generated_labels,
        noisy=noisy,
        rank_tolerance=rank_tolerance,
        seed=seed,
        draws=draws,
        resamples=resamples,
    )
    if train_labels is not None and len(train_labels.unique()) > 1:
        sides = None if test_features is None else (held, held_labels)
        entries += _probes(head.space, train, train_labels, sides, noisy or {}, seed)
    made = None
    if generated is not None:
        names = ("generated", "generated_labels")
        made = read_features(head, generated, generated_labels, *names)
    report = NullSpaceReport(
        name=name,
        n=len(held),
        dim=head.d,
        rank=head.space.rank,
        tolerance=head.space.tolerance,
        singular_values=head.space.singular_values.tolist(),
        residual=_residual(head.space, head.weight, held),
        entries=entries,
        examples=_examples(head, (held, held_labels), made, seed),
        provenance=dict(provenance or {}),
    )
    return judged(report, control)


def judged(report: NullSpaceReport, control: NullSpaceReport | None = None) -> NullSpaceReport:
    """The report with the numbers of the untrained network beside its own, and the verdicts.

    Raises:
        MismatchError: the control is of features of another width.
    """
    if control is not None:
        _check_control(report, control)
    others = {} if control is None else {entry.key: entry for entry in control.entries}
    entries = [_beside(entry, others.get(entry.key)) for entry in report.entries]
    of_head = [entry for entry in entries if entry.layer is None]
    before = [entry for entry in others.values() if entry.layer is None]
    return replace(report, entries=entries, claims=verdicts(of_head, control=before))


def _beside(entry: NullSpaceEntry, other: NullSpaceEntry | None) -> NullSpaceEntry:
    """An entry with the numbers of the untrained network, where it has them."""
    if other is None:
        return entry
    return replace(entry, control=other.value, control_low=other.low, control_high=other.high)


def _check_control(report: NullSpaceReport, control: NullSpaceReport) -> None:
    if (control.dim, control.n) != (report.dim, report.n):
        raise MismatchError(
            f"the control has {control.n} examples of {control.dim} features, {report.name} "
            f"{report.n} of {report.dim}; expected the same network on the same images"
        )
    if len(control.singular_values) != len(report.singular_values):
        raise MismatchError(
            f"the control's head has {len(control.singular_values)} singular values, the head of "
            f"{report.name} {len(report.singular_values)}; expected the same network"
        )


# --- probes


def _probes(
    space: RowSpace,
    train: Tensor,
    labels: Tensor,
    held: tuple[Tensor, Tensor | None] | None,
    noisy: Mapping[str, Any],
    seed: int,
) -> Entries:
    """Accuracies of linear probes, trained on clean features, on parts of clean and noisy ones.

    Parts of both are projections. Without held-out features there is nothing to put noise on that
    the probes have not seen.
    """
    found: dict[str, ProbeResult] = {}
    noises = {} if held is None else noisy
    correct: dict[tuple[str, str], Tensor] = {}
    entries: Entries = []
    for part in ("full", "row", "null"):
        if space.rank == {"row": 0, "null": len(space.basis)}.get(part):
            continue  # an empty subspace knows nothing
        found[part] = probe(
            space.part(train, part),
            labels,
            test_features=None if held is None else space.part(held[0], part),
            test_labels=None if held is None else held[1],
            seed=seed,
        )
        correct[part, "clean"] = found[part].correct
        for name, features in noises.items():
            assert held is not None
            assert held[1] is not None
            seen = as_tensor(features).to(train)
            predicted = found[part].predict(space.part(seen, part))
            correct[part, name] = predicted == held[1].to(predicted.device)
    chance = 1 / next(iter(found.values())).classes
    for (part, group), hits in correct.items():
        value = float(hits.double().mean())
        entries.append(_entry("probe", part, group, value, wilson(value, len(hits)), chance))
    for other in ("null", "row"):
        for group in ["clean", *noises] if other in found else []:
            full, alone = correct["full", group], correct[other, group]
            won, lost = int((full & ~alone).sum()), int((~full & alone).sum())
            ends = paired_difference(won, lost, len(full))
            value = (won - lost) / len(full)
            entries.append(_entry("probe_difference", f"full - {other}", group, value, ends, 0.0))
    return entries


def _entry(
    quantity: str,
    part: str,
    group: str,
    value: float,
    ends: tuple[float, float],
    chance: float,
) -> NullSpaceEntry:
    """An entry with a chance that is known, and does not vary."""
    return NullSpaceEntry(
        quantity=quantity,
        part=part,
        group=group,
        value=value,
        low=ends[0],
        high=ends[1],
        chance=chance,
        chance_low=chance,
        chance_high=chance,
    )


# --- examples for figures


def _examples(
    head: Head,
    real: tuple[Tensor, Tensor | None],
    generated: tuple[Tensor, Tensor | None] | None,
    seed: int,
) -> Examples:
    """Columns of numbers of some examples of each kind, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    ones = all_ones(head.weight, head.space).direction
    kinds = {"real": real, **({} if generated is None else {"generated": generated})}
    drawn = [_drawn(head, ones, kind, *each, generator) for kind, each in kinds.items()]
    return Examples(
        **{
            f.name: tuple(value for some in drawn for value in getattr(some, f.name))
            for f in fields(Examples)
        }
    )


def _drawn(
    head: Head,
    ones: Tensor,
    kind: str,
    features: Tensor,
    labels: Tensor | None,
    generator: torch.Generator,
) -> Examples:
    """Some examples of one kind."""
    order = torch.randperm(len(features), generator=generator)[:_SHOWN].sort().values
    f = features[order.to(features.device)]
    whole, null = f.square().sum(1), head.space.split(f)[1]
    single = len(head.weight) == 1
    logit = (f @ head.weight.T + head.bias).squeeze(1) if single else f.new_zeros(0)
    along = f.new_zeros(0) if single or not bool(ones.any()) else coefficients(f, ones)
    return Examples(
        group=(kind,) * len(f),
        label=(None,) * len(f) if labels is None else tuple(labels[order].tolist()),
        null_share=tuple(torch.where(whole > 0, null.square().sum(1) / whole, torch.nan).tolist()),
        logit=tuple(logit.tolist()),
        along_ones=tuple(along.tolist()),
    )


def _residual(space: RowSpace, weight: Tensor, features: Tensor) -> float:
    """Largest |A f_n| relative to |A| |f|: zero but for rounding."""
    null = space.split(features)[1]
    scale = float(torch.linalg.matrix_norm(weight, 2) * features.norm(dim=1).max())
    return float((null @ weight.T).norm(dim=1).max()) / scale if scale > 0 else 0.0


def with_layers(report: NullSpaceReport, layers: Sequence[NullSpaceEntry]) -> NullSpaceReport:
    """The report with entries of other layers, see ``repsim.activations.layer_null_spaces``."""
    return replace(report, entries=[*report.entries, *layers])
