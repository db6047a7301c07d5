"""The report on the null space of a linear head (Mao et al., Propositions 4 to 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.errors import MismatchError, ShapeError, UsageError
from repsim.nullspace.head import Head, check_frames, read_features, read_head
from repsim.nullspace.measure import measure
from repsim.nullspace.probing import Known, Labelled, of_classes, of_real_and_fake
from repsim.nullspace.statistics import coefficients
from repsim.nullspace.subspace import RowSpace, all_ones
from repsim.nullspace.verdicts import verdicts
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
    generated_alike: Any | None = None,
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
        generated_alike: (g, d) features of generated images by the very function that gave those of
            real ones, where ``generated`` are by another: with the batch statistics of real images.
            Probes of real against generated images look at them too, group ``alike``.
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
    check_frames(
        shown,
        noisy,
        {"features": features, "generated": generated, "generated_alike": generated_alike},
    )
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
        apart = None
        if test_features is not None and held_labels is not None:
            apart = Labelled(held, held_labels)
        known = Known(Labelled(train, train_labels), apart)
        entries += of_classes(head.space, known, noisy or {}, seed)
    made = None
    if generated is not None:
        names = ("generated", "generated_labels")
        made = read_features(head, generated, generated_labels, *names)
        entries += of_real_and_fake(head.space, held, made[0], seed)
    if generated_alike is not None:
        alike, _ = read_features(head, generated_alike, None, "generated_alike", "")
        entries += of_real_and_fake(head.space, held, alike, seed, "alike")
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
    claims = verdicts(of_head, control=before, isotropic=report.chance)
    return replace(report, entries=entries, claims=claims)


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
