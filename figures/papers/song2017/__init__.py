"""Feature competition: what labels let a network learn.

Song, Zhao and Ermon (2017): of two digits in an image, labels reward the left one. How well does a
new head read the right one off the trained network? It depends on the bits that the right digit
adds about the label; without labels, as in autoencoders and GANs, features do not compete.
"""

from pathlib import Path

from repsim.figures.papers.engine import Paper
from repsim.figures.papers.song2017.analyses import ANALYSES
from repsim.figures.papers.song2017.claims import CLAIMS
from repsim.figures.papers.song2017.figures import FIGURES
from repsim.figures.papers.song2017.runs import RUNS, SPLITS
from repsim.figures.papers.song2017.tables import TABLES

PAPER = Paper(
    name="song2017",
    title="Song, Zhao and Ermon (2017): On the limits of learning representations with labels",
    splits=SPLITS,
    runs=RUNS,
    analyses=ANALYSES,
    figures=FIGURES,
    tables=TABLES,
    claims=CLAIMS,
    differences=(
        "The paper names neither network nor optimiser: each half of an image has four "
        "convolutions of its own, CNNs are trained by Adam at 0.001, the others as their papers "
        "have it.",
        "The width of the halves was chosen before anything was trained, on digits of their own: "
        "so that the untrained network reads the right digit about as well as the paper's do.",
        "Left digits that are not kept become uniform noise. New heads learn from, and are judged "
        "on, pairs whose digits are all readable and whose labels are independent, for otherwise "
        "the left digit would tell the right label.",
        "The table's setting, no corruption and no correlation, is a probability of 1 that a left "
        "digit is kept and of 0 that a label is copied.",
        "Beside the head by SGD (Adam, 20 epochs) there is one by L-BFGS that has converged, and "
        "each also on the right half of the features alone.",
        "Intervals are over seeds; each network is compared with itself before training.",
    ),
    folder=Path(__file__).parent,
)
