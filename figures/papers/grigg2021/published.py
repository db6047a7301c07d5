"""Numbers of other papers that those here are held against."""

import math

#: Layers identified, in per cent, of ten networks of ten layers without shortcuts, by measure:
#: Kornblith et al. (2019), section 6.1; NaN of a measure that it does not have.
IDENTIFIED = {
    "cka-biased": 99.3,
    "cka": math.nan,
    "cka-rbf": 99.3,
    "cca": 1.4,
    "svcca": 9.9,
    "pwcca": 11.1,
    "regression": 45.4,
}
