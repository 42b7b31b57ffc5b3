"""The ensemble of a table whose holes may say something about what they hide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.distributions.continuous import LogNormal
from skvae.distributions.counts import NegativeBinomial, Poisson
from skvae.inference.ensemble import Density, Source
from skvae.inference.selection import REACH, USUAL_REACH, SelectionSource, Units
from skvae.models.selection import SelectionVAE
from skvae.training.data import Tensors
from skvae.training.fit import N_REPLICAS, EnsembleFitter, FitSettings, HeldOutPredictions
from skvae.training.missingness import Evidence, find_direction, find_start, weigh_evidence
from skvae.training.selection import MaskPlan, SelectionFitter

# Components that the model of the mask takes for two thirds of the columns, at most.
MOST_EXTRA_COMPONENTS = 12


@dataclass(frozen=True, eq=False)
class MaskReport:
    """What was assumed, found and used.

    Attributes
    ----------
    plan : MaskPlan
        With all directions known; its `selected` are the columns that were asked for.
    evidence : Evidence or None
    found : bool Tensor of shape (p,)
        Columns whose direction the table told.
    used : bool Tensor of shape (p,)
        Columns whose holes the ensemble takes for informative.
    model : SelectionVAE or None
        A fitted one, for its slopes and thresholds.
    """

    plan: MaskPlan
    evidence: Evidence | None
    found: Tensor
    used: Tensor
    model: SelectionVAE | None

    @property
    def found_plan(self) -> MaskPlan:
        """What other models of the same table need not find out again."""
        return replace(self.plan, selected=self.used)


class NonignorableFitter(EnsembleFitter):
    """`EnsembleFitter` with a model of values and mask beside the others.

    It is the density, the only source for columns whose holes say something, and one among the
    sources for the others. Of columns whose direction is to be found out, it takes those whose
    holes hidden values explain about as well as other columns do.

    Parameters
    ----------
    data, settings, seed
        As in `EnsembleFitter`.
    plan : MaskPlan
    weigh : bool
        Whether to weigh the evidence. Without, all selected columns are used.
    """

    def __init__(
        self, data: Tensors, settings: FitSettings, seed: int, plan: MaskPlan, weigh: bool
    ) -> None:
        super().__init__(data, settings, seed)
        self.plan, self.weigh = plan, weigh

    def _sources(self) -> tuple[tuple[Source, ...], Density]:
        sources, density = super()._sources()
        fitter = SelectionFitter(self.data, self._n_components, self.seed, self.settings.max_iter)
        unknown = self.plan.direction == 0
        direction = torch.where(unknown, find_direction(fitter), self.plan.direction)
        plan = replace(self.plan, direction=direction, limit=self._limits(fitter))
        slope = plan.first_slope or find_start(fitter, plan)
        plan, used = replace(plan, first_slope=slope), plan.selected
        evidence = model = None
        if self.weigh:
            evidence, model = weigh_evidence(fitter, plan, slope, self.generator)
            if plan.model == "self_masking":
                used = used & (~unknown | evidence.tenable)
        self.mask_report = MaskReport(plan, evidence, unknown, used, model)
        if not bool(used.any()):
            return sources, density
        masks = torch.stack([self.data.observed & (self.fold != r) for r in range(N_REPLICAS)])
        model = fitter.fit(
            plan,
            masks,
            used.expand(N_REPLICAS, -1),
            self.data.weight.expand(N_REPLICAS, -1),
            torch.full((N_REPLICAS,), slope),
        )
        self.mask_report = replace(self.mask_report, model=model)
        source = SelectionSource(
            model, self._units(fitter), fitter.likelihoods.stat_order, self.seed
        )
        return (*sources, source), source

    @property
    def _n_components(self) -> int:
        """Of the model of values and holes.

        Observed entries choose the number for what they say of each other. To say where hidden
        values are takes more, and a linear model with a prior on its loadings bears it.
        """
        found, p = self.report.n_components, self.data.observed.shape[1]
        if not isinstance(self.settings.n_components, str):
            return found
        return max(found, min(MOST_EXTRA_COMPONENTS, -(-2 * p // 3)))

    def _limits(self, fitter: SelectionFitter) -> Tensor:
        """Limits as features; where none is given, the outermost value seen."""
        edge = torch.where(self.plan.direction > 0, fitter.high, fitter.low)
        return torch.where(torch.isnan(self.plan.limit), edge, self.plan.limit)

    def _units(self, fitter: SelectionFitter) -> Units:
        data, numeric = self.data, fitter.columns.numeric
        links, specs = [], [data.specs[j] for j in numeric.tolist()]
        for j in numeric.tolist():
            kind = data.likelihoods[j]
            counted = isinstance(kind, Poisson | NegativeBinomial)
            links.append(2 if counted else int(isinstance(kind, LogNormal)))
        seen, x = data.observed[:, numeric], data.targets[:, numeric]
        # Targets of positive columns are in units of their geometric mean.
        location = [s.location if link == 2 else 0.0 for s, link in zip(specs, links, strict=True)]
        low, high = x.where(seen, torch.inf).amin(0), x.where(seen, -torch.inf).amax(0)
        plan = self.mask_report.plan
        hiding = plan.direction * self.mask_report.used * (plan.model == "self_masking")
        down, up = (torch.where(sign * hiding[numeric] > 0, REACH, USUAL_REACH) for sign in (-1, 1))
        return Units(
            link=torch.tensor(links, dtype=torch.long),
            location=torch.tensor(location),
            scale=torch.tensor([spec.scale for spec in specs], dtype=torch.float32),
            low=low - down * (high - low),
            high=high + up * (high - low),
            slope=data.slope[numeric],
            intercept=data.intercept[numeric],
        )

    def _weigh(
        self, sources: tuple[Source, ...], density: Density
    ) -> tuple[Tensor, HeldOutPredictions]:
        weights, held_out = super()._weigh(sources, density)
        # Observed entries cannot tell how well hidden ones are predicted where holes say
        # something: there, the model of the mask has no competitor.
        used = self.mask_report.used[self.stat_columns]
        weights[:, used] = 0.0
        weights[-1, used] = 1.0
        return weights, held_out
