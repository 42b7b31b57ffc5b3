"""Why entries are missing: models of the mask, given the values, seen or not.

Columns without a model are ignorable: what they lack says nothing (Rubin 1976).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.finite import Categorical
from skvae.distributions.selection import hidden_value, log_share
from skvae.models.start import FeatureSpec
from skvae.nn.mlp import MemberMLP

# Where few entries tell, slopes are about as steep as this, in standard deviations of the column: a
# prior on their logarithm.
USUAL_SLOPE, SLOPE_SPREAD = 2.0, 1.0
# What no table tells from a step.
STEEPEST = 60.0
# A limit is a logistic law with this slope.
STEP = 400.0


@dataclass(frozen=True, eq=False)
class Values:
    """A batch of rows at samples of ``z``, as mask models see them.

    Attributes
    ----------
    z : Tensor of shape (n_members, batch, n_samples, k)
    numbers : Tensor of shape (n_members, batch, 1, m)
        Numeric columns on the scale on which they are normal; of no meaning where not visible.
    location : Tensor of shape (n_members, batch, n_samples, m)
    variance : Tensor of shape (n_members, 1, 1, m)
    probabilities : Tensor of shape (n_members, batch, n_samples, n_levels)
        Of all levels of all columns that have levels.
    codes : Tensor of shape (batch, 1, n_levels)
        One where a column has the level.
    visible : bool Tensor of shape (n_members or 1, batch, 1, p)
        Entries whose value is known.
    missing : bool Tensor of shape (batch, 1, p)
        Entries that the table lacks; what is neither was hidden on purpose.
    completed : Tensor of shape (n_members, batch, n_samples, m)
        Numeric columns, with draws where not visible.
    limits : Tensor of shape (n_members, p)
        Fixed limits on the scale of `numbers`.
    """

    z: Tensor
    numbers: Tensor
    location: Tensor
    variance: Tensor
    probabilities: Tensor
    codes: Tensor
    visible: Tensor
    missing: Tensor
    completed: Tensor
    limits: Tensor


@dataclass(frozen=True, eq=False)
class Columns:
    """Which numbers belong to which column.

    Attributes
    ----------
    n_columns : int
    numeric : LongTensor of shape (m,)
        Columns of numbers.
    level_columns : LongTensor of shape (n_levels,)
        The column of every level.
    level_codes : Tensor of shape (n_levels,)
    level_statistics : LongTensor of shape (n_levels,)
        Their place among the statistics of the likelihoods.
    level_scores : Tensor of shape (n_levels,)
        Standardised code of every level; 0 for levels without an order.
    ordered : bool Tensor of shape (n_levels,)
    level_features : Tensor of shape (n_levels, n_finite_features)
        Standardised features are ``one_hot @ level_features + feature_offset``.
    feature_offset : Tensor of shape (n_finite_features,)
    """

    n_columns: int
    numeric: Tensor
    level_columns: Tensor
    level_codes: Tensor
    level_statistics: Tensor
    level_scores: Tensor
    ordered: Tensor
    level_features: Tensor
    feature_offset: Tensor

    @classmethod
    def of(cls, likelihoods: ColumnLikelihoods, specs: Sequence[FeatureSpec]) -> Columns:
        """Read them off a table's likelihoods and features."""
        finite = likelihoods.finite
        at = likelihoods.stat_columns
        statistics = finite[at].nonzero().squeeze(1)
        owners = at[statistics]
        codes, scores, ordered = [], [], []
        n_features = sum(
            spec.features.stop - spec.features.start
            for spec, has_levels in zip(specs, finite.tolist(), strict=True)
            if has_levels
        )
        table, offset = torch.zeros(len(owners), n_features), torch.zeros(n_features)
        place = 0
        previous, code = -1, 0
        for level, column in enumerate(owners.tolist()):
            code = code + 1 if column == previous else 0
            previous, spec = column, specs[column]
            nominal = isinstance(likelihoods.likelihoods[column], Categorical)
            score = (code - spec.location) / spec.scale
            codes.append(code)
            scores.append(0.0 if nominal else score)
            ordered.append(not nominal)
            if nominal:
                p = spec.probabilities[code]
                sd = max(p * (1 - p), 1e-4) ** 0.5
                table[level, place + code], offset[place + code] = 1 / sd, -p / sd
            else:
                table[level, place] = score
            last = level + 1 == len(owners) or int(owners[level + 1]) != column
            place += (spec.features.stop - spec.features.start) if last else 0
        return cls(
            likelihoods.n_columns,
            (~finite).nonzero().squeeze(1),
            owners,
            torch.tensor(codes, dtype=torch.float32),
            statistics,
            torch.tensor(scores, dtype=torch.float32),
            torch.tensor(ordered, dtype=torch.bool),
            table,
            offset,
        )


