"""
Latents that mean something
===========================

What does each latent mean, and would another fit find the same? Wine: thirteen columns of
chemistry, and cultivars that no model is told. A sparse decoder says which columns hang on which
latent. But a latent deserves a name only if other rows and another seed give it back, so every
model is fitted again, five times: sparse, plain and linear VAEs beside scikit-learn's PCA and
factor analysis.
"""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import KFold, cross_val_score

from skvae import VAETransformer
from skvae.inspection import (
    IdentifiabilityDisplay,
    LoadingsDisplay,
    identifiability,
    match_latents,
    mean_correlation_coefficient,
)

FOLDS = KFold(5, shuffle=True, random_state=0)
N_REFITS = 5
# A latent below this loading explains less than 1 % of the column's variance.
NEAR_ZERO = 0.1

# %%
# How many latents?
# -----------------
# As many factors as make held-out wines most likely. Columns are standardised, so that likelihoods
# of all models are of one unit.

wines, cultivar = load_wine(return_X_y=True, as_frame=True)
wines = (wines - wines.mean()) / wines.std(ddof=0)
likelihoods = {k: cross_val_score(FactorAnalysis(k), wines, cv=FOLDS).mean() for k in range(1, 8)}
k = max(likelihoods, key=likelihoods.__getitem__)
print(f"{len(wines)} wines, {wines.shape[1]} columns; held-out wines ask for {k} factors")

# %%
# What hangs on which latent?
# ---------------------------
# Loadings are standard deviations that a latent moves each column by; grey cells are exactly zero.
# The first latent is about phenols, the second about alcohol and proline, the third about ash, the
# fourth about colour.

sparse = VAETransformer(k, decoder="sparse", random_state=0).fit(wines)
names = [f"latent {j}" for j in range(k)]
hanging = sparse.loadings_.set_axis(names, axis=1)
display = LoadingsDisplay(hanging).plot()
print("\nsparse loadings: standard deviations that a latent moves each column by")
print(display.ordered_.round(2).to_string(na_rep="", index_names=False))
plt.show()

# %%
# Do refits find the same latents?
# --------------------------------
# Five refits, each from another start and to another 80 % of the wines. A latent that comes back is
# stable. By chance alone the correlations would be high, too, with so few latents: the dotted line.

report = identifiability(sparse, wines, N_REFITS)
IdentifiabilityDisplay(report).plot()
plt.show()

# %%
# All are stable, so they may be put into words.


def say_meaning(loadings: pd.DataFrame, anchors: list[list], verdicts: pd.Series) -> None:
    """Columns of each latent in words, the most moved first."""
    for (latent, column), alone, verdict in zip(loadings.items(), anchors, verdicts, strict=True):
        moved = column[column.abs().sort_values(ascending=False).index]
        more, less = moved.index[moved > 0], moved.index[moved < 0]
        print(f"  {latent} ({verdict})")
        for what, columns in {"more": more, "less": less, "moved by it alone:": alone}.items():
            if len(columns):
                print(f"    {what} {', '.join(columns)}")


print("\nin words")
say_meaning(hanging, list(sparse.anchor_columns_.values()), report.latents["verdict"])

# %%
# What do they tell about the wines?
# ----------------------------------
# The model never saw the cultivars, and yet three of the four latents differ most between them.

latents = pd.DataFrame(sparse.transform(wines), wines.index, names)
groups = latents.groupby(cultivar.map(lambda c: f"cultivar {c}"))
between = groups.transform("mean").var(ddof=0) / latents.var(ddof=0)
print("\nmean latents by cultivar, which the model never saw")
print(pd.concat([groups.mean(), between.to_frame("share between").T]).round(2).to_string())

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax, (across, up) in zip(axes, [(0, 1), (3, 2)], strict=True):
    for (name, group), marker, colour in zip(
        groups, "os^", ("tab:blue", "tab:orange", "0.3"), strict=True
    ):
        style = {"s": 22, "color": colour, "marker": marker, "label": name}
        ax.scatter(group.iloc[:, across], group.iloc[:, up], **style)
    ax.set(xlabel=names[across], ylabel=names[up])
axes[1].legend()
plt.show()

# %%
# Other models
# ------------
# The same questions to plain and linear VAEs, PCA and factor analysis with varimax. Each is fitted
# again five times for its agreement, and to five folds for the likelihood of the wines left out and
# the number of loadings that are near zero.


