"""What a table says for and against values that are missing because of what they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skvae.inference.ensemble import DECODED_AT_ONCE
from skvae.inference.selection import shared_noise
from skvae.models.selection import Rows, SelectionVAE
from skvae.training.selection import MaskPlan, SelectionFitter

# Where slopes start; the start that ends at the higher likelihood is taken.
FIRST_SLOPES = (1.5, 5.0)
SEARCH_SHARE = 0.5
# Two parts of the rows, each held out once.
N_FOLDS, HELD_OUT = 2, 0.25
N_SAMPLES, N_SAMPLES_WITHOUT = 128, 32
# Of a held-out part that are compared.
MOST_ROWS = 1000
RIDGE = 1.0
# Standard errors that make a difference clear.
CLEAR = 3.0


@dataclass(frozen=True, eq=False)
class Comparison:
    """Held-out log-likelihoods of two models, one less the other, by row and column.

    Attributes
    ----------
    mean, error : Tensor of shape (p,)
        Nats per row, and standard error.
    """

    mean: Tensor
    error: Tensor

    @classmethod
    def of(cls, difference: Tensor) -> Comparison:
        """From differences (n, p)."""
        return cls(difference.mean(0), difference.std(0) / math.sqrt(max(len(difference), 2)))

    @property
    def errors(self) -> Tensor:
        """How many standard errors from nothing, (p,)."""
        return self.mean / self.error.clamp(min=1e-9)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What held-out rows say of every column's holes.

    Attributes
    ----------
    dependence : Comparison
        ``log p(s_j | other columns)`` where the hidden value decides, against holes at random.
    mask : Comparison
        The same against a logistic regression of the holes on the other columns.
    joint : Comparison
        ``log p(x_j, s_j | other columns)`` against missing at random: its density of the values
        and that regression of the holes. The likelihood ratio of both models.
    """

    dependence: Comparison
    mask: Comparison
    joint: Comparison

    @property
    def clear(self) -> Tensor:
        """Columns whose holes hidden values explain, and better than the other columns do."""
        return (self.dependence.errors > CLEAR) & (self.mask.errors > CLEAR)

    @property
    def tenable(self) -> Tensor:
        """Columns whose holes hidden values explain, and whose likelihood ratio is no objection."""
        return (self.dependence.errors > CLEAR) & (self.joint.errors > -1)


def find_direction(fitter: SelectionFitter) -> Tensor:
    """Whether rows in which a column is missing should have large or small values of it, (p,).

    Correlation of the holes with what the other columns predict, under the linear VAE: where
    values hide themselves, holes go with the values, and so with their predictions. 1 or -1.
    """
    data, linear = fitter.data, fitter.linear
    seen = data.observed.index_select(1, data.feature_columns)
    posterior = linear.posterior(data.features, seen)
    covariance = posterior.covariance.expand(len(seen), -1, -1)
    mean = posterior.mean @ linear.loadings.mT
    variance = torch.einsum("jk,nkl,jl->nj", linear.loadings, covariance, linear.loadings)
    noise = linear.noise_variance
    # Dividing the column's own expert out of the product leaves what the others say.
    precision = (1 / variance - 1 / noise).clamp(min=1e-6)
    own = (data.features - linear.mean) / noise
    without = (mean / variance - own) / precision
    predicted = torch.where(seen, without, mean)[:, fitter.first]
    hole = (~data.observed).float()
    weight = data.weight[:, None] / data.weight.sum()
    away = predicted - (predicted * weight).sum(0)
    covariance = (away * (hole - (hole * weight).sum(0)) * weight).sum(0)
    return torch.where(covariance >= 0, 1.0, -1.0)


def find_start(fitter: SelectionFitter, plan: MaskPlan) -> float:
    """The first slope from which training ends higher."""
    data, slopes = fitter.data, torch.tensor(FIRST_SLOPES)
    if plan.model != "self_masking" or bool((plan.censored | ~plan.selected).all()):
        return FIRST_SLOPES[0]
    n = len(slopes)
    selected = plan.selected.expand(n, -1)
    weight = data.weight.expand(n, -1)
    model = fitter.fit(plan, data.observed[None], selected, weight, slopes, share=SEARCH_SHARE)
    rows = torch.arange(min(len(data.features), 4000))
    bound = _log_likelihood(model, fitter, rows).mean(1) - model.penalty() / len(data.features)
    return FIRST_SLOPES[int(bound.argmax())]


