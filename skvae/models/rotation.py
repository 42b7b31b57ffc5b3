"""Latent coordinates in which every column hangs on few latents."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from skvae.models.blocks import BlockLinearVAE
from skvae.models.linear import LinearVAE

MAX_ROUNDS, TOL = 200, 1e-5
# Size of a latent's loadings, relative to all, below which it has none.
NO_LOADINGS = 1e-3


def varimax(loadings: Tensor) -> Tensor:
    """Orthogonal (k, k) that makes the squares of rotated loadings (d, k) vary most (Kaiser 1958).

    A standard normal prior does not tell rotations of the latents apart. In this one columns hang
    on few latents, and latents weigh about the same, which keeps the weakest of them from being
    blown up where a pipeline standardises them.
    """
    rotation = torch.eye(loadings.shape[1]).to(loadings)
    before = 0.0
    for _ in range(MAX_ROUNDS):
        turned = loadings @ rotation
        slope = turned**3 - turned * turned.square().mean(0)
        u, size, vh = torch.linalg.svd(loadings.mT @ slope)
        rotation, total = u @ vh, float(size.sum())
        if total <= before * (1 + TOL):
            break
        before = total
    return rotation


def promax_axes(loadings: Tensor, power: float = 4.0) -> Tensor:
    """Axes (k, k), oblique and of unit variance, along which varimax loadings (d, k) are simplest.

    Latents ``axes @ z`` may correlate, which lets small loadings vanish that only reflect that the
    latents behind columns do (Hendrickson and White 1964). Latents without loadings stay.
    """
    alive = (loadings.norm(dim=0) > NO_LOADINGS * loadings.norm()).nonzero().squeeze(1)
    own = loadings[:, alive]
    turn = torch.linalg.lstsq(own, own * own.abs() ** (power - 1)).solution
    scale = torch.linalg.inv(turn.mT @ turn).diagonal().sqrt()
    axes = torch.eye(loadings.shape[1]).to(loadings)
    axes[alive[:, None], alive] = torch.linalg.inv(turn * scale)
    return axes


def principal_axes(loadings: Tensor, noise_variance: Tensor) -> Tensor:
    """Orthogonal (k, k) that makes ``loadings' diag(1 / noise) loadings`` diagonal, descending.

    The canonical form of factor analysis (Lawley and Maxwell 1962); of probabilistic PCA it is the
    scaled principal components (Tipping and Bishop 1999). The posterior of complete rows then
    factorises, so that these are also the latents at which an encoder with a diagonal covariance
    ends (Lucas et al. 2019).
    """
    weighted = loadings.mT @ (loadings / noise_variance.unsqueeze(-1))
    vectors = torch.linalg.eigh(weighted).eigenvectors.flip(-1)
    # Of both signs, the one under which the loadings add up to more than 0.
    return vectors * torch.where((loadings @ vectors).sum(0) < 0, -1.0, 1.0).to(vectors)


def random_rotation(k: int, generator: torch.Generator) -> Tensor:
    """Orthogonal (k, k), uniform (Stewart 1980)."""
    q, r = torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def joint_diagonaliser(matrices: Tensor) -> Tensor:
    """Orthogonal U (k, k) that makes all ``U' M U`` of symmetric M (m, k, k) nearly diagonal.

    By Jacobi rotations in closed form (Cardoso and Souloumiac 1996).
    """
    k = matrices.shape[-1]
    turn = torch.eye(k).to(matrices)
    matrices = matrices.clone()
    for _ in range(MAX_ROUNDS):
        largest = 0.0
        for p in range(k - 1):
            for q in range(p + 1, k):
                h = torch.stack(
                    [matrices[:, p, p] - matrices[:, q, q], 2 * matrices[:, p, q]], dim=1
                )
                angle = _best_angle(h.mT @ h)
                largest = max(largest, abs(angle))
                c, s = math.cos(angle), math.sin(angle)
                plane = matrices.new_tensor([[c, -s], [s, c]])
                pair = [p, q]
                matrices[:, :, pair] = matrices[:, :, pair] @ plane
                matrices[:, pair] = plane.mT @ matrices[:, pair]
                turn[:, pair] = turn[:, pair] @ plane
        if largest < TOL:
            break
    return turn


def _best_angle(gram: Tensor) -> float:
    """Angle by which a plane is turned, from moments of differences and twice the products."""
    on, off = float(gram[0, 0] - gram[1, 1]), float(gram[0, 1] + gram[1, 0])
    return 0.5 * math.atan2(off, on + math.hypot(on, off))


def turned(linear: LinearVAE, how: str, generator: torch.Generator) -> LinearVAE:
    """The same model with its latents turned: "principal", "varimax" or "random"."""
    loadings = linear.loadings
    if how == "principal":
        turn = principal_axes(loadings, linear.noise_variance)
    elif how == "varimax":
        turn = varimax(loadings)
    else:
        turn = random_rotation(linear.n_components, generator).to(loadings)
    return replace(linear, loadings=loadings @ turn)


def rotated(blocks: BlockLinearVAE, n_shared: int) -> BlockLinearVAE:
    """The same model with its first `n_shared` dimensions turned by `varimax`."""
    point, k = blocks.point, blocks.point.n_components
    turn = torch.eye(k + 1).to(point.loadings)
    turn[:n_shared, :n_shared] = varimax(point.loadings[:, :n_shared])
    loadings = point.loadings @ turn[:k, :k]
    uncertainty = turn.mT @ blocks.uncertainty @ turn
    # As in a round of variational Bayes, for the dimensions that have turned.
    member = blocks.member.to(loadings)
    scaled = loadings.square() / point.noise_variance.unsqueeze(1)
    counts = member.sum(0).unsqueeze(1)
    size = member.mT @ scaled + counts * uncertainty.diagonal(dim1=1, dim2=2)[:, :k]
    relevance = blocks.relevance.clone()
    relevance[:, :n_shared] = (counts / size)[:, :n_shared]
    point = replace(point, loadings=loadings)
    return replace(blocks, point=point, uncertainty=uncertainty, relevance=relevance)
