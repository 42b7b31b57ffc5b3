"""Kernel ridge regression that chooses width and penalty by leaving rows out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Of the Gaussian kernel, in units of the median squared distance of different rows.
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# How much functions are to vary little between neighbours, of whom every point has so many.
BEND, N_NEIGHBOURS = 0.1, 8
# Rows by which all is chosen, and rows without targets, at most.
CHOOSING_ROWS, MOST_OTHERS = 600, 1500
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


def fit_kernel_regression(
    points: Tensor, targets: Tensor, weight: Tensor, others: Tensor | None = None
) -> KernelRegression:
    """Regress on points; width and penalty by the leave-one-out error of the first rows.

    Leave-one-out residuals of a penalised regression have a closed form (Allen 1974). Where most
    points have no target, they bend the kernel, so that functions vary little where points
    lie densely (Sindhwani, Niyogi and Belkin 2005).

    Parameters
    ----------
    points : Tensor of shape (n, d)
    targets : Tensor of shape (n, q)
    weight : Tensor of shape (n,)
        A row of weight 2 counts as two rows.
    others : Tensor of shape (m, d), optional
        Points without a target.
    """
    n = len(points)
    if others is not None and n < min(len(others), CHOOSING_ROWS):
        every = torch.cat([points, others[:MOST_OTHERS]])
    else:
        every = points
    mean = (weight.unsqueeze(1) * targets).sum(0) / weight.sum()
    root, centred = weight.sqrt().unsqueeze(1), targets - mean
    # The first rows tell, unless all are few.
    tell = n if len(every) > n else min(n, CHOOSING_ROWS)
    first = every if len(every) > n else points[:tell]
    width, penalty = _choose(first, centred[:tell], root[:tell])
    away = squares(every, every)
    kernel, spread = _bent(away, width, BEND if len(every) > n else 0.0, n)
    gram = root * (kernel @ spread)[:n] * root.mT
    factor = torch.linalg.cholesky(_symmetric(gram) + penalty * torch.eye(n).to(gram))
    dual = root * torch.cholesky_solve(root * centred, factor)
    return KernelRegression(every, spread @ dual, mean, width)


def _choose(points: Tensor, centred: Tensor, root: Tensor) -> tuple[float, float]:
    """Width and penalty; the points with targets come first."""
    away, n = squares(points, points), len(centred)
    apart = away[away > SAME_PLACE]
    unit = float(apart.median()) if len(apart) else 1.0
    bend = BEND if len(points) > n else 0.0
    best, chosen = float("inf"), (unit, PENALTIES[-1])
    for width in WIDTHS:
        kernel, spread = _bent(away, width * unit, bend, n)
        gram = _symmetric(root * (kernel @ spread)[:n] * root.mT)
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


def _bent(away: Tensor, width: float, bend: float, n: int) -> tuple[Tensor, Tensor]:
    """The kernel of all points, and what bends that of the first `n` of them.

    ``k_bent(x, x_j) = k(x, .) spread_j`` with ``spread = inverse(I + bend L K)[:, :n]`` and the
    normalised Laplacian L of nearest neighbours.
    """
    kernel = (-away / width).exp()
    eye = torch.eye(len(away)).to(away)
    if bend == 0 or len(away) <= N_NEIGHBOURS:
        return kernel, eye[:, :n]
    near = (away + away.max() * eye).topk(N_NEIGHBOURS, largest=False).indices
    edges = torch.zeros_like(away).scatter_(1, near, 1.0)
    edges = torch.maximum(edges, edges.mT)
    scale = edges.sum(1).rsqrt()
    laplacian = eye - scale.unsqueeze(1) * edges * scale
    return kernel, torch.linalg.solve(eye + bend * laplacian @ kernel, eye[:, :n])


def _symmetric(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix + matrix.mT)
