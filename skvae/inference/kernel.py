"""Kernel ridge regression that chooses width and penalty by leaving rows out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Of the Gaussian kernel, in units of the median squared distance of different rows.
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# Rows by which both are chosen, at most.
CHOOSING_ROWS = 600
# Squared distance of rows that are the same but for rounding.
SAME_PLACE = 1e-9
# Rows whose kernel with all others is held at once.
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class KernelRegression:
    """``f(x) = mean + sum_i dual_i exp(-|x - x_i|^2 / width)``.

    Attributes
    ----------
    points : Tensor of shape (n, d)
    dual : Tensor of shape (n, q)
    mean : Tensor of shape (q,)
    width : float
    """

    points: Tensor
    dual: Tensor
    mean: Tensor
    width: float

    def predict(self, points: Tensor) -> Tensor:
        """At points (m, d), shape (m, q)."""
        parts = [
            (-squares(some, self.points) / self.width).exp() @ self.dual
            for some in points.split(ROWS_AT_ONCE)
        ]
        return torch.cat(parts) + self.mean


def squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of points (m, d) and (n, d), shape (m, n)."""
    both = a.square().sum(1).unsqueeze(1) + b.square().sum(1)
    return (both - 2 * a @ b.mT).clamp(min=0.0)


def fit_kernel_regression(points: Tensor, targets: Tensor, weight: Tensor) -> KernelRegression:
    """Regress on points; width and penalty by the leave-one-out error of the first rows.

    Leave-one-out residuals of a penalised regression have a closed form (Allen 1974).

    Parameters
    ----------
    points : Tensor of shape (n, d)
    targets : Tensor of shape (n, q)
    weight : Tensor of shape (n,)
        A row of weight 2 counts as two rows.
    """
    mean = (weight.unsqueeze(1) * targets).sum(0) / weight.sum()
    root, centred = weight.sqrt().unsqueeze(1), targets - mean
    tell = slice(CHOOSING_ROWS)
    width, penalty = _choose(points[tell], centred[tell], root[tell])
    gram = root * (-squares(points, points) / width).exp() * root.mT
    factor = torch.linalg.cholesky(gram + penalty * torch.eye(len(points)).to(gram))
    dual = root * torch.cholesky_solve(root * centred, factor)
    return KernelRegression(points, dual, mean, width)


def _choose(points: Tensor, centred: Tensor, root: Tensor) -> tuple[float, float]:
    """Width and penalty."""
    away = squares(points, points)
    apart = away[away > SAME_PLACE]
    unit = float(apart.median()) if len(apart) else 1.0
    best, chosen = float("inf"), (unit, PENALTIES[-1])
    for width in WIDTHS:
        gram = root * (-away / (width * unit)).exp() * root.mT
        values, vectors = torch.linalg.eigh(gram)
        turned = vectors.mT @ (root * centred)
        for penalty in PENALTIES:
            left = penalty / (values.clamp(min=0.0) + penalty)
            residual = vectors @ (left.unsqueeze(1) * turned)
            alone = residual / (vectors.square() @ left).unsqueeze(1)
            error = float(alone.square().sum())
            if error < best:
                best, chosen = error, (width * unit, penalty)
    return chosen
