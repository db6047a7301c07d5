"""Revisiting self-supervision: pretext tasks by architectures.

Kolesnikov, Zhai and Beyer (2019): four pretext tasks by six networks, by width, by size of the
representation and by how representations are judged. Which network is best depends on the task.
"""

from pathlib import Path

from repsim.figures.papers.engine import Paper
from repsim.figures.papers.kolesnikov2019.analyses import ANALYSES
from repsim.figures.papers.kolesnikov2019.claims import CLAIMS
from repsim.figures.papers.kolesnikov2019.figures import FIGURES
from repsim.figures.papers.kolesnikov2019.quality import quality
from repsim.figures.papers.kolesnikov2019.runs import RUNS, SPLITS
from repsim.figures.papers.kolesnikov2019.tables import TABLES

PAPER = Paper(
    name="kolesnikov2019",
    title="Kolesnikov, Zhai and Beyer (2019): Revisiting self-supervised visual representation "
    "learning",
    splits=SPLITS,
    runs=RUNS,
    analyses=ANALYSES,
    figures=FIGURES,
    tables=TABLES,
    claims=CLAIMS,
    differences=(
        "Images are those of CIFAR-10 at 32 x 32 in place of ImageNet; networks have a first "
        "convolution of 3 x 3 without pool, and patches are 9 pixels wide, by proportion.",
        "Below scale paper networks have one block a group in place of 3, 4, 6 and 3, widening "
        "factors from 1 in place of 4, and learn for 5 or 10 epochs in place of 35.",
        "Rotation's batch is of 256 images in four copies, as the code counts them for one "
        "process; the rate follows the batch size.",
        "Features are standardised before a probe, and the penalty of logistic regression is "
        "chosen on a fifth of its training images.",
        "Everything below scale paper is judged on the last of CIFAR-10's training images; the "
        "test images are not looked at.",
        "Intervals are over seeds.",
    ),
    quality=quality,
    folder=Path(__file__).parent,
)
