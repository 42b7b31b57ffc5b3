"""A VAE of values and holes together: what is missing because of what it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.continuous import Gaussian
from skvae.distributions.margins import inverse_sinh_arcsinh, sinh_arcsinh
from skvae.distributions.natural import NaturalGaussian
from skvae.distributions.selection import log_interval
from skvae.models.linear import LinearVAE
from skvae.models.missingness import Columns, MaskModel, Values
from skvae.models.posterior import Posterior
from skvae.models.start import DecoderStart
from skvae.models.vae import VAE
from skvae.nn.inputs import EncoderInputs

# How far columns are believed to be from normal: the spread of skew and log tail.
MARGIN_SPREAD = 0.2
# Smallest log noise scale, in standard deviations.
LOG_NOISE_FLOOR = 0.5 * math.log(1e-3)
# A value that so many of a column's observed entries share is a floor or a ceiling.
TIED = 0.1


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with holes.

    Attributes
    ----------
    features : Tensor of shape (batch, q)
    targets : Tensor of shape (batch, p)
        Codes of columns with levels; numbers are taken from the features.
    visible : bool Tensor of shape (n_members or 1, batch, p)
    missing : bool Tensor of shape (batch, p)
        Entries that the table lacks; what is neither was hidden on purpose.
    """

    features: Tensor
    targets: Tensor
    visible: Tensor
    missing: Tensor


