"""Training of classifier and class-conditional model on labelled and unlabelled rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from skvae.models.semi_supervised import ClassConditionalVAE, LabelNetworks
from skvae.training.labels import Labels, Rows, RowSource
from skvae.training.loop import History, gradient_step, one_cycle
from skvae.training.run import current_run

# Rows times classes that the bound of unlabelled rows may take in one step.
ENUMERATED_AT_ONCE = 1024
# Rows whose bound decides when the class-conditional model is at its best.
MOST_VALIDATION_ROWS = 500
N_VALIDATIONS = 20
# Decay of the networks towards the linear start, and of that towards no opinion.
NETWORK_DECAY, LINEAR_DECAY = 1.0, 0.1
# The teacher retires after this share of the steps.
TEACHING_SHARE = 0.5


@dataclass(frozen=True)
class SemiSupervisedSettings:
    """What an estimator asks for; names as in the estimators."""

    classifier_weight: float
    beta: float
    n_importance_samples: int
    max_iter: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float


class SemiSupervisedTrainer:
    """Trains ``q(y | x)`` and ``p(x, z | y)`` together.

    Members of the classifier come in pairs for each fold: one learns from its labels alone, the
    other also from the bound on rows without them,

    ``log p(x) >= sum_y q(y | x) (L(x, y) + log p(y) - log q(y | x))``

    with every class in turn (Kingma et al. 2014, equation 7). The class-conditional model is
    shared and follows the bound under the mean of the latter members.

    Parameters
    ----------
    model : ClassConditionalVAE or None
        Without one, the second members follow the teacher alone.
    networks : LabelNetworks
        Two members for each fold, those that learn from labels alone first. Both are changed in
        place.
    source : RowSource
    labels : Labels
    settings : SemiSupervisedSettings
    generator : torch.Generator
    """

    def __init__(
        self,
        model: ClassConditionalVAE | None,
        networks: LabelNetworks,
        source: RowSource,
        labels: Labels,
        settings: SemiSupervisedSettings,
        generator: torch.Generator,
    ) -> None:
        self.model, self.networks, self.source = model, networks, source
        self.labels, self.settings, self.generator = labels, settings, generator
        self.n_folds = networks.n_members // 2
        self.labelled = (labels.codes >= 0).nonzero().squeeze(1)
        unlabelled = (labels.codes < 0).nonzero().squeeze(1)
        # With every row labelled, rows teach what tables look like whatever their labels.
        order = unlabelled if len(unlabelled) else self.labelled
        order = order[torch.randperm(len(order), generator=generator)]
        n_held_out = 0
        if settings.early_stopping:
            n_held_out = int(settings.validation_fraction * len(order))
            n_held_out = min(n_held_out, MOST_VALIDATION_ROWS)
        self.held_out, self.unlabelled = order[:n_held_out], order[n_held_out:]
        # The labels' own frequencies and those among all rows may differ: q(y | x) is learnt under
        # the former, the bound is about the latter (logit adjustment, Menon et al. 2021).
        self.shift = (labels.prior / labels.assumed).log()
        self.eye = torch.eye(labels.n_classes)
        self.history = History()

    # Objective ------------------------------------------------------------------------------

    def loss(self) -> Tensor:
        """Of one batch of labelled and one of unlabelled rows."""
        settings, generator = self.settings, self.generator
        n_known = min(settings.batch_size, len(self.labelled))
        n_free = max(16, ENUMERATED_AT_ONCE // self.labels.n_classes)
        known = self._pick(self.labelled, n_known)
        free = self._pick(self.unlabelled, min(settings.batch_size, n_free))
        shown, hidden = self.source.draw(known, generator), self.source.draw(free, generator)
        of_shown, of_hidden = self._draw_auxiliary(shown), self._draw_auxiliary(hidden)
        cross_entropy = self._cross_entropy(known, shown.vectors, of_shown[0])
        # Members that also learn from the bound; under the class frequencies of all rows.
        log_q = self.networks(hidden.vectors, of_hidden[0])[self.n_folds :]
        log_q = (log_q + self.shift).log_softmax(-1)
        loss = settings.classifier_weight * cross_entropy.sum() + self._teaching(free, log_q)
        if self.model is None:
            return loss
        bound = self._bound_without_labels(free, hidden, of_hidden, log_q)
        label = self.eye[self.labels.codes[known]]
        own = self._bound(shown, label, of_shown[0]) - of_shown[1]
        share = len(self.labelled) / len(self.labels.codes)
        return loss - bound - share * (self.labels.weight[known] * own).mean()

    def _bound_without_labels(
        self,
        rows: Tensor,
        hidden: Rows,
        auxiliary: tuple[Tensor | None, Tensor],
        log_q: Tensor,
    ) -> Tensor:
        """Sum over members, and the bound of the class-conditional model under their mean."""
        classes, q = self.labels.n_classes, log_q.exp()
        a, log_q_a = auxiliary
        shared = None if a is None else a.repeat_interleave(classes, 0)
        label = self.eye.repeat(len(rows), 1)
        each = self._bound(hidden.repeated(classes), label, shared).view(-1, classes)
        entropy = -(q * log_q).sum(-1)
        # Members judge the classes by the bound as it is; the bound follows their mean.
        judged = (q * (each.detach() + self.labels.prior.log())).sum(-1) + entropy
        followed = (q.detach().mean(0) * each).sum(-1) - log_q_a
        return (self.labels.weight[rows] * (judged.sum(0) + followed)).mean()

    def _draw_auxiliary(self, rows: Rows) -> tuple[Tensor | None, Tensor]:
        if self.model is None:
            return None, torch.zeros(len(rows.vectors))
        return self.model.draw_auxiliary(rows.vectors, self.generator)

    def _pick(self, rows: Tensor, n: int) -> Tensor:
        return rows[torch.randint(len(rows), (n,), generator=self.generator)]

    def _cross_entropy(self, rows: Tensor, vectors: Tensor, auxiliary: Tensor | None) -> Tensor:
        """By member, over labels that it may see."""
        labels = self.labels
        log_q = self.networks(vectors, auxiliary)
        each = log_q.gather(-1, labels.codes[rows].expand(len(log_q), -1).unsqueeze(-1))[..., 0]
        seen = labels.fold[rows] != torch.arange(self.n_folds).repeat(2)[:, None]
        weight = seen * labels.weight[rows]
        return -(weight * each).sum(1) / weight.sum(1).clamp(min=1e-6)

    def _bound(
        self, rows: Rows, label: Tensor, auxiliary: Tensor | None, noise: Tensor | None = None
    ) -> Tensor:
        """``L(x, y)`` of every row, (batch,)."""
        assert self.model is not None
        settings, k = self.settings, self.model.vae.n_components
        if noise is None:
            shape = (1, len(label), settings.n_importance_samples, k)
            noise = torch.randn(shape, generator=self.generator)
        log_weights = self.model.log_weights(
            rows.features,
            rows.targets,
            rows.observed,
            label,
            noise,
            rows.vectors,
            auxiliary,
            settings.beta,
        )
        if settings.beta != 1:  # only the ELBO has a divergence to weigh
            return log_weights.mean(-1)
        return log_weights.logsumexp(-1) - math.log(log_weights.shape[-1])

    def _teaching(self, rows: Tensor, log_q: Tensor) -> Tensor:
        """Cross-entropy to what was believed before, less and less of it."""
        done = self.history.n_iter / (TEACHING_SHARE * self.settings.max_iter)
        if done >= 1:
            return log_q.new_zeros(())
        each = -(self.labels.teacher[rows] * log_q).sum(-1)
        return self.settings.classifier_weight * (1 - done) * each.mean(1).sum()

    # Training -------------------------------------------------------------------------------

    @property
    def modules(self) -> list[torch.nn.Module]:
        """What is trained."""
        return [self.networks] if self.model is None else [self.model, self.networks]

    def fit(self) -> History:
        """Train, and leave both models at their best held-out scores."""
        settings, history = self.settings, self.history
        parameters = [p for module in self.modules for p in module.parameters()]
        optimizer, scheduler = one_cycle(parameters, settings.learning_rate, settings.max_iter)
        keepers = self._keepers()
        interval = max(1, settings.max_iter // N_VALIDATIONS)
        parts = {
            **{f"model {i}": module for i, module in enumerate(self.modules)},
            **{f"best {i}": keeper for i, keeper in enumerate(keepers)},
            "optimizer": optimizer,
            "scheduler": scheduler,
            "generator": self.generator,
            "history": history,
        }
        with current_run().stage("classes", settings.max_iter, parts) as steps:
            for step in steps:
                loss = self.loss()
                if not gradient_step(loss, optimizer, self.networks.n_members):
                    history.recovered = True
                    break
                self._decay(optimizer.param_groups[0]["lr"])
                scheduler.step()
                history.pending += float(loss.detach())
                history.n_iter = step
                if step % interval and step != settings.max_iter:
                    continue
                steps.loss = history.close_interval(interval)
                history.scores.append([keeper.update() for keeper in keepers])
                stalled = min((keeper.stalled for keeper in keepers), default=0)
                if step > settings.max_iter // 2 and 0 < settings.n_iter_no_change <= stalled:
                    break
        for keeper in keepers:
            keeper.restore()
        for module in self.modules:
            module.zero_grad(set_to_none=True)
            module.eval().requires_grad_(False)
        return history

    @torch.no_grad()
    def _decay(self, learning_rate: float) -> None:
        of_model = [] if self.model is None else self.model.network_weights
        for decay, weights in (
            (self.settings.weight_decay, of_model),
            (NETWORK_DECAY, list(self.networks.network.weights)),
            (LINEAR_DECAY, [self.networks.weight]),
        ):
            for weight in weights:
                weight.mul_(max(1 - learning_rate * decay, 0.0))

    def _keepers(self) -> list[_BestState]:
        """Best states by the likelihood of held-out labels and by the bound on held-out rows."""
        if not self.settings.early_stopping:
            return []
        keepers, tol = [], self.settings.tol
        if len(self.held_out) and self.model is not None:
            rows = self.source.draw(self.held_out, self.generator)
            shape = (1, len(self.held_out) * self.labels.n_classes, 1, self.model.vae.n_components)
            noise = torch.randn(shape, generator=self.generator)
            keepers.append(_BestState(self.model, lambda: self._held_out_bound(rows, noise), tol))
        apart = self.labelled[self.labels.fold[self.labelled] >= 0]
        if len(apart):
            vectors = self.source.draw(apart, self.generator).vectors
            keepers.append(
                _BestState(self.networks, lambda: self._held_out_labels(apart, vectors), tol)
            )
        return keepers

    def _held_out_labels(self, rows: Tensor, vectors: Tensor) -> float:
        """Mean log-probability under the members that do not see them."""
        auxiliary = self._mean_auxiliary(vectors)
        log_q = self.networks(vectors, auxiliary)
        fold, codes, each = self.labels.fold[rows], self.labels.codes[rows], torch.arange(len(rows))
        # Members that learn from the bound have seen these labels through the shared model.
        weight = self.labels.weight[rows]
        return float((weight * log_q[fold, each, codes]).sum() / weight.sum())

    def _held_out_bound(self, rows: Rows, noise: Tensor) -> float:
        auxiliary = self._mean_auxiliary(rows.vectors)
        classes, n = self.labels.n_classes, len(rows.features)
        log_q = (self.networks(rows.vectors, auxiliary) + self.shift).log_softmax(-1)
        log_q = log_q[self.n_folds :].logsumexp(0) - math.log(self.n_folds)
        shared = None if auxiliary is None else auxiliary.repeat_interleave(classes, 0)
        each = self._bound(rows.repeated(classes), self.eye.repeat(n, 1), shared, noise)
        bound = each.view(n, classes) + self.labels.prior.log() - log_q
        return float((log_q.exp() * bound).sum(-1).mean())

    def _mean_auxiliary(self, vectors: Tensor) -> Tensor | None:
        if self.model is None or self.model.auxiliary is None:
            return None
        return self.model.auxiliary.posterior(vectors)[0]


@dataclass(eq=False)
class _BestState:
    """A module's state at its best held-out score."""

    module: torch.nn.Module
    score: Callable[[], float]
    tol: float
    best: float = -math.inf
    stalled: int = 0
    state: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def update(self) -> float:
        """Take the score, and keep the state if it is the best."""
        score = self.score()
        self.stalled = 0 if score > self.best + self.tol else self.stalled + 1
        if score > self.best:
            self.best = score
            self.state = [p.detach().clone() for p in self.module.parameters()]
        return score

    @torch.no_grad()
    def restore(self) -> None:
        """Return to it."""
        for parameter, kept in zip(self.module.parameters(), self.state, strict=False):
            parameter.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "stalled": self.stalled, "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.stalled, self.state = state["best"], state["stalled"], state["state"]
