"""Which parameters of `VAETransformer` contradict each other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from skvae.tabular.callers import user_level

# Sufficient statistics of a Gaussian: of each latent, given the condition.
GAUSSIAN_STATISTICS = 2


def check_combinations(estimator: Any, hidden: tuple[int, ...], layers: tuple[int, ...]) -> None:
    """Raise where parameters contradict each other.

    Parameters
    ----------
    estimator : VAETransformer
    hidden, layers : tuple of int
        Hidden and stochastic layers.

    Raises
    ------
    ValueError
        Naming the parameters and the remedy.
    """
    by_prior = estimator.conditioning != "decoder"
    if by_prior and estimator.condition_on is None:
        raise ValueError(
            f"conditioning={estimator.conditioning!r} needs a condition: name columns in "
            "condition_on."
        )
    sparse = isinstance(estimator.decoder, str)
    if not hidden:
        needing = {
            f"beta={estimator.beta!r} with noise={estimator.noise!r}": estimator.beta != 1
            and (isinstance(estimator.noise, str) or estimator.beta == 0),
            f"prior={estimator.prior!r}": estimator.prior != "normal",
            f"n_components={estimator.n_components!r}": bool(layers),
            f"conditioning={estimator.conditioning!r}": by_prior,
            f"inference={estimator.inference!r}": estimator.inference == "posterior_matching",
            "encoder": estimator.encoder is not None,
            "decoder='sparse'" if sparse else "decoder": estimator.decoder is not None,
        }
        for what, given in needing.items():
            if given:
                raise ValueError(f"{what} is for the networks; hidden_layer_sizes=() has none.")
    if estimator.prior != "normal" and (layers or by_prior):
        why = "Several stochastic layers" if layers else "Conditions of the prior"
        raise ValueError(f"{why} make a prior of their own: leave prior='normal'.")
    if estimator.free_bits and estimator.n_importance_samples > 1 and estimator.beta == 1:
        raise ValueError(
            "free_bits is defined for the ELBO: set n_importance_samples=1, or free_bits=0."
        )
    if sparse:
        _check_sparse(estimator, layers, by_prior)


def _check_sparse(estimator: Any, layers: tuple[int, ...], by_prior: bool) -> None:
    prior, conditioning = estimator.prior, estimator.conditioning
    remedies = {
        "several stochastic layers have no loadings: give n_components as one number": layers,
        f"prior={prior!r} has axes of its own: leave prior='normal'": prior != "normal",
        f"conditioning={conditioning!r} finds axes by itself: take conditioning='decoder', or "
        "another decoder": by_prior,
        "held-out rows decide which loadings are zero: leave early_stopping=True": (
            not estimator.early_stopping
        ),
    }
    for remedy, needed in remedies.items():
        if needed:
            raise ValueError(f"decoder='sparse' cannot be combined: {remedy}.")


def warn_of_no_zeros() -> None:
    """Say that a sparse decoder is not."""
    warnings.warn(
        "No loading of decoder='sparse' became zero: the rows are too few, or training too short "
        "(max_iter), to do without any.",
        UserWarning,
        stacklevel=user_level(),
    )


def warn_of_few_conditions(context: np.ndarray, n_components: int) -> None:
    """Say where the condition takes too few values to identify the latents.

    Khemakhem et al. (2020), theorem 1: ``n_components`` times the number of sufficient statistics
    plus one different values of the condition, whose priors differ in all directions.
    """
    counts = np.unique(context, axis=0, return_counts=True)[1]
    # Groups of a single row say nothing of their spread; of a continuous condition all are.
    n_distinct = len(counts) if (counts == 1).all() else int((counts > 1).sum())
    needed = GAUSSIAN_STATISTICS * n_components + 1
    if n_distinct >= needed:
        return
    most = (n_distinct - 1) // GAUSSIAN_STATISTICS
    fewer = f"Lower n_components to {most}, or condition" if most else "Condition"
    warnings.warn(
        f"The columns of condition_on take {n_distinct} different values together in several rows "
        f"each, fewer than the 2 * n_components + 1 = {needed} that identify as many latents as "
        f"n_components={n_components}: refits may find other axes. {fewer} on more columns.",
        UserWarning,
        stacklevel=user_level(),
    )