@dataclass(frozen=True, eq=False)
class Piles:
    """Numeric columns whose lowest or highest value is shared by many rows.

    Nobody is below a floor: the value stands for all that would be, as in the model of Tobin
    (1958), but no further below than what is seen reaches above it.

    Attributes
    ----------
    side : Tensor of shape (m,)
        -1 for a floor, 1 for a ceiling, 0 for neither.
    value : Tensor of shape (m,)
        Where it is, as a feature.
    width : Tensor of shape (m,)
        How far what it stands for reaches, as a feature.
    """

    side: Tensor
    value: Tensor
    width: Tensor

    @classmethod
    def find(cls, x: Tensor, observed: Tensor, direction: Tensor) -> Piles:
        """At the end away from which values hide; x and observed (n, m), direction (m,)."""
        low = torch.where(observed, x, math.inf).amin(0)
        high = torch.where(observed, x, -math.inf).amax(0)
        end = torch.where(direction > 0, low, high)
        share = ((x == end) & observed).sum(0) / observed.sum(0).clamp(min=1)
        side = torch.where(share > TIED, -direction.sign(), torch.zeros_like(direction))
        return cls(side, end, (high - low).clamp(min=1e-6))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Samples of ``z`` for a batch of rows.

    Attributes
    ----------
    values : Values
    entries : Tensor of shape (n_members, batch, n_samples, p)
        ``log p(x_j, s_j | z)`` of features and mask.
    log_ratio : Tensor of shape (n_members, batch, n_samples)
        ``log p(z) - log q(z | x_o, s)``.
    """

    values: Values
    entries: Tensor
    log_ratio: Tensor

    @property
    def log_weights(self) -> Tensor:
        """``log p(x_o, s, z) - log q(z | x_o, s)``, (n_members, batch, n_samples)."""
        return self.entries.sum(-1) + self.log_ratio


class SelectionVAE(VAE):
    """`VAE` with transformed margins and a model of the mask.

    Numbers are normal given ``z`` on a scale of their own (sinh-arcsinh of the standardised
    feature), and there the mask model reads them. The posterior's start is the linear VAE's with
    the decoder's own loadings; a hidden entry is an expert too, with a learnt location and spread:
    that it is hidden says where it may be.

    Parameters
    ----------
    linears, starts, likelihoods, inputs, hidden_layer_sizes, generator
        As in `VAE`; one start per member, numeric columns all `Gaussian`.
    mask_model : MaskModel
    feature_columns : LongTensor of shape (q,)
        The column of every feature.
    direction : Tensor of shape (m,)
        Where hidden values of numeric columns are likely to be: above (1), below (-1), anywhere.
    limits : Tensor of shape (p,)
        Limits of censored columns, as features.
    piles : Piles
    """

    feature_columns: Tensor
    numeric_features: Tensor
    limits: Tensor

    def __init__(
        self,
        linears: Sequence[LinearVAE],
        starts: Sequence[DecoderStart],
        likelihoods: ColumnLikelihoods,
        inputs: EncoderInputs,
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
        *,
        mask_model: MaskModel,
        feature_columns: Tensor,
        direction: Tensor,
        limits: Tensor,
        piles: Piles,
    ) -> None:
        n = len(linears)
        super().__init__(
            linears, starts, likelihoods, inputs, hidden_layer_sizes, n, generator, density=True
        )
        self.decoder = None  # extrapolation is safe in a linear model only
        self.mask_model = mask_model
        self.columns: Columns = mask_model.columns
        self.piles = piles
        numeric = self.columns.numeric
        numeric_features = torch.searchsorted(feature_columns, numeric)
        self.register_buffer("feature_columns", feature_columns)
        self.register_buffer("numeric_features", numeric_features)
        self.register_buffer("limits", limits)
        m, q = len(numeric_features), self.loadings.shape[1]
        self.skew, self.log_tail = (nn.Parameter(torch.zeros(n, 1, m)) for _ in range(2))
        spread = (self.loadings.square().sum(-1) + self.noise_variance).sqrt()
        spread, mean = spread[:, numeric_features], self.mean[:, numeric_features]
        self.hidden_mean = nn.Parameter(mean + direction * spread)
        self.hidden_log_scale = nn.Parameter((0.5 * spread).log())
        self.pile_mean = nn.Parameter((piles.value + 0.5 * piles.side * piles.width).repeat(n, 1))
        self.pile_log_scale = nn.Parameter((0.3 * piles.width).log().repeat(n, 1))
        self._driven = self._free = slice(0, 0)
        for group in likelihoods.groups:
            if isinstance(group.likelihood, Gaussian):
                self.floor[group.free] = LOG_NOISE_FLOOR
                self._driven, self._free = group.driven, group.free
        self._all_numeric = m == q

    # The scale on which numbers are normal ---------------------------------------------------

    def transform(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Numeric features (..., m) to that scale, and the log-derivative; (n_members, ..., m)."""
        return sinh_arcsinh(features, self.skew, self.log_tail)

    def untransform(self, y: Tensor) -> Tensor:
        """Back, from (n_members, batch, n_samples, m)."""
        skew, log_tail = self.skew.unsqueeze(1), self.log_tail.unsqueeze(1)
        x = inverse_sinh_arcsinh(y, skew, log_tail)
        piles = self.piles
        beyond = (x - piles.value) * piles.side > 0
        return torch.where(beyond, piles.value, x)

    def penalty(self) -> Tensor:
        """Negative log-prior of margins and mask, in nats, shape (n_members,)."""
        away = (self.skew.square() + self.log_tail.square()).sum((1, 2))
        return 0.5 * away / MARGIN_SPREAD**2 + self.mask_model.penalty()

    # Posterior ------------------------------------------------------------------------------

    def _experts(self, rows: Rows, y: Tensor, piled: Tensor) -> NaturalGaussian:
        """Product of the prior with what every entry says, hidden ones included."""
        loadings = self.weight[:, :, self._driven].mT
        mean = self.bias[:, 0, self._driven]
        precision, value = self._numbers_say(rows, y, piled)
        if not self._all_numeric:
            # Levels speak through their standardised features, as in the linear VAE.
            at, n = self.numeric_features, len(self.mean)
            loadings = self.loadings.index_copy(1, at, loadings)
            mean = self.mean.index_copy(1, at, mean)
            known = rows.visible.index_select(-1, self.feature_columns).expand(n, -1, -1)
            levels = known / self.noise_variance[:, None]
            precision = levels.index_copy(-1, at, precision)
            value = rows.features.expand(known.shape).index_copy(-1, at, value)
        k = loadings.shape[-1]
        centred = (value - mean[:, None]).where(precision > 0, 0.0)
        outer = (loadings.unsqueeze(-1) * loadings.unsqueeze(-2)).flatten(-2)
        information = (precision @ outer).unflatten(-1, (k, k)) + torch.eye(k)
        return NaturalGaussian(information, (precision * centred) @ loadings)

    def _numbers_say(self, rows: Rows, y: Tensor, piled: Tensor) -> tuple[Tensor, Tensor]:
        """Precision of every number as an expert, and its value; both (n_members, batch, m)."""
        numeric = self.columns.numeric
        seen = rows.visible[..., numeric]
        hidden = (rows.missing & self.mask_model.selected[:, None])[..., numeric]
        noise = (2 * self.free_parameters[:, 0, :, self._free]).exp()
        wide = noise + (2 * self.hidden_log_scale[:, None]).exp()
        heap = noise + (2 * self.pile_log_scale[:, None]).exp()
        precision = torch.where(
            seen, 1 / torch.where(piled, heap, noise), torch.where(hidden, 1 / wide, 0.0)
        )
        value = torch.where(piled, self.pile_mean[:, None], y)
        return precision, torch.where(seen, value, self.hidden_mean[:, None])

    def infer(self, rows: Rows) -> tuple[Posterior, Tensor, Tensor, Tensor]:
        """``q(z | x_o, mask)``; and numbers, log-derivatives and piles, (n_members, batch, m)."""
        y, log_derivative, piled = self._numbers(rows)
        base = self._experts(rows, y, piled)
        on_features = rows.visible.index_select(-1, self.feature_columns)
        return self._moved(base, rows.features, on_features, None), y, log_derivative, piled

    def _numbers(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers, log-derivatives and piles, (n_members, batch, m)."""
        seen = rows.visible[..., self.columns.numeric]
        # What is not visible has no gradient: zero times NaN is NaN.
        features = rows.features[:, self.numeric_features].where(seen, 0.0)
        y, log_derivative = self.transform(features)
        return y, log_derivative, (features == self.piles.value) & (self.piles.side != 0) & seen

    @property
    def exact(self) -> bool:
        """Never: what holes say is no Gaussian."""
        return False

    def posterior(
        self, features: Tensor, observed: Tensor, context: Tensor | None = None
    ) -> Posterior:
        """``q(z | x_o, mask)`` of rows whose features are all observed or missing."""
        first = torch.searchsorted(self.feature_columns, torch.arange(self.columns.n_columns))
        seen = observed.index_select(-1, first)
        # The values of levels, which targets hold, say nothing here that features do not.
        return self.infer(Rows(features, features.new_zeros(seen.shape[1:]), *_holes(seen)))[0]

    def log_joint(
        self,
        z: Tensor,
        features: Tensor,
        targets: Tensor,
        observed: Tensor,
        context: Tensor | None = None,
    ) -> Tensor:
        """``log p(x_o, mask, z)``, see `JointModel.log_joint`.

        Laws that read hidden numbers get one draw of them for each sample: the mean over samples
        then is a bound as well (Ipsen et al. 2021).
        """
        rows = Rows(features, targets, *_holes(observed))
        n_samples, m = z.shape[-2], len(self.columns.numeric)
        noise = torch.randn(n_samples, m, generator=torch.Generator().manual_seed(n_samples))
        entries = self._at(z, rows, noise, *self._numbers(rows))[1]
        return entries.sum(-1) + self.log_prior(z)

    # Rows -----------------------------------------------------------------------------------

    def evaluate(self, rows: Rows, noise: Tensor, number_noise: Tensor) -> Evaluation:
        """Samples of ``z`` weighed by values and mask.

        Parameters
        ----------
        rows : Rows
        noise : Tensor of shape (n_samples, k) or (n_members, batch, n_samples, k)
        number_noise : Tensor of shape (n_samples, m) or (n_members, batch, n_samples, m)
            Standard normal, for numbers that are not visible.
        """
        posterior, *numbers = self.infer(rows)
        z, log_q = posterior.rsample(noise)
        values, entries = self._at(z, rows, number_noise, *numbers)
        return Evaluation(values, entries, self.log_prior(z) - log_q)

    def _at(
        self,
        z: Tensor,
        rows: Rows,
        number_noise: Tensor,
        y: Tensor,
        log_derivative: Tensor,
        piled: Tensor,
    ) -> tuple[Values, Tensor]:
        """What `evaluate` needs of latents: values, and log-densities by entry."""
        driven = self.decode(z)
        columns, free = self.columns, self.free_parameters
        location = driven[..., self._driven]
        scale = free[..., self._free].exp()
        seen = rows.visible.unsqueeze(-2)
        entries = self._log_entries(rows, driven, y, log_derivative, piled)
        codes = rows.targets[:, None, columns.level_columns] == columns.level_codes
        values = Values(
            z=z,
            numbers=y.unsqueeze(-2),
            location=location,
            variance=scale.square(),
            probabilities=self.statistics(driven)[..., columns.level_statistics],
            codes=codes.float(),
            visible=seen,
            missing=rows.missing.unsqueeze(-2),
            completed=torch.where(
                seen[..., columns.numeric], y.unsqueeze(-2), location + scale * number_noise
            ),
            limits=self._limits(),
        )
        return values, entries + self.mask_model.log_prob(values)

    def _limits(self) -> Tensor:
        """Fixed limits on the scale on which numbers are normal, (n_members, p)."""
        numeric = self.columns.numeric
        moved = self.transform(self.limits[numeric])[0][:, 0]
        return self.limits.expand(self.n_members, -1).index_copy(1, numeric, moved)

    def _log_entries(
        self, rows: Rows, driven: Tensor, y: Tensor, log_derivative: Tensor, piled: Tensor
    ) -> Tensor:
        """``log p(x_j | z)`` by entry, 0 where not visible, (n_members, batch, n_samples, p)."""
        numeric, targets = self.columns.numeric, y
        if not self._all_numeric:
            targets = rows.targets.expand(self.n_members, -1, -1).index_copy(-1, numeric, y)
        each = self.log_likelihood(driven, targets, rows.visible)
        change = log_derivative.where(rows.visible[..., numeric], 0.0).unsqueeze(-2)
        numbers = each[..., numeric] + change
        if bool(piled.any()):
            numbers = torch.where(piled.unsqueeze(-2), self._log_pile(driven), numbers)
        return numbers if self._all_numeric else each.index_copy(-1, numeric, numbers)

    def _log_pile(self, driven: Tensor) -> Tensor:
        """Log-mass of what a floor or ceiling stands for, (n_members, batch, n_samples, m)."""
        side, value, width = self.piles.side, self.piles.value, self.piles.width
        location = driven[..., self._driven]
        scale = self.free_parameters[..., self._free].exp()
        ends = torch.stack([value, value + side * width])
        near, far = (self.transform(end)[0].unsqueeze(-2) for end in ends)
        near, far = (near - location) / scale, (far - location) / scale
        low, high = torch.minimum(near, far), torch.maximum(near, far)
        return log_interval(low, torch.maximum(high, low + 1e-4))


def _holes(observed: Tensor) -> tuple[Tensor, Tensor]:
    """What is visible, and what is missing because nothing else is hidden."""
    return observed, ~observed.all(0)
