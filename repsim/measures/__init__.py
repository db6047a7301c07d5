"""Measures of similarity between two representations of the same examples."""

from repsim.discovery import import_all
from repsim.measures.cca import cca, pwcca, svcca
from repsim.measures.cka import cka
from repsim.measures.cka_map import cka_map
from repsim.measures.classes import class_similarity
from repsim.measures.identification import layer_identification
from repsim.measures.influence import influence
from repsim.measures.kernels import RBF, Linear
from repsim.measures.minibatch import MinibatchCKA
from repsim.measures.neighbours import mutual_knn
from repsim.measures.procrustes import procrustes_distance
from repsim.measures.registry import MEASURES, Measure
from repsim.measures.regression import linear_regression
from repsim.measures.rsa import rsa

__all__ = [
    "MEASURES",
    "RBF",
    "Linear",
    "Measure",
    "MinibatchCKA",
    "cca",
    "cka",
    "cka_map",
    "class_similarity",
    "influence",
    "layer_identification",
    "linear_regression",
    "mutual_knn",
    "procrustes_distance",
    "pwcca",
    "rsa",
    "svcca",
]

import_all(__name__)  # measures that are not named above register as well
