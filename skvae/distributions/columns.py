"""The likelihoods of a whole table, column by column and yet without a loop over columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skvae.distributions.base import Likelihood
from skvae.distributions.finite import FiniteLikelihood
from skvae.distributions.sampling import fresh_generator


@dataclass(frozen=True)
class Group:
    """Columns that share a likelihood, and where their numbers are.

    Attributes
    ----------
    likelihood : Likelihood
    columns : LongTensor of shape (g,)
        Their places in the table, increasing.
    driven, free, statistics : slice
        Their part of the concatenated parameters and predictions; within it, the numbers of one
        column are neighbours.
    """

    likelihood: Likelihood
    columns: Tensor
    driven: slice
    free: slice
    statistics: slice


@dataclass(frozen=True)
class _Layout:
    """What of a group does not live on a device."""

    likelihood: Likelihood
    columns: tuple[int, ...]
    driven: slice
    free: slice
    statistics: slice

    @property
    def span(self) -> slice | None:
        """The columns as a slice, where they are neighbours: a view is cheaper than a gather."""
        first, last = self.columns[0], self.columns[-1]
        return slice(first, last + 1) if last - first + 1 == len(self.columns) else None


class ColumnLikelihoods(nn.Module):
    """The columns of one table: groups of columns that share a likelihood.

    Parameters and predictions are laid out group by group; `driven_columns`, `free_columns` and
    `stat_columns` say which column each number belongs to. Data and log-probabilities are always
    in column order. With a single kind of columns nothing is gathered, copied or reordered.

    Parameters
    ----------
    likelihoods : sequence of Likelihood
        One per column; equal ones form a group, in order of first appearance.

    Attributes
    ----------
    likelihoods : tuple of Likelihood
    n_columns, n_driven, n_free, n_statistics : int
        Total widths.
    driven_columns, free_columns, stat_columns : LongTensor
        The column of every number, shapes (n_driven,), (n_free,) and (n_statistics,). They move
        with the module and are no part of its state_dict.
    """

    driven_columns: Tensor
    free_columns: Tensor
    stat_columns: Tensor
    _order: Tensor
    _places: Tensor

    def __init__(self, likelihoods: Sequence[Likelihood]) -> None:
        super().__init__()
        self.likelihoods = tuple(likelihoods)
        if not self.likelihoods:
            raise ValueError("A table needs at least one column.")
        self.n_columns = len(self.likelihoods)
        members: dict[Likelihood, list[int]] = {}
        for column, likelihood in enumerate(self.likelihoods):
            members.setdefault(likelihood, []).append(column)

        layouts: list[_Layout] = []
        driven: list[int] = []
        free: list[int] = []
        statistics: list[int] = []
        for likelihood, columns in members.items():
            slices = []
            for owners, width in (
                (driven, likelihood.n_driven),
                (free, likelihood.n_free),
                (statistics, likelihood.n_statistics),
            ):
                start = len(owners)
                owners.extend(column for column in columns for _ in range(width))
                slices.append(slice(start, len(owners)))
            layouts.append(_Layout(likelihood, tuple(columns), *slices))
        self._layouts = tuple(layouts)
        self.n_driven, self.n_free, self.n_statistics = len(driven), len(free), len(statistics)

        order = [column for columns in members.values() for column in columns]
        places = sorted(range(self.n_columns), key=order.__getitem__)
        self._in_order = order == list(range(self.n_columns))
        for name, indices in (
            ("driven_columns", driven),
            ("free_columns", free),
            ("stat_columns", statistics),
            ("_order", order),
            ("_places", places),
        ):
            index = torch.tensor(indices, dtype=torch.long)
            self.register_buffer(name, index, persistent=False)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups; their column indices are on the module's device."""
        columns = self._order.split([len(layout.columns) for layout in self._layouts])
        return tuple(
            Group(layout.likelihood, index, layout.driven, layout.free, layout.statistics)
            for layout, index in zip(self._layouts, columns, strict=True)
        )

    @property
    def stat_order(self) -> Tensor:
        """Permutation that puts statistics in column order, shape (n_statistics,)."""
        return torch.argsort(self.stat_columns, stable=True)

    @property
    def finite(self) -> Tensor:
        """Which columns have finitely many values, bool of shape (n_columns,)."""
        kinds = [isinstance(likelihood, FiniteLikelihood) for likelihood in self.likelihoods]
        return torch.tensor(kinds, device=self.stat_columns.device)

    def log_prob(
        self, driven: Tensor, free: Tensor, x: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        """Log-density or log-mass of every entry.

        Parameters
        ----------
        driven : Tensor of shape (..., n_driven)
        free : Tensor of shape (..., n_free)
            Leading dimensions broadcast to those of `driven`.
        x : Tensor of shape (..., n_columns)
            Leading dimensions broadcast against those of `driven`.
        observed : bool Tensor of shape (..., n_columns), optional
            Entries where this is false count zero and have no gradient, whatever `x` holds there
            (NaN included).

        Returns
        -------
        Tensor of shape (..., n_columns)
        """
        if observed is not None:
            x = x.where(observed, 0.0)
        parts = [
            likelihood.log_prob(own_driven, own_free, own_x)
            for (likelihood, own_driven, own_free), own_x in zip(
                self._by_group(driven, free), self._columns(x), strict=True
            )
        ]
        log_prob = self._join(parts)
        return log_prob if observed is None else log_prob.where(observed, 0.0)

    def statistics(self, driven: Tensor, free: Tensor) -> Tensor:
        """Predictions that may be averaged over samples of ``z``, shape (..., n_statistics).

        The mean for numbers and counts, the ``C`` probabilities for categories.
        """
        parts = [
            likelihood.statistics(own_driven, own_free).flatten(-2)
            for likelihood, own_driven, own_free in self._by_group(driven, free)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def point(self, statistics: Tensor) -> Tensor:
        """One value per column from (averaged) statistics, shape (..., n_columns).

        The mean for numbers and counts, the most probable code for binary and nominal columns,
        the median code for ordered ones.
        """
        kinds = [layout.likelihood for layout in self._layouts]
        parts = self._split(statistics, [kind.n_statistics for kind in kinds], "statistics")
        return self._join([kind.point(part) for kind, part in zip(kinds, parts, strict=True)])

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        """One value per column given ``z``, shape (..., n_columns): `point` of `statistics`."""
        return self.point(self.statistics(driven, free))

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        """Variance of every column given ``z``, shape (..., n_columns); 0 for categories."""
        return self._join(
            [
                likelihood.variance(own_driven, own_free)
                if not isinstance(likelihood, FiniteLikelihood)
                else torch.zeros_like(own_driven[..., 0])
                for likelihood, own_driven, own_free in self._by_group(driven, free)
            ]
        )

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw per entry, shape (..., n_columns); see `Likelihood.sample`."""
        generator = fresh_generator(generator)
        return self._join(
            [
                likelihood.sample(own_driven, own_free, generator)
                for likelihood, own_driven, own_free in self._by_group(driven, free)
            ]
        )

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        """Driven parameters that fit each column alone, shape (n_driven,): a decoder's bias.

        Parameters
        ----------
        x : Tensor of shape (n, n_columns)
        observed : bool Tensor of shape (n, n_columns)
            Entries of `x` where this is false are never looked at.
        """
        data = zip(self._layouts, self._columns(x), self._columns(observed), strict=True)
        return torch.cat(
            [layout.likelihood.init_driven(*columns).flatten() for layout, *columns in data]
        )

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        """Free parameters to start from, shape (n_free,); arguments as in `init_driven`."""
        data = zip(self._layouts, self._columns(x), self._columns(observed), strict=True)
        return torch.cat(
            [layout.likelihood.init_free(*columns).flatten() for layout, *columns in data]
        )

    def extra_repr(self) -> str:
        return ", ".join(f"{len(layout.columns)} x {layout.likelihood}" for layout in self._layouts)

    def _by_group(
        self, driven: Tensor, free: Tensor
    ) -> Iterator[tuple[Likelihood, Tensor, Tensor]]:
        """Each group's likelihood with its parameters, (..., g, n_driven) and (..., g, n_free)."""
        kinds = [layout.likelihood for layout in self._layouts]
        driven_parts = self._split(driven, [kind.n_driven for kind in kinds], "driven")
        free_parts = self._split(free, [kind.n_free for kind in kinds], "free")
        return zip(kinds, driven_parts, free_parts, strict=True)

    def _split(self, values: Tensor, widths: list[int], name: str) -> list[Tensor]:
        """Each group's share of `values` (..., total), shape (..., g, width)."""
        counts = [len(layout.columns) for layout in self._layouts]
        totals = [count * width for count, width in zip(counts, widths, strict=True)]
        self._check(values, sum(totals), name)
        # One split instead of a slice per group: its gradient is one concatenation. And none at
        # all for a single group.
        parts = values.split(totals, dim=-1) if len(totals) > 1 else [values]
        return [
            part.unflatten(-1, (count, width))
            for part, count, width in zip(parts, counts, widths, strict=True)
        ]

    def _columns(self, x: Tensor) -> list[Tensor]:
        """Each group's columns of `x` (..., n_columns), shape (..., g)."""
        self._check(x, self.n_columns, "x")
        if len(self._layouts) == 1:
            return [x]
        return [
            x[..., layout.span] if layout.span else x.index_select(-1, group.columns)
            for layout, group in zip(self._layouts, self.groups, strict=True)
        ]

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Values per group, each (..., g), in column order."""
        if len(parts) == 1:
            return parts[0]
        joined = torch.cat(parts, dim=-1)
        return joined if self._in_order else joined.index_select(-1, self._places)

    @staticmethod
    def _check(values: Tensor, width: int, name: str) -> None:
        if values.shape[-1] != width:
            raise ValueError(f"{name} must have {width} entries per row, got {values.shape[-1]}.")
