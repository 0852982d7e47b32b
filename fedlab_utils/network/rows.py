"""A hospital's prepared rows on its own disk, so that a process that starts again need not read its table anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import path as checked_path
from fedlab_utils.network.book import write_whole

if TYPE_CHECKING:
    from fedlab_utils.data import Hospital
    from fedlab_utils.network.agreement import Agreement

_FILE = "rows.f32"


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """What a training needs of a hospital, and nothing else: no table, no test rows.

    Attributes
    ----------
    name
        Of the hospital.
    X_train, y_train
        float32 tensors, ``[n, features]`` and ``[n, 1]``.
    train_patients
        Numbers that tell patients apart, ``[n]``; None where every row is a patient.
    """

    name: str
    X_train: Tensor
    y_train: Tensor
    train_patients: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"Rows({self.name!r}, {len(self.X_train)} training rows)"


def save(hospital: Hospital, agreement: Agreement, folder: str | Path) -> Path:
    """Write a hospital's training rows, ready to train: features, label and patient of each row, 32-bit.

    Returns
    -------
    Path
        The file, readable for its owner alone.
    """
    folder = Path(checked_path("folder", folder))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    n = len(hospital.y_train)
    patients = getattr(hospital, "train_patients", None)
    patients = np.arange(n) if patients is None else np.unique(patients, return_inverse=True)[1]
    table = np.column_stack([hospital.X_train.numpy(), hospital.y_train.numpy(), patients]).astype("<f4")
    write_whole(folder / _FILE, agreement.hash + table.tobytes())
    return folder / _FILE


def load(name: str, agreement: Agreement, folder: str | Path) -> Rows:
    """The inverse of `save`, for the same agreement.

    Raises
    ------
    ValueError
        If there are no such rows, or they were prepared for another agreement.
    """
    agreement.number(name)
    place, wide = Path(checked_path("folder", folder)) / _FILE, agreement.sizes[0] + 2
    content = place.read_bytes() if place.is_file() else b""
    head, raw = content[:32], content[32:]
    if head != agreement.hash or not raw or len(raw) % (4 * wide):
        raise ValueError(f"folder must hold rows that were prepared for this agreement; {str(folder)!r} has none.")
    table = np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(-1, wide)
    X, y = torch.from_numpy(table[:, :-2].copy()), torch.from_numpy(table[:, -2:-1].copy())
    return Rows(name, X, y, table[:, -1].astype(int))
