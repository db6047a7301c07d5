"""One call for every probe: train on frozen features, score on held-out ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.confidence import wilson
from repsim.dense import as_labels
from repsim.devices import threads_for
from repsim.errors import DegenerateError, ShapeError, UsageError, choices
from repsim.names import check_columns, check_rows, column_names, row_names
from repsim.probes.features import Features
from repsim.probes.knn import knn_predict
from repsim.probes.schedules import SCHEDULES
from repsim.probes.solvers import FITS, Fitted, Options, Trial
from repsim.probes.splits import (
    check_seed,
    label_subset,
    permuted,
    stratified_split,
    unseen_classes,
)
from repsim.short import ShortRepr

if TYPE_CHECKING:
    from jaxtyping import Int

Solver = Literal["lbfgs", "sgd", "mlp", "ridge", "knn"]

#: A few words on each solver, for tables and help.
SOLVERS = {
    "lbfgs": "logistic regression to convergence",
    "sgd": "logistic regression by SGD on a published schedule",
    "mlp": "a perceptron with one hidden layer",
    "ridge": "ridge regression on the classes, in closed form",
    "knn": "the nearest neighbours, exactly",
}


@dataclass(frozen=True, eq=False)
class ProbeResult(ShortRepr):
    """The accuracy with which a probe reads labels off features.

    Attributes:
        accuracy: share of held-out examples classified correctly, 0 to 1.
        low: lower end of its 95 % interval, over draws of the held-out examples.
        high: upper end.
        class_accuracy: (classes,) float64 accuracy on the held-out examples of each of ``labels``;
            NaN for one without any.
        train_accuracy: accuracy on the training examples; None for nearest neighbours.
        classes: number of labels that occur.
        labels: (classes,) int64, those labels, ascending.
        n_train: training examples.
        n_test: held-out examples.
        predictions: (n_test,) int64 predicted classes of the held-out examples.
        correct: (n_test,) bool, for comparisons of two probes example by example.
        converged: the solver met its tolerance; True for those that have none.
        l2: strength of the penalty of a logistic or ridge probe, else None.
        path: the strengths that were tried; empty where one was given, or the solver has none.
        fitted: the probe itself; None for nearest neighbours.
        features: columns that the probe was trained on.
        columns: their names, the pandas index of a data frame; else None.
        history: accuracy on the held-out examples after each epoch of ``sgd`` or ``mlp``, the last
            one ``accuracy``; empty for the other solvers. Mao et al. (2019), Figure 3, plot it.
        unseen: held-out examples of classes that no training example has, which count as wrong.
    """

    accuracy: float
    low: float
    high: float
    class_accuracy: Tensor
    train_accuracy: float | None
    classes: int
    labels: Tensor
    n_train: int
    n_test: int
    predictions: Tensor
    correct: Tensor
    converged: bool
    l2: float | None = None
    path: list[Trial] = field(default_factory=list)
    fitted: Fitted | None = None
    features: int = 0
    columns: Any = None
    history: tuple[float, ...] = ()
    unseen: int = 0

    @property
    def per_class(self) -> Tensor:
        """(largest label + 1,) ``class_accuracy`` with the label as place; NaN between labels."""
        placed = torch.full((int(self.labels.max()) + 1,), torch.nan, dtype=torch.float64)
        placed[self.labels.cpu()] = self.class_accuracy.cpu()
        return placed

    @settled()
    def predict(self, features: Any) -> Tensor:
        """The probe's class (m,) of other features (m, ...), reduced as those it was trained on.

        The features may lie on another device than those; the classes lie where the features do.

        Raises:
            UsageError: nearest neighbours, which keep no probe; pass them as ``test_features``.
            ShapeError: features of another width.
            MismatchError: a data frame of the same columns in another order.
        """
        if self.fitted is None:
            raise UsageError("nearest neighbours keep no probe; pass features as test_features")
        check_columns({"the training features": self.columns, "features": column_names(features)})
        rows = Features.of(features)
        if rows.p != self.features:
            raise ShapeError(
                f"features have {rows.p} columns, the probe was trained on {self.features}"
            )
        classes = self.labels[_predict(self.fitted, rows.to(self.labels.device))]
        return classes.to(rows.device)


@settled()
def probe(
    features: Any,
    labels: Any,
    *,
    test_features: Any | None = None,
    test_labels: Any | None = None,
    solver: Solver = "lbfgs",
    l2: float | None = None,
    k: int = 1,
    schedule: str | None = None,
    hidden: int = 1000,
    dropout: float = 0.0,
    label_fraction: float = 1.0,
    random_labels: bool = False,
    allow_constant: bool = False,
    seed: int = 0,
) -> ProbeResult:
    """Train a probe on ``features`` and score it on held-out ones.

    Features are read in blocks: a layer of a store, ``store["layer"]``, need not fit in memory.

    Args:
        features: (n, ...) array or tensor, or what has a shape and slices; dimensions after the
            first are flattened.
        labels: (n,) integers from 0.
        test_features: (m, ...) held-out features; without them a stratified fifth of ``features``
            is held out.
        test_labels: (m,) their labels.
        solver: ``"lbfgs"`` is multinomial logistic regression, converged; ``"sgd"`` the same on a
            schedule of the literature; ``"mlp"`` a perceptron with one hidden layer; ``"ridge"``
            least squares in closed form; ``"knn"`` the k nearest neighbours, exactly.
        l2: λ of the logistic regression, which minimises the mean cross-entropy + λ/2 |W|² on
            standardised features (scikit-learn's C is 1 / (n λ)), or of the ridge regression. By
            default the best of a ladder, on a fifth of the training examples (ridge: on each left
            out); 0.001 where no class has two examples to choose with.
        k: neighbours.
        schedule: of SGD (``"kolesnikov2019"`` by default) or the perceptron (``"mlp"``); see
            ``repsim.probes.SCHEDULES``.
        hidden: units of the perceptron.
        dropout: of its hidden units.
        label_fraction: share of each class's training examples to train on, as drawn by ``seed``.
        random_labels: the control: training labels permuted among the examples. What accuracy is
            left beyond chance does not come from the features; ``train_accuracy`` is what the probe
            can memorise.
        allow_constant: features that are the same for every example are no error; the probe then
            says one class of all.
        seed: of held-out split, label fraction, validation split, permutation and initialisation.

    Raises:
        ShapeError: features and labels that do not fit.
        MismatchError: data frames whose rows or columns have the same names in another order, or
            test labels of no class that the training labels have.
        NonFiniteError: NaN or infinity in the features.
        DegenerateError: fewer than two classes, no class of two examples to hold one out, or
            features that are the same for every training example (unless ``allow_constant``).
        UsageError: an unknown solver, or an option out of its range.

    Warns:
        RepsimWarning: some held-out examples are of classes that no training example has.
    """
    check_solver(solver, schedule)
    check_seed(seed)
    if l2 is not None and not 0 < l2 < float("inf"):
        raise UsageError(f"l2 is {l2}; expected above 0, such as 0.001")
    x, y = _checked(features, labels, "features", "labels")
    columns = column_names(features)
    if test_features is None:
        if test_labels is not None:
            raise ShapeError("test_labels came without test_features")
        train, test = stratified_split(y, fraction=0.2, seed=seed)
        if not len(test):
            raise DegenerateError(
                f"each of {len(y)} labels is of a class of its own, so none can be held out; "
                "expected classes of several examples, or test_features and test_labels"
            )
        x, y, x_test, y_test = x.take(train), y[train], x.take(test), y[test]
    elif test_labels is None:
        raise ShapeError("test_features came without test_labels")
    else:
        x_test, y_test = _checked(test_features, test_labels, "test_features", "test_labels")
        check_columns({"features": columns, "test_features": column_names(test_features)})
    if x.p != x_test.p:
        raise ShapeError(
            f"features have {x.p} columns, test_features {x_test.p}; "
            "were both reduced in the same way?"
        )
    x_test = x_test.to(x.device)
    unseen = unseen_classes(y, y_test)
    names = torch.cat([y, y_test.to(y.device)]).unique()  # of any size, and with gaps
    y = torch.searchsorted(names, y)
    classes = len(names)
    if label_fraction != 1:
        chosen = label_subset(y, fraction=label_fraction, seed=seed)
        x, y = x.take(chosen), y[chosen.to(y.device)]
    if len(y.unique()) < 2:
        raise DegenerateError("the training labels hold fewer than two classes")
    if random_labels:
        y = permuted(y, seed=seed)
    if not allow_constant and not x.varies():
        raise DegenerateError("the features are the same for every example; nothing to learn from")
    held_out = x_test, torch.searchsorted(names, y_test.to(y.device).contiguous())
    options = Options(l2, k, schedule, hidden, dropout, seed, held_out)
    x = x.held()
    found: dict[str, Any]
    if solver == "knn":
        predictions = knn_predict(x, y, x_test, classes, k=k)
        found = {"train_accuracy": None, "converged": True}
    else:
        with threads_for(x.n * x.p * classes, x.device):
            fitted, found = FITS[solver](x, y, classes, options)
            predictions = _predict(fitted, x_test)
            found["train_accuracy"] = float((_predict(fitted, x) == y).double().mean())
        found |= {"fitted": fitted, "features": x.p, "columns": columns}
    found["unseen"] = unseen
    return _scored(names[predictions], y_test.to(names.device), names, x.n, found)


def check_solver(solver: str, schedule: str | None = None) -> None:
    """Raise ``UsageError`` unless there is such a solver, with such a schedule if it has any."""
    if solver not in SOLVERS:
        raise UsageError(f"unknown solver {solver!r}; {choices(solver, SOLVERS)}")
    if schedule is not None and solver not in ("sgd", "mlp"):
        raise UsageError(f"schedule {schedule!r} is for sgd or mlp; {solver} has none")
    if schedule is not None and schedule not in SCHEDULES:
        raise UsageError(f"unknown schedule {schedule!r}; {choices(schedule, SCHEDULES)}")


def _scored(
    predictions: Tensor, labels: Tensor, names: Tensor, n_train: int, found: dict[str, Any]
) -> ProbeResult:
    correct = predictions == labels
    accuracy = float(correct.double().mean())
    low, high = wilson(accuracy, len(labels))
    place, size = torch.searchsorted(names, labels.contiguous()), len(names)
    hits = torch.bincount(place, weights=correct.double(), minlength=size)
    return ProbeResult(
        accuracy=accuracy,
        low=low,
        high=high,
        class_accuracy=hits / torch.bincount(place, minlength=size),
        classes=len(names),
        labels=names,
        n_train=n_train,
        n_test=len(labels),
        predictions=predictions,
        correct=correct,
        **found,
    )


def _predict(fitted: Fitted, rows: Features) -> Int[Tensor, " n"]:
    return torch.cat([fitted.predict(block) for _, block in rows.blocks()])


def _checked(features: Any, labels: Any, what: str, of: str) -> tuple[Features, Tensor]:
    check_rows({what: row_names(features), of: row_names(labels)})
    y = as_labels(labels, of)
    rows = Features.of(features, what)
    if y.ndim != 1 or rows.n != len(y):
        raise ShapeError(
            f"{what} have shape {rows.shape}, {of} {tuple(y.shape)}; expected (n, ...) and (n,)"
        )
    if y.is_floating_point() or int(y.min()) < 0:
        raise ShapeError(f"{of} must be integers from 0; leave out examples without a label")
    return rows, y.to(rows.device)
