"""What the data cards of the four data sets say about columns: public knowledge, for which nobody looks at a patient.

Ranges are round numbers that measurements of the kind lie in, or, where a data set's own published page prints
smallest and largest values, these rounded outwards. Values beyond them are moved to the nearest. Training does not use
them; private tables of these columns need them.
"""

from __future__ import annotations

from fedlab_utils.data import simulate
from fedlab_utils.data.schema import Schema

_CELL_NUCLEI = {  # mean, standard error and worst; the page of the data set prints the ranges (doi:10.24432/C5DW2B)
    "radius": ((6, 30), (0, 3), (6, 40)),
    "texture": ((9, 40), (0, 5), (10, 50)),
    "perimeter": ((40, 200), (0, 25), (50, 260)),
    "area": ((100, 2600), (0, 550), (100, 4300)),
    "smoothness": ((0.05, 0.17), (0, 0.04), (0.05, 0.25)),
    "compactness": ((0, 0.35), (0, 0.15), (0, 1.1)),
    "concavity": ((0, 0.45), (0, 0.4), (0, 1.3)),
    "concave_points": ((0, 0.21), (0, 0.06), (0, 0.3)),
    "symmetry": ((0.1, 0.31), (0, 0.08), (0.15, 0.67)),
    "fractal_dimension": ((0.04, 0.1), (0, 0.03), (0.05, 0.21)),
}
_FLAG = (0, 1)


def _nuclei() -> dict[str, tuple[float, float]]:
    names = ("mean_{}", "{}_error", "worst_{}")
    return {
        name.format(what): bounds
        for what, ranges in _CELL_NUCLEI.items()
        for name, bounds in zip(names, ranges, strict=True)
    }


_CARDS = {
    "hospital_network": Schema(
        bounds=simulate.BOUNDS,
        granularity={"age": 1, "systolic_bp": 1, "total_cholesterol": 1, "hdl": 1, "bmi": 0.1},
        gaps=("systolic_bp", "total_cholesterol", "hdl", "smoker", "bmi"),
    ),
    "heart_disease": Schema(
        bounds={"age": (25, 80), "sex": _FLAG, "trestbps": (80, 220), "chol": (80, 620), "fbs": _FLAG}
        | {"thalach": (60, 205), "exang": _FLAG, "oldpeak": (-3, 6.5)}
        | dict.fromkeys(("cp_2", "cp_3", "cp_4", "restecg_1", "restecg_2"), _FLAG),
        categories={"cp": ("1", "2", "3", "4"), "restecg": ("0", "1", "2")},
        granularity={"age": 1, "sex": 1, "trestbps": 1, "chol": 1, "fbs": 1, "thalach": 1, "exang": 1, "oldpeak": 0.1}
        | dict.fromkeys(("cp_2", "cp_3", "cp_4", "restecg_1", "restecg_2"), 1),
        gaps=("trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
    ),
    "diabetes": Schema(
        bounds={"age": (18, 80), "bmi": (16, 45), "bp": (60, 140), "total_cholesterol": (90, 310), "ldl": (40, 250)}
        | {"hdl": (20, 100), "cholesterol_ratio": (2, 10), "log_triglycerides": (3, 6.5), "glucose": (55, 130)}
        | {"progression": (25, 346)},
        categories={"sex": ("1", "2")},
        granularity={"age": 1, "bmi": 0.1, "total_cholesterol": 1, "hdl": 1, "glucose": 1, "progression": 1},
        gaps=(),
    ),
    "breast_cancer": Schema(bounds=_nuclei(), gaps=()),
}  # fmt: skip


def card(name: str) -> Schema | None:
    """Public knowledge of a data set's columns beyond what its federation has; None for any other table."""
    return _CARDS.get(name)