def weigh_evidence(
    fitter: SelectionFitter, plan: MaskPlan, slope: float, generator: torch.Generator
) -> tuple[Evidence, SelectionVAE]:
    """Fit both kinds of models without a part of the rows, and compare them there.

    Returns
    -------
    evidence : Evidence
    model : SelectionVAE
        The first `N_FOLDS` members model the holes, the others do not.
    """
    data, folds = fitter.data, range(N_FOLDS)
    n = len(data.features)
    size = max(1, int(HELD_OUT * n))
    order = torch.randperm(n, generator=generator)
    parts = [order[r * size : (r + 1) * size] for r in folds]
    weight = data.weight.repeat(2 * N_FOLDS, 1)
    for r, part in enumerate(parts):
        weight[r::N_FOLDS, part] = 0.0
    none = torch.zeros_like(plan.selected)
    selected = torch.stack([plan.selected] * N_FOLDS + [none] * N_FOLDS)
    slopes = torch.full((2 * N_FOLDS,), slope)
    model = fitter.fit(plan, data.observed[None], selected, weight, slopes)
    hole = (~data.observed).double()
    differences = []
    for r, part in enumerate(parts):
        part = part[:MOST_ROWS]
        whole = _log_likelihood(model, fitter, part)
        joint, mask = _column_by_column(model, fitter, part, plan.selected, whole)
        by_others = _log_mask(fitter, weight[r], part)
        share = ((hole * weight[r][:, None]).sum(0) / weight[r].sum()).clamp(1e-4, 1 - 1e-4)
        at_random = torch.where(hole[part] > 0, share.log(), (1 - share).log())
        differences.append(
            (mask[r] - at_random, mask[r] - by_others, joint[r] - joint[N_FOLDS + r] - by_others)
        )
    compared = (torch.cat(d).where(plan.selected, 0.0) for d in zip(*differences, strict=True))
    return Evidence(*map(Comparison.of, compared)), model


def _log_likelihood(model: SelectionVAE, fitter: SelectionFitter, rows: Tensor) -> Tensor:
    """``log p(x_o, s)`` of every row, float64 (n_members, n)."""
    parts = []
    for batch in _batches(model, fitter, rows, N_SAMPLES):
        log_weights = model.evaluate(*batch).log_weights.double()
        parts.append(torch.logsumexp(log_weights, -1) - math.log(N_SAMPLES))
    return torch.cat(parts, 1)


def _column_by_column(
    model: SelectionVAE, fitter: SelectionFitter, rows: Tensor, selected: Tensor, whole: Tensor
) -> tuple[Tensor, Tensor]:
    """``log p(x_j, s_j | rest)`` and ``log p(s_j | rest)``, both (n_members, n, p).

    Samples come from the posterior without the column: dividing its factor out of others' weights
    would need samples where the column's own value never lets them be.
    """
    joint = torch.zeros(*whole.shape, len(selected), dtype=torch.float64)
    mask = torch.zeros_like(joint)
    for j in selected.nonzero().squeeze(1).tolist():
        rest, unseen = [], []
        for batch, noise, numbers in _batches(model, fitter, rows, N_SAMPLES_WITHOUT):
            column = torch.arange(len(selected)) == j
            # Neither visible nor missing: nothing of the column is known, its mask aside, whose
            # factor is then taken out.
            blind = replace(batch, visible=batch.visible & ~column, missing=batch.missing & ~column)
            found = model.evaluate(blind, noise, numbers)
            left = (found.log_weights - found.entries[..., j]).double()
            rest.append(torch.logsumexp(left, -1) - math.log(N_SAMPLES_WITHOUT))
            truth = replace(found.values, missing=batch.missing.unsqueeze(-2))
            own = model.mask_model.log_prob(truth)[..., j].double()
            unseen.append(torch.logsumexp(left.log_softmax(-1) + own, -1))
        joint[..., j] = whole - torch.cat(rest, 1)
        mask[..., j] = torch.cat(unseen, 1)
    return joint, mask


def _batches(
    model: SelectionVAE, fitter: SelectionFitter, rows: Tensor, n_samples: int
) -> Iterator[tuple[Rows, Tensor, Tensor]]:
    """Arguments of `SelectionVAE.evaluate`, chunk by chunk, with noise that all rows share."""
    data = fitter.data
    noise, numbers = shared_noise(n_samples, model.n_components, len(fitter.columns.numeric), 0)[:2]
    for at in rows.split(max(16, DECODED_AT_ONCE // (model.n_members * n_samples))):
        yield (
            Rows(data.features[at], data.targets[at], data.observed[None, at], ~data.observed[at]),
            noise,
            numbers,
        )


def _log_mask(fitter: SelectionFitter, weight: Tensor, rows: Tensor) -> Tensor:
    """``log p(s_j | other columns)`` by logistic regression without the given rows, (n, p)."""
    data, linear = fitter.data, fitter.linear
    seen = data.observed.index_select(1, data.feature_columns)
    filled = torch.where(seen, data.features, linear.conditional_mean(data.features, seen))
    filled = filled.clamp(-5, 5)
    hole = (~data.observed).float()
    p = hole.shape[1]
    others = (data.feature_columns[:, None] != torch.arange(p)).float()
    share = (hole * weight[:, None]).sum(0) / weight.sum()
    law = torch.zeros(filled.shape[1] + 1, p)
    law[-1] = torch.logit(share.clamp(1e-4, 1 - 1e-4))
    law.requires_grad_(True)
    search = torch.optim.LBFGS([law], max_iter=100, line_search_fn="strong_wolfe")

    def log_mass() -> Tensor:
        logits = filled @ (law[:-1] * others) + law[-1]
        return logsigmoid((2 * hole - 1) * logits)

    def closure() -> Tensor:
        search.zero_grad()
        loss = -(log_mass() * weight[:, None]).sum() + 0.5 * RIDGE * law[:-1].square().sum()
        loss.backward()
        return loss

    search.step(closure)
    return log_mass().detach()[rows].double()