class MaskModel(nn.Module, ABC):
    """``p(mask | x, z)`` of the columns that have a model.

    Parameters
    ----------
    columns : Columns
    selected : bool Tensor of shape (n_members, p)
        Columns that have a model, by member.
    """

    selected: Tensor

    def __init__(self, columns: Columns, selected: Tensor) -> None:
        super().__init__()
        self.columns = columns
        # Members may share one row in memory, to which states could not be restored.
        self.register_buffer("selected", selected.clone())

    @abstractmethod
    def log_prob(self, values: Values) -> Tensor:
        """Log-mass of every entry's mask at every sample, (n_members, batch, n_samples, p)."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """Negative log-prior, shape (n_members,)."""

    def level_logits(self) -> Tensor | None:
        """Log-odds of being hidden by level, (n_members, n_levels); None where it is not known."""
        return None

    def draw(self, values: Values, uniform: Tensor, noise: Tensor) -> Tensor:
        """Numbers given z and the mask, (n_members, batch, n_samples, m).

        Parameters
        ----------
        values : Values
        uniform : Tensor of shape (2, n_samples, m)
        noise : Tensor of shape (n_samples, m)
        """
        return values.completed


class SelfMasking(MaskModel):
    """Every value decides by itself: logistic in it, integrated out in closed form.

    Numbers on the scale on which they are normal, ordered levels by their code; levels without an
    order have a probability each. Unlike the not-MIWAE of Ipsen et al. (2021), whose logistic law
    this is, no hidden value is sampled in training.

    Parameters
    ----------
    columns, selected
        As in `MaskModel`.
    direction : Tensor of shape (n_members, p)
        1 where large values hide, -1 where small ones do.
    threshold : Tensor of shape (n_members, p)
        Where to start: on the scale of the features, half of the values hide here.
    scale : Tensor of shape (p,)
        Standard deviation of each column's features.
    step : bool Tensor of shape (p,)
        Columns whose threshold is a limit that stays where it is.
    slope : Tensor of shape (n_members,)
        Where to start, in standard deviations of the columns.
    """

    direction: Tensor
    scale: Tensor
    step: Tensor
    limit: Tensor
    numbers: Tensor
    finite: Tensor

    def __init__(
        self,
        columns: Columns,
        selected: Tensor,
        direction: Tensor,
        threshold: Tensor,
        scale: Tensor,
        step: Tensor,
        slope: Tensor,
    ) -> None:
        super().__init__(columns, selected)
        self.register_buffer("direction", direction.float().clone())
        self.register_buffer("scale", scale)
        self.register_buffer("step", step)
        self.register_buffer("limit", threshold.clone())
        # Only these need to be integrated out.
        numbers = selected.any(0)[columns.numeric].nonzero().squeeze(1)
        finite = torch.zeros(columns.n_columns, dtype=torch.bool)
        finite[columns.level_columns] = True
        self.register_buffer("numbers", numbers)
        self.register_buffer("finite", finite)
        self.threshold = nn.Parameter(threshold.clone())
        self.log_slope = nn.Parameter((slope[:, None] / scale).log())
        self.level_logit = nn.Parameter(torch.zeros(len(selected), len(columns.level_columns)))

    @property
    def slope(self) -> Tensor:
        """Of every column's log-odds, (n_members, p)."""
        free = self.log_slope.exp().clamp(max=STEEPEST)
        return self.direction * torch.where(self.step, STEP, free)

    def tilt(self, limits: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes and thresholds, both (n_members, 1, 1, m), by which numbers hide themselves."""
        threshold = torch.where(self.step, limits, self.threshold)
        numeric = self.columns.numeric
        return self.slope[:, None, None, numeric], threshold[:, None, None, numeric]

    def level_logits(self) -> Tensor:
        columns = self.columns
        at = columns.level_columns
        threshold = torch.where(self.step, self.limit, self.threshold)[:, at]
        ordered = self.slope[:, at] * (columns.level_scores - threshold)
        return torch.where(columns.ordered, ordered, self.level_logit)

    def log_prob(self, values: Values) -> Tensor:
        columns = self.columns
        out = values.location.new_zeros(*values.z.shape[:-1], columns.n_columns)
        sign = torch.where(values.missing, 1.0, -1.0)
        if len(self.numbers):
            column = columns.numeric[self.numbers]
            slope, threshold = (part[..., self.numbers] for part in self.tilt(values.limits))
            slope = sign[..., column] * slope
            known = logsigmoid(slope * (values.numbers[..., self.numbers] - threshold))
            location = values.location[..., self.numbers]
            unknown = log_share(slope, threshold, location, values.variance[..., self.numbers])
            seen = values.visible[..., column]
            out = out.index_copy(-1, column, torch.where(seen, known, unknown))
        at = columns.level_columns
        if len(at):
            share = torch.sigmoid(sign[..., at] * self.level_logits()[:, None, None])
            weight = torch.where(values.visible[..., at], values.codes, values.probabilities)
            total = torch.zeros_like(out).index_add(-1, at, weight * share)
            out = torch.where(self.finite, total.clamp(min=1e-30).log(), out)
        return out.where(self.selected[:, None, None], 0.0)

    def penalty(self) -> Tensor:
        # On the scale on which columns have unit variance a slope means the same everywhere.
        away = (self.log_slope + (self.scale / USUAL_SLOPE).log()) / SLOPE_SPREAD
        prior = 0.5 * away.square().where(self.selected, 0.0).sum(-1)
        return prior + 0.5 * self.level_logit.square().sum(-1)

    def draw(self, values: Values, uniform: Tensor, noise: Tensor) -> Tensor:
        numeric = self.columns.numeric
        slope, threshold = self.tilt(values.limits)
        sign = torch.where(values.missing[..., numeric], 1.0, -1.0)
        tilted = hidden_value(
            sign * slope,
            threshold,
            values.location,
            values.variance,
            uniform[0],
            uniform[1],
            noise,
        )
        return tilted.where(self.selected[:, None, None, numeric], values.completed)


class NetworkMasking(MaskModel):
    """Log-odds of every column's holes by a network, or a linear law, of what all columns share."""

    law: MemberMLP

    def penalty(self) -> Tensor:
        return torch.stack(
            [0.5 * weight.square().sum((-2, -1)) for weight in self.law.weights]
        ).sum(0)

    def _of_logits(self, logits: Tensor, values: Values) -> Tensor:
        """Log-mass of the mask by log-odds of being hidden (..., p)."""
        log_mass = logsigmoid(torch.where(values.missing, logits, -logits))
        return log_mass.where(self.selected[:, None, None], 0.0)


class ConnectedMasking(NetworkMasking):
    """Every value may have a say in every column's hole: logistic, or a network.

    Hidden numbers are drawn, hidden levels stand as their probabilities (Ipsen et al. 2021).

    Parameters
    ----------
    columns, selected
        As in `MaskModel`.
    hidden_layer_sizes : sequence of int
        Of the network; empty for a logistic law.
    generator : torch.Generator
    """

    def __init__(
        self,
        columns: Columns,
        selected: Tensor,
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__(columns, selected)
        width = len(columns.numeric) + len(columns.feature_offset)
        sizes = [width, *hidden_layer_sizes, columns.n_columns]
        self.law = MemberMLP(len(selected), sizes, generator)

    def log_prob(self, values: Values) -> Tensor:
        columns = self.columns
        seen = values.visible[..., columns.level_columns]
        levels = torch.where(seen, values.codes, values.probabilities)
        finite = levels @ columns.level_features + columns.feature_offset
        row = torch.cat([values.completed, finite], -1)
        logits = self.law(row.flatten(1, 2)).unflatten(1, row.shape[1:3])
        return self._of_logits(logits, values)


class LatentMasking(NetworkMasking):
    """Holes have the causes that values have: log-odds are a network of ``z``.

    As in Collier et al. (2020).

    Parameters as in `ConnectedMasking`.
    """

    def __init__(
        self,
        columns: Columns,
        selected: Tensor,
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__(columns, selected)
        sizes = [n_components, *hidden_layer_sizes, columns.n_columns]
        self.law = MemberMLP(len(selected), sizes, generator)

    def log_prob(self, values: Values) -> Tensor:
        logits = self.law(values.z.flatten(1, 2)).unflatten(1, values.z.shape[1:3])
        return self._of_logits(logits, values)
