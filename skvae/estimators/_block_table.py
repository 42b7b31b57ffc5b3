"""Methods of an estimator that holds one VAE of blocks: latents, blocks from blocks, densities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skvae.estimators._block_latent import BlockLatentModel
from skvae.estimators._latent import Rows
from skvae.estimators._latent_table import LatentTable, check_positive
from skvae.estimators._modalities import BlockTables, Modalities, is_blocks, warn_of_empty_rows
from skvae.tabular.table import as_table


class BlockTable(LatentTable):
    """What a fitted `BlockLatentModel` offers, in the user's tables and blocks."""

    _latent: BlockLatentModel
    _modalities: Modalities
    # How the blocks of a mapping make one table; None where fit was given a table.
    _tables: BlockTables | None

    # Latents --------------------------------------------------------------------------------

    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of ``q(z | x_o)``, wider where blocks are absent or disagree.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks

        Returns
        -------
        mean, std : ndarray of float64, shape (n_samples, n_components)
        """
        mean, deviation = super().posterior(X)
        return mean[:, : self.n_components_], deviation[:, : self.n_components_]

    def inverse_transform(self, Z: Any) -> Any:
        """The table that latents stand for; private latents are at their prior's mean.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)

        Returns
        -------
        DataFrame, ndarray of shape (n_samples, n_columns), or dict of blocks
            As given to fit, with its names and dtypes.
        """
        Z = self._check_latents(Z, "Z")
        n_private = self._latent.model.n_components - Z.shape[1]
        return self._decode(self._latent.decode(np.pad(Z, ((0, 0), (0, n_private)))), None)

    # Blocks from blocks ---------------------------------------------------------------------

    def predict(self, X: Any, target: Any = None) -> Any:
        """Blocks from the other blocks.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
            All columns seen at fit, NaN where there is nothing (``X.reindex(columns=...)`` adds
            those that a frame lacks); or a dict where one was fitted, which may leave blocks out.
            What it holds of the target is not looked at.
        target : str, list of them, or None, default=None
            Blocks to predict; None fills whatever is absent in X.

        Returns
        -------
        DataFrame or ndarray
            Columns of the target, or of the whole table for None (a dict of blocks where one was
            fitted): expected numbers and most probable categories, with the dtypes seen at fit.
        """
        if target is None:
            rows = self._rows(X)
            absent = ~self._modalities.present(rows.observed)
            expected = self._latent.expect(rows, absent)
            return self._decode(np.where(rows.observed, rows.values, expected), None, like=X)
        targets, rows, _ = self._conditioned(X, target, None)
        return self._block(self._latent.expect(rows, self._asked(targets, rows)), targets, X)

    def sample(
        self,
        n_samples: int = 1,
        *,
        source: str = "prior",
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """New rows with all blocks.

        Parameters
        ----------
        n_samples : int, default=1
        source : {"prior", "aggregated"}, default="prior"
            Draw ``z`` from the prior, or from the posteriors of training rows.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        DataFrame, ndarray of shape (n_samples, n_columns), or dict of blocks
            As given to fit, with its names and dtypes. Numbers of columns without negative values
            at fit are cut at 0.
        """
        return super().sample(n_samples, source=source, random_state=random_state)

    def sample_conditional(
        self,
        X: Any,
        target: Any,
        n_draws: int = 1,
        *,
        random_state: int | np.random.RandomState | None = None,
    ) -> list[Any]:
        """Draws of blocks given the other blocks.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        target : str or list of them
        n_draws : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        list of DataFrame or ndarray
            One table of the target's columns for each draw.
        """
        check_positive(n_draws, "n_draws")
        targets, rows, _ = self._conditioned(X, target, None)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        drawn = self._latent.draw(rows, self._asked(targets, rows), int(n_draws), seed)
        return [self._block(values, targets, X) for values in drawn]

    def score_samples(
        self,
        X: Any,
        *,
        target: Any = None,
        given: Any = None,
        method: str = "importance",
        n_samples: int = 256,
    ) -> np.ndarray:
        """Log-density of what rows show, or of some blocks given others.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        target : str, list of them, or None, default=None
            ``log p(target | given)`` instead of the joint density of all that is there.
        given : str, list of them, or None, default=None
            With a target: blocks to condition on, by default all others.
        method : {"importance", "prior", "elbo"}, default="importance"
            As of `VAETransformer.score_samples`; exact, whatever `n_samples`, for "importance"
            of a model without networks whose columns are all Gaussian.
        n_samples : int, default=256
            Of ``z`` for each row.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In nats and the units of the columns. A row without anything of the target scores 0.

        Notes
        -----
        Densities are those of the generative model: neither `fusion` nor `readout` changes them
        without networks. Compare these by `skvae.inspection.cross_prediction`.
        """
        if target is None:
            if given is not None:
                raise ValueError("given= needs a target=: which blocks should be scored?")
            return super().score_samples(X, method=method, n_samples=n_samples)
        targets, shown, rows = self._conditioned(X, target, given)
        asked = shown.observed | rows.only(self._modalities.columns(targets)).observed
        joint = self._log_prob(replace(rows, observed=asked), method, n_samples)
        return joint - self._log_prob(shown, method, n_samples)

    # Tables ---------------------------------------------------------------------------------

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self)
        rows = super()._rows(self._joined(X))
        warn_of_empty_rows(self._modalities.present(rows.observed))
        return rows

    def _joined(self, X: Any) -> Any:
        """One table of blocks given as a mapping."""
        if not is_blocks(X):
            return X
        check_is_fitted(self)
        if self._tables is not None:
            return self._tables.join(X)
        raise ValueError(
            "X is a mapping of blocks, but fit was given one table: give a table with the same "
            "columns."
        )

    def _conditioned(self, X: Any, target: Any, given: Any) -> tuple[list[int], Rows, Rows]:
        """Numbers of the target's blocks, rows that show what is conditioned on, whole rows."""
        check_is_fitted(self)
        modalities = self._modalities
        targets = modalities.numbers(target)
        if not targets:
            raise ValueError(f"target names no block; the blocks are {modalities.names}.")
        others = [b for b in range(len(modalities.names)) if b not in targets]
        if given is not None:
            others = modalities.numbers(given)
            both = [modalities.names[b] for b in others if b in targets]
            if both:
                raise ValueError(f"Blocks {both} are both target and given.")
        if not others:
            raise ValueError(
                f"There is nothing to condition on: target={target!r} leaves no other block."
            )
        rows = super()._rows(self._joined(X))
        shown = rows.only(modalities.columns(others))
        names = [modalities.names[b] for b in targets]
        warn_of_empty_rows(modalities.present(shown.observed)[:, others], names)
        return targets, shown, rows

    def _asked(self, targets: list[int], rows: Rows) -> np.ndarray:
        """Which blocks are asked for, the same for all rows, bool (n, n_blocks)."""
        asked = np.isin(np.arange(len(self._modalities.names)), targets)
        return np.tile(asked, (len(rows.values), 1))

    def _block(self, values: np.ndarray, targets: list[int], X: Any) -> Any:
        """The columns of blocks, of encoded rows, in their own order."""
        given = as_table(self._joined(X))
        table = self._codec.decode_all(values, like=replace(given, native=None))
        if self._tables is not None:
            blocks = self._tables.split(table)
            names = [self._modalities.names[b] for b in targets]
            return {n: blocks[n] for n in names} if len(names) > 1 else blocks[names[0]]
        kept = {int(j): place for place, j in enumerate(self._codec.kept)}
        places = [kept[j] for b in targets for j in self._modalities.places[b] if j in kept]
        if not isinstance(table, pd.DataFrame):
            return table[:, places]
        return given.as_given(table.iloc[:, places])

    def _decode(self, values: np.ndarray, given: Any, like: Any = None) -> Any:
        if self._tables is None:
            return super()._decode(values, given, like=like)
        return self._tables.split(self._codec.decode_all(values, like=self._joined(like)))
