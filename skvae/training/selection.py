"""Fit values and holes together, beside the models to which holes say nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.continuous import Gaussian
from skvae.models.linear import LinearVAE, fit_linear_vae
from skvae.models.missingness import (
    Columns,
    ConnectedMasking,
    LatentMasking,
    MaskModel,
    SelfMasking,
)
from skvae.models.selection import Piles, Rows, SelectionVAE
from skvae.models.start import decoder_start
from skvae.nn.inputs import EncoderInputs, fit_edges
from skvae.training.data import Tensors
from skvae.training.loop import RowStream, gradient_step, one_cycle
from skvae.training.run import current_run

# Rows of a step, samples of z, steps and peak learning rate: the model is linear and small.
BATCH_SIZE, N_SAMPLES, LEARNING_RATE = 128, 5, 0.02
# Steps for tables of few rows and of many.
FEWEST_STEPS, MOST_STEPS = 300, 600
# Thresholds and slopes have further to go than anything else.
FASTER, SLOWER = 3.0, 0.25
ENCODER = (48,)
MASK_NETWORK = (32,)
# Expectation maximisation needs no more rows than this for a start.
LINEAR_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class MaskPlan:
    """What is assumed about the holes of a table.

    Attributes
    ----------
    model : str
        "self_masking", "fully_connected", "network" or "latent".
    selected : bool Tensor of shape (p,)
        Columns whose holes may say something.
    direction : Tensor of shape (p,)
        Of self-masking: 1 where large values hide, -1 where small ones do, 0 where it is to be
        found out.
    censored : bool Tensor of shape (p,)
        Columns of which the values beyond a limit are hidden, and no others.
    limit : Tensor of shape (p,)
        As features; of no meaning elsewhere, NaN where it is to be found.
    first_slope : float or None
        Where slopes start; None where that is to be found.
    """

    model: str
    selected: Tensor
    direction: Tensor
    censored: Tensor
    limit: Tensor
    first_slope: float | None = None


class SelectionFitter:
    """Fits models of values and mask, several side by side.

    Parameters
    ----------
    data : Tensors
    n_components : int
    seed : int
    max_iter : int or None
        Gradient steps at most.
    """

    def __init__(
        self, data: Tensors, n_components: int, seed: int, max_iter: int | None = None
    ) -> None:
        self.data, self.n_components = data, n_components
        usual = min(max(int(1.2 * len(data.features)), FEWEST_STEPS), MOST_STEPS)
        self.n_steps = min(usual, max_iter or usual)
        self.generator = torch.Generator().manual_seed(seed)
        gaussian = [
            kind if finite else Gaussian()
            for kind, finite in zip(
                data.likelihoods, ColumnLikelihoods(data.likelihoods).finite.tolist(), strict=True
            )
        ]
        self.likelihoods = ColumnLikelihoods(gaussian)
        self.columns = Columns.of(self.likelihoods, data.specs)
        few = torch.randperm(len(data.features), generator=self.generator)[:LINEAR_ROWS]
        on_features = data.observed[few].index_select(1, data.feature_columns)
        weight = data.weight[few].double()
        self.linear = fit_linear_vae(
            data.features[few].double(),
            on_features,
            n_components,
            sample_weight=weight,
            max_iter=100,
        ).single()
        # The first feature of every column.
        self.first = torch.searchsorted(data.feature_columns, torch.arange(data.observed.shape[1]))
        self.low, self.high = self._ends()

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest observed feature of every column with a single one, (p,)."""
        x = self.data.features[:, self.first]
        low = x.where(self.data.observed, math.inf).amin(0)
        return low, x.where(self.data.observed, -math.inf).amax(0)

    def fit(
        self,
        plan: MaskPlan,
        masks: Tensor,
        selected: Tensor,
        weight: Tensor,
        slope: Tensor,
        *,
        share: float = 1.0,
    ) -> SelectionVAE:
        """Train members side by side.

        Parameters
        ----------
        plan : MaskPlan
            Without a direction that is to be found out.
        masks : bool Tensor of shape (n_members or 1, n, p)
            What each member sees.
        selected : bool Tensor of shape (n_members, p)
            Columns whose holes each member models.
        weight : Tensor of shape (n_members, n)
            Of every row, for each member.
        slope : Tensor of shape (n_members,)
            Where slopes of self-masking start.
        share : float
            Of the usual number of steps.
        """
        n_steps = max(1, int(share * self.n_steps))
        model = self._model(plan, selected, slope)
        assert model.encoder is not None
        own, encoder = list(model.mask_model.parameters()), list(model.encoder.parameters())
        others = {*own, *encoder}
        # In the model's order: that of a set would round gradients' norms anew in every run.
        rest = [p for p in model.parameters() if p not in others]
        groups = [
            {"params": rest, "lr": LEARNING_RATE},
            {"params": own, "lr": FASTER * LEARNING_RATE},
            {"params": encoder, "lr": SLOWER * LEARNING_RATE},
        ]
        optimizer, scheduler = one_cycle(groups, LEARNING_RATE, n_steps)
        data = self.data
        rows = RowStream(len(data.features), BATCH_SIZE, self.generator)
        parts = {
            "model": model,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "generator": self.generator,
            "rows": rows,
        }
        with current_run().stage("missingness", n_steps, parts) as steps:
            for _ in steps:
                loss = self._loss(model, next(rows), masks, weight)
                if not gradient_step(loss, optimizer, model.n_members):
                    break
                scheduler.step()
        model.zero_grad(set_to_none=True)
        return model.eval().requires_grad_(False)

    def _loss(self, model: SelectionVAE, at: Tensor, masks: Tensor, weight: Tensor) -> Tensor:
        """Of some rows, by LongTensor, summed over members."""
        data, m = self.data, len(self.columns.numeric)
        batch = Rows(data.features[at], data.targets[at], masks[:, at], ~data.observed[at])
        shape = (model.n_members, len(at), N_SAMPLES)
        noise = torch.randn(*shape, model.n_components, generator=self.generator)
        number_noise = torch.randn(*shape, m, generator=self.generator)
        log_weights = model.evaluate(batch, noise, number_noise).log_weights
        bound = torch.logsumexp(log_weights, -1) - math.log(N_SAMPLES)
        counts = weight[:, at]
        total = (bound * counts).sum(1) / counts.sum(1).clamp(min=1e-6)
        return (model.penalty() / weight.sum(1) - total).sum()

    def _model(self, plan: MaskPlan, selected: Tensor, slope: Tensor) -> SelectionVAE:
        data = self.data
        spread = (self.linear.loadings.square().sum(1) + self.linear.noise_variance).sqrt()
        first = self.first
        spread = spread[first]
        share = (~data.observed).float().mean(0)
        linears = [self._moved(plan, chosen, spread, share) for chosen in selected]
        free = self.likelihoods.init_free(data.targets, data.observed)
        starts = [decoder_start(one, self.likelihoods, data.specs, free) for one in linears]
        numeric = self.columns.numeric
        direction = plan.direction.float()
        seen = data.observed[:, numeric]
        piles = Piles.find(data.features[:, first[numeric]], seen, direction[numeric])
        return SelectionVAE(
            linears,
            starts,
            self.likelihoods,
            EncoderInputs(*fit_edges(data.features, data.observed[:, data.feature_columns])),
            ENCODER,
            self.generator,
            mask_model=self._mask_model(plan, selected, spread, slope),
            feature_columns=data.feature_columns,
            direction=direction[numeric],
            limits=torch.where(plan.censored, plan.limit, 0.0),
            piles=piles,
        )

    def _moved(self, plan: MaskPlan, selected: Tensor, spread: Tensor, share: Tensor) -> LinearVAE:
        """The linear start, its means moved towards where hidden values are."""
        move = torch.where(selected, plan.direction * spread * share, 0.0)
        mean = self.linear.mean.index_add(0, self.first, move)
        return replace(self.linear, mean=mean)

    def _mask_model(
        self, plan: MaskPlan, selected: Tensor, spread: Tensor, slope: Tensor
    ) -> MaskModel:
        columns, generator = self.columns, self.generator
        if plan.model != "self_masking":
            share = (~self.data.observed).float().mean(0).clamp(0.001, 0.999)
            law: LatentMasking | ConnectedMasking
            if plan.model == "latent":
                law = LatentMasking(columns, selected, self.n_components, MASK_NETWORK, generator)
            else:
                hidden = MASK_NETWORK if plan.model == "network" else ()
                law = ConnectedMasking(columns, selected, hidden, generator)
            law.law.biases[-1].data += torch.logit(share)
            return law
        edge = torch.where(plan.direction > 0, self.high, self.low)
        start = torch.where(plan.censored, plan.limit, edge - 0.5 * plan.direction * spread)
        direction = plan.direction.expand(selected.shape)
        return SelfMasking(
            columns,
            selected,
            direction,
            start.expand(selected.shape),
            spread,
            plan.censored,
            slope,
        )
