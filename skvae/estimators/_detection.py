"""Statistics by which odd rows of a table are told from others, all large where rows are odd."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skvae.estimators._latent import LatentModel, Rows
from skvae.inference import Table, noise_block
from skvae.inference.ensemble import DECODED_AT_ONCE
from skvae.inference.exemplars import Exemplars, expected_features
from skvae.inference.refit import PosteriorRefit, RefitSettings, log_weights
from skvae.inference.session import where_it_is
from skvae.inference.tails import MarginalTails, ScoreTail

SCORES = (
    "ensemble",
    "log_likelihood",
    "elbo",
    "reconstruction",
    "typicality",
    "likelihood_regret",
    "latent",
    "neighbours",
    "local",
    "marginal",
)
DISTANCES = ("neighbours", "local", "local_core", "latent")
# What the ensemble averages; "local_core" is "local" among all but the oddest training rows.
ENSEMBLE = ("elbo", "latent", "neighbours", "local", "local_core", "marginal")
# Of z for each row: means over samples need few, a log-density more.
FEW_SAMPLES, MANY_SAMPLES = 16, 64
# Steps and samples of likelihood regret, whose posteriors start at the encoder's.
REGRET = RefitSettings(max_iter=60, learning_rate=0.05, tol=0.0, shared_noise=True)
REGRET_SAMPLES = 64
# Training rows to measure distances to: robust ones need few, local ones density.
FEW_EXEMPLARS, N_NEIGHBOURS = 1000, 10
MANY_EXEMPLARS, N_LOCAL_NEIGHBOURS = 2000, 3
# A multiple of the block.
ROWS_AT_ONCE, BLOCK = 4096, 32


@dataclass(frozen=True)
class ConstantTable:
    """What there is to say where no column varies.

    Attributes
    ----------
    rare : float
        Surprise of a value that no training row has.
    """

    rare: float

    def statistic(self, name: str, rows: Rows, n_novel: np.ndarray) -> np.ndarray:
        """Large where constants are broken, whatever the name."""
        return n_novel * self.rare


@dataclass(frozen=True, eq=False)
class _Likelihoods:
    """What one pass over samples of z says of rows, in nats; absent entries count zero."""

    log_prob: np.ndarray
    elbo: np.ndarray
    by_column: np.ndarray


class Detection:
    """Statistics of rows under one fitted VAE, and what they are over the training rows.

    Parameters
    ----------
    latent : LatentModel
    tails : MarginalTails
    support : Rows
        Training rows that the VAE was fitted on.
    core : Rows
        More of them: all but those whose columns surprise most.
    training : Rows
        All training rows, or enough of them.
    weight : ndarray of shape (n_training,)
    """

    def __init__(
        self,
        latent: LatentModel,
        tails: MarginalTails,
        support: Rows,
        core: Rows,
        training: Rows,
        weight: np.ndarray,
    ) -> None:
        self.latent, self.tails = latent, tails
        some = support.take(slice(FEW_EXEMPLARS))
        self._learn_exemplars(some)
        self.everyone = self._local_exemplars(training)
        self.core = self._local_exemplars(core)
        said = self._likelihoods(some, MANY_SAMPLES)
        count = np.maximum(some.observed.sum(axis=0), 1)
        # What an entry contributes on average; absent ones count as much.
        self.absent = (said.by_column * some.observed).sum(axis=0) / count
        share = some.observed.mean(axis=1).sum()
        rebuilt = said.by_column.sum(axis=1)
        # What a column that is seen costs in divergence, so that no row gains by holes.
        self.cost = float((rebuilt - said.elbo).sum() / share)
        self.gap = float((rebuilt - said.log_prob).sum() / share)
        self.typical = float((said.log_prob + self._of_absent(some, self.gap)).mean())
        none = np.zeros(len(training.values))
        each = self.statistics(ENSEMBLE, training, none)
        self.scores = {name: ScoreTail.fit(score, weight) for name, score in each.items()}

    @property
    def device(self) -> torch.device:
        """Where the VAE is."""
        return self.latent.device

    @property
    def rare(self) -> float:
        """Surprise of a value that no training row has."""
        return self.tails.rare

    @where_it_is
    def _learn_exemplars(self, support: Rows) -> None:
        parts = [self._places(part) for part in self.latent.parts(support, ROWS_AT_ONCE)]
        completed, rebuilt = zip(*parts, strict=True)
        self.completed = Exemplars.of(torch.cat(completed), N_NEIGHBOURS)
        self.rebuilt = Exemplars.of(torch.cat(rebuilt), N_NEIGHBOURS)

    @where_it_is
    def _local_exemplars(self, rows: Rows) -> Exemplars:
        some = self.latent.parts(rows.take(slice(MANY_EXEMPLARS)), ROWS_AT_ONCE)
        parts = [self._places(part)[0] for part in some]
        return Exemplars.of(torch.cat(parts), N_LOCAL_NEIGHBOURS)

    def _places(self, part: Table) -> tuple[Tensor, Tensor]:
        """Features with the holes filled, and features that the posterior's centre stands for."""
        model, specs = self.latent.model, self.latent.scaler.specs
        n = len(part.features)
        # Matrix products round few rows differently: whole blocks make scores independent of
        # which rows come along.
        part = part.take(torch.arange(-(-n // BLOCK) * BLOCK).clamp(max=n - 1))
        centre = self.latent.posterior(part).centre
        rebuilt = expected_features(model, specs, centre)
        completed = part.features.where(part.masks[1][0], rebuilt)
        return completed[:n], rebuilt[:n]

    # Statistics -----------------------------------------------------------------------------

    def statistic(self, name: str, rows: Rows, n_novel: np.ndarray) -> np.ndarray:
        """One statistic of every row, large where it is odd; float64 of shape (n,).

        Parameters
        ----------
        name : str
        rows : Rows
        n_novel : ndarray of shape (n,)
            How many cells of each row hold what no training row did.
        """
        return self.statistics([name], rows, n_novel)[name]

    def statistics(
        self, names: Iterable[str], rows: Rows, n_novel: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Several statistics by name, see `statistic`."""
        names = list(names)
        rare = n_novel * self.rare
        out: dict[str, np.ndarray] = {}
        if {"log_likelihood", "elbo", "reconstruction", "typicality"} & {*names}:
            density = {"log_likelihood", "typicality"} & {*names}
            said = self._likelihoods(rows, MANY_SAMPLES if density else FEW_SAMPLES)
            log_prob = said.log_prob + self._of_absent(rows, self.gap)
            out["log_likelihood"] = rare - log_prob
            out["elbo"] = rare - (said.elbo + self._of_absent(rows, self.cost))
            out["reconstruction"] = rare - (said.by_column.sum(axis=1) + self._of_absent(rows))
            out["typicality"] = np.abs(self.typical - log_prob + rare)
        if "marginal" in names:
            out["marginal"] = self.tails.score(rows.values, rows.observed) + rare
        if {*DISTANCES} & {*names}:
            out |= self._distances(rows)
        if "likelihood_regret" in names:
            out["likelihood_regret"] = self._regret(rows) + rare
        if "ensemble" in names:
            each = self.statistics(ENSEMBLE, rows, np.zeros_like(n_novel))
            surprises = [self.scores[member].surprise(score) for member, score in each.items()]
            out["ensemble"] = np.mean(surprises, axis=0) + rare
        return {name: out[name] for name in names}

    def _of_absent(self, rows: Rows, cost: float = 0.0) -> np.ndarray:
        """What absent entries would add, less their share of what a whole row costs."""
        return np.where(rows.observed, 0.0, self.absent - cost / len(self.absent)).sum(axis=1)

    @where_it_is
    def _likelihoods(self, rows: Rows, n_samples: int) -> _Likelihoods:
        """Log-density by importance sampling, the bound, and expected log-densities by column.

        Samples come from posteriors and the prior, as in `LatentModel.log_prob`; the bound and
        the columns take the best posterior's alone.
        """
        noise, draws = self.latent.shared_samples(n_samples)
        parts = [
            _say(self.latent, part, noise, draws(part))
            for part in self.latent.parts(rows, max(1, DECODED_AT_ONCE // n_samples))
        ]
        return _Likelihoods(*(torch.cat(p).double().numpy() for p in zip(*parts, strict=True)))

    @where_it_is
    def _distances(self, rows: Rows) -> dict[str, np.ndarray]:
        """To the nearest training rows: of completed rows, and of what rows are rebuilt as."""
        parts = []
        for part in self.latent.parts(rows, ROWS_AT_ONCE):
            completed, rebuilt = self._places(part)
            parts.append(
                (
                    self.completed.distance(completed),
                    self.everyone.local(completed),
                    self.core.local(completed),
                    self.rebuilt.distance(rebuilt),
                )
            )
        each = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        return dict(zip(DISTANCES, each, strict=True))

    @where_it_is
    def _regret(self, rows: Rows) -> np.ndarray:
        """What the bound gains when every row gets a posterior of its own (Xiao et al. 2020)."""
        model, seed = self.latent.model, self.latent.seed
        noise = noise_block(REGRET_SAMPLES, model.n_components, seed)
        parts = []
        for part in self.latent.parts(rows, max(1, DECODED_AT_ONCE // REGRET_SAMPLES)):
            # The same noise for every part and row: no score depends on other rows.
            generator = torch.Generator().manual_seed(seed)
            refit = PosteriorRefit(model, part, noise, generator)
            moved = refit.posterior.shifted(*refit.run(REGRET))
            before = log_weights(model, part, refit.posterior, noise)[0].double().mean(-1)
            after = log_weights(model, part, moved, noise)[0].double().mean(-1)
            parts.append((after - before).clamp(min=0))
        return torch.cat(parts).numpy()


def _say(
    latent: LatentModel, part: Table, noise: Tensor, draws: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-density, bound and expected log-density by column of every row."""
    model, (best, mixture) = latent.model, latent.proposal.propose(latent.model, part)
    sample = alone = latent.sample_from(part, mixture, noise, draws)
    if best is not mixture[0]:
        alone = latent.sample_from(part, (best,), noise)
    own = slice(len(noise))  # draws from the prior come last
    entries = model.log_likelihood(alone.driven[..., own, :], part.targets, part.masks[0])
    bound = entries.sum(-1).double() - alone.divergence[..., own]
    return sample.log_prob[0], bound.mean(-1)[0], entries.double().mean(-2)[0]
