"""What it means that latents come back in refits, or do not, and what to do about it."""

from __future__ import annotations

from typing import Any

import pandas as pd

# Mean correlation from which latents are the same ones.
STABLE = 0.9


def in_words(
    latents: pd.DataFrame,
    mcc: float,
    linear_mcc: float,
    chance: float,
    n_refits: int,
    estimator: Any,
) -> str:
    """The verdict on a whole model; arguments are those of the report."""
    active = latents[latents["verdict"] != "inactive"]
    stable = active.index[active["verdict"] == "stable"]
    k, n_stable = len(active), len(stable)
    same_space = k > 1 and linear_mcc >= STABLE  # a single axis has nowhere to turn
    figures = f"{mcc:.2f}, {linear_mcc:.2f} after a linear map"
    by_chance = f"axes turned at random would have {chance:.2f}"
    come = "comes" if n_stable == 1 else "come"
    if not k:
        return (
            "No latent is active: none depends on the row, so there is nothing that could come "
            "back. latent_report names remedies."
        )
    if n_stable == k:
        return (
            f"The latents are identified: {k} of {k} {come} back in refits (mean correlation "
            f"{mcc:.2f})."
        )
    # High correlations that so few refits do not tell from chance.
    n_open = int((active["correlation"] >= STABLE).sum()) - n_stable if mcc >= STABLE else 0
    more = f"Raise n_refits (now {n_refits}) to tell agreement from chance."
    if n_open == k:
        return f"Not decided: the latents agree ({figures}), but {by_chance}. {more}"
    if n_stable:
        rest = "turn within the same space" if same_space else "differ from fit to fit"
        said = (
            f"{n_stable} of {k} latents {come} back in refits: {', '.join(map(str, stable))}. The "
            f"others {rest} ({figures}): read nothing into them."
        )
    elif same_space:
        said = (
            f"Identified up to a linear map only: the same space, other axes ({figures}; "
            f"{by_chance})."
        )
    else:
        said = f"Not identified: refits find other spaces ({figures})."
    if n_open:
        said = f"{said} {more}"
    return f"{said} {_fix_axes(estimator) if same_space else _fix_space(estimator)}"


def _fix_axes(estimator: Any) -> str:
    """What to do where only the axes differ."""
    params = estimator.get_params(deep=False)
    if estimator._latent.model.encoder is None:
        if params["rotation"] == "random":
            return "For axes that stay: rotation='principal' or 'varimax'."
        return "Axes that weigh about the same turn into each other: try fewer n_components."
    stay = "for axes that stay: the principal ones of hidden_layer_sizes=()."
    told = params["condition_on"] is not None and params["conditioning"] == "prior"
    if params["decoder"] is None and not told:
        return (
            "For axes that mean something: decoder='sparse', or conditioning='prior' with columns "
            f"in condition_on that tell groups of rows apart; {stay}"
        )
    return f"F{stay[1:]}"


def _fix_space(estimator: Any) -> str:
    """What to do where the spaces differ."""
    if estimator.n_components_ == 1:
        return "Try more rows."
    return "Try more rows, or fewer n_components."