def refits(model: BaseEstimator) -> tuple[float, float]:
    """Agreement of fits as `identifiability` has it, for models that are not from here.

    Every fit sees another 80 % of the wines, the first one all. Latents of all wines are compared.
    """
    random = np.random.default_rng(0)
    latents = [clone(model).fit(wines).transform(wines)]
    for _ in range(N_REFITS):
        rows = random.permutation(len(wines))[: round(0.8 * len(wines))]
        latents.append(clone(model).fit(wines.iloc[rows]).transform(wines))
    pairs = list(combinations(latents, 2))
    return (
        float(np.mean([mean_correlation_coefficient(*pair) for pair in pairs])),
        float(np.mean([mean_correlation_coefficient(*pair, linear=True) for pair in pairs])),
    )


def fits_to_folds(model: BaseEstimator) -> tuple[float, list[BaseEstimator]]:
    """Mean log-likelihood of the wines left out, and the five fits, each with its own seed."""
    fits, scores = [], []
    for seed, (train, test) in enumerate(FOLDS.split(wines)):
        fit = clone(model).set_params(random_state=seed).fit(wines.iloc[train])
        fits.append(fit)
        scores.append(fit.score(wines.iloc[test]))
    return float(np.mean(scores)), fits


def loadings(model: BaseEstimator) -> np.ndarray:
    """Standard deviations that a latent moves each column by."""
    if isinstance(model, VAETransformer):
        return model.loadings_.to_numpy()
    if isinstance(model, PCA):
        return model.components_.T * np.sqrt(model.explained_variance_)
    return model.components_.T


models = {
    "sparse VAE": sparse,
    "plain VAE": VAETransformer(k, random_state=0).fit(wines),
    "linear VAE": VAETransformer(k, hidden_layer_sizes=(), random_state=0).fit(wines),
    "PCA": PCA(k),
    "factors, varimax": FactorAnalysis(k, rotation="varimax"),
}
reports, folds, table = {"sparse VAE": report}, {}, {}
for name, model in models.items():
    if isinstance(model, VAETransformer):
        if name not in reports:
            reports[name] = identifiability(model, wines, N_REFITS)
        agreement = reports[name].mcc, reports[name].linear_mcc
    else:
        agreement = refits(model)
    likelihood, folds[name] = fits_to_folds(model)
    small = np.array([np.abs(loadings(fit)) < NEAR_ZERO for fit in folds[name]])
    shares = 100 * small.mean(axis=(1, 2))
    table[name] = {
        "agreement": f"{agreement[0]:.2f}",
        "after linear": f"{agreement[1]:.2f}",
        "near zero": f"{shares.mean():.0f} % ({shares.min():.0f} to {shares.max():.0f})",
        "single": ((~small).sum(axis=2) == 1).sum(axis=1).mean().round(1),
        "likelihood": f"{likelihood:.2f}",
    }

print(f"\n{N_REFITS} refits, each to another 80 % of the wines")
for name, one in reports.items():
    print(f"  {name}: {one.verdict}")

# %%
# Plain networks find the same space, but its axes turn. Linear axes come back about as well as
# sparse ones, those of varimax better and those of PCA less; but most columns hang on several of
# them. What the sparse model adds is columns that speak for one latent alone.

print(f"\nagreement between fits, by chance {report.chance_mcc:.2f}, and after linear maps;")
print(f"share of loadings below {NEAR_ZERO} (least and most in five fits), number of columns with")
print("a single larger one; log-density of held-out wines, in nats a wine")
print(pd.DataFrame(table).T.to_string())

# %%
# How far to trust the zeros
# --------------------------
# Which small loadings are exactly zero differs between fits even where latents do not, so that is
# counted. The large ones are always there.

moved = loadings(sparse) != 0
counts = np.zeros(moved.shape, dtype=int)
for fit in folds["sparse VAE"]:  # its latents in the order of the first fit's
    match = match_latents(sparse.transform(wines), fit.transform(wines))
    counts += loadings(fit)[:, match.columns[np.argsort(match.rows)]] != 0
print(f"\nin five fits to parts of the wines, {(counts[moved] == 5).sum()} of these", end=" ")
print(f"{moved.sum()} loadings are never zero;\nof the {(~moved).sum()} zeros", end=" ")
print(f"{(counts[~moved] <= 2).sum()} are zero in most, {(counts[~moved] == 0).sum()} in all")
