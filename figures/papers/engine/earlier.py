"""Settings of analyses in the first release that reproduced papers.

The keys of its results had the image sets and few of the settings. Results are found again where
the other settings are as they were then.
"""

#: Of probes, beside layers and solvers.
PROBE = {
    "component": ["full"],
    "label_fraction": [1.0],
    "seeds": 1,
    "seed": 0,
    "random_labels": False,
    "l2": None,
    "k": 1,
    "hidden": 1000,
    "dropout": 0.0,
    "pooling": "avg",
}
