"""Numbers of the paper."""

from __future__ import annotations

from itertools import product

#: The probabilities that a left digit is kept, and that a label is copied.
PROBABILITIES = tuple(k / 10 for k in range(10))

#: Accuracy (%) on the right digit, a line for each probability of a copy from 0.9 to 0, by the
#: probability that the left digit is kept, from 0 to 0.9.
_ACCURACY = (
    (86, 85, 82, 82, 78, 76, 77, 74, 74, 71),
    (84, 81, 79, 79, 76, 77, 73, 72, 71, 69),
    (82, 79, 78, 74, 74, 76, 74, 73, 71, 68),
    (82, 76, 75, 74, 72, 72, 74, 70, 68, 66),
    (79, 74, 75, 72, 72, 70, 70, 68, 70, 66),
    (76, 73, 70, 67, 70, 67, 68, 67, 70, 64),
    (70, 69, 67, 71, 64, 66, 67, 68, 65, 67),
    (72, 69, 68, 66, 67, 64, 63, 65, 64, 65),
    (64, 63, 66, 63, 64, 63, 63, 67, 68, 67),
    (62, 65, 64, 64, 64, 65, 66, 64, 59, 63),
)

#: Signal (bits) where no left digit is kept, by the probability of a copy from 0.9 to 0.
_SIGNAL = (2.60, 2.07, 1.62, 1.24, 0.90, 0.61, 0.37, 0.18, 0.05, 0.0)

#: Both figures by the probabilities of keeping and copying. Signals are proportional to the
#: probability that the left digit is lost.
ACCURACY = {
    (keep, copy): float(line[column])
    for (copy, line), (column, keep) in product(
        zip(reversed(PROBABILITIES), _ACCURACY, strict=True), enumerate(PROBABILITIES)
    )
}
SIGNAL = {
    (keep, copy): (1 - keep) * value
    for (copy, value), keep in product(
        zip(reversed(PROBABILITIES), _SIGNAL, strict=True), PROBABILITIES
    )
}

#: The table: accuracy (%) with and without extraction.
WITH = {"CNN": 67.93, "AE": 89.95, "GAN": 90.38, "WGAN": 91.37}
WITHOUT = {"CNN": 84.31, "AE": 82.18, "GAN": 82.27, "WGAN": 84.97}
