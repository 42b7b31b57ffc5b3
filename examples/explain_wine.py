"""What does each latent mean, and would another fit find the same?

Wine: thirteen columns of chemistry, and cultivars that no model is told. A sparse decoder says
which columns hang on which latent. But a latent deserves a name only if other rows and another
seed give it back, so every model is fitted again, five times: sparse, plain and linear VAEs beside
scikit-learn's PCA and factor analysis. One table says how far latents come back, how much there is
to read, and how likely held-out wines are.

Plain networks find the same space, but its axes turn. Linear axes come back about as well as sparse
ones, those of varimax better and those of PCA less; but most columns hang on several of them, and
held-out wines are less likely. What is exactly zero in a sparse fit differs between fits even where
latents do not, so that is counted. With `--out`, the sparse loadings and what of the latents comes
back are drawn.
"""

import argparse
from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import KFold, cross_val_score

from skvae import VAETransformer
from skvae.datasets import ampute
from skvae.inspection import (
    IdentifiabilityDisplay,
    LoadingsDisplay,
    identifiability,
    match_latents,
    mean_correlation_coefficient,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDS = KFold(5, shuffle=True, random_state=0)
N_REFITS = 5
# A latent below this loading explains less than 1 % of the column's variance.
NEAR_ZERO = 0.1


def most_likely_number(wines: pd.DataFrame) -> int:
    """Of factors: the number under which factor analysis expects held-out wines most."""
    scores = {k: cross_val_score(FactorAnalysis(k), wines, cv=FOLDS).mean() for k in range(1, 8)}
    return max(scores, key=scores.__getitem__)


def refits(model: BaseEstimator, wines: pd.DataFrame) -> tuple[float, float]:
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


def fits_to_folds(model: BaseEstimator, wines: pd.DataFrame) -> tuple[float, list[BaseEstimator]]:
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


def like(first: BaseEstimator, other: BaseEstimator, wines: pd.DataFrame) -> np.ndarray:
    """Loadings of the other fit, its latents in the order of the first one's."""
    match = match_latents(first.transform(wines), other.transform(wines))
    return loadings(other)[:, match.columns[np.argsort(match.rows)]]


def say_meaning(loadings: pd.DataFrame, anchors: list[list], verdicts: pd.Series) -> None:
    """Columns of each latent in words, the most moved first."""
    for (latent, column), alone, verdict in zip(loadings.items(), anchors, verdicts, strict=True):
        moved = column[column.abs().sort_values(ascending=False).index]
        more, less = moved.index[moved > 0], moved.index[moved < 0]
        print(f"  {latent} ({verdict})")
        for what, columns in {"more": more, "less": less, "moved by it alone:": alone}.items():
            if len(columns):
                print(f"    {what} {', '.join(columns)}")


def by_cultivar(latents: pd.DataFrame, cultivar: pd.Series) -> pd.DataFrame:
    """Mean latents of each cultivar, and the share of the variance that lies between them."""
    groups = latents.groupby(cultivar)
    between = groups.transform("mean").var(ddof=0) / latents.var(ddof=0)
    return pd.concat([groups.mean(), between.to_frame("share between").T])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="file for the picture; none is drawn without")
    args = parser.parse_args()

    wines, cultivar = load_wine(return_X_y=True, as_frame=True)
    wines = (wines - wines.mean()) / wines.std(ddof=0)  # so that likelihoods are of one unit
    k = most_likely_number(wines)
    print(f"{len(wines)} wines, {wines.shape[1]} columns; held-out wines ask for {k} factors")

    models = {
        "sparse VAE": VAETransformer(k, decoder="sparse", random_state=0),
        "plain VAE": VAETransformer(k, random_state=0),
        "linear VAE": VAETransformer(k, hidden_layer_sizes=(), random_state=0),
        "PCA": PCA(k),
        "factors, varimax": FactorAnalysis(k, rotation="varimax"),
    }
    reports, folds, table = {}, {}, {}
    for name, model in models.items():
        model.fit(wines)
        if isinstance(model, VAETransformer):
            reports[name] = report = identifiability(model, wines, N_REFITS)
            agreement = report.mcc, report.linear_mcc
        else:
            agreement = refits(model, wines)
        likelihood, folds[name] = fits_to_folds(model, wines)
        small = np.array([np.abs(loadings(fit)) < NEAR_ZERO for fit in folds[name]])
        shares = 100 * small.mean(axis=(1, 2))
        table[name] = {
            "agreement": f"{agreement[0]:.2f}",
            "after linear": f"{agreement[1]:.2f}",
            "near zero": f"{shares.mean():.0f} % ({shares.min():.0f} to {shares.max():.0f})",
            "single": ((~small).sum(axis=2) == 1).sum(axis=1).mean().round(1),
            "likelihood": f"{likelihood:.2f}",
        }

    sparse, report = models["sparse VAE"], reports["sparse VAE"]
    names = [f"latent {j}" for j in range(k)]
    hanging = sparse.loadings_.set_axis(names, axis=1)
    figure, axes = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    shown = LoadingsDisplay(hanging).plot(axes[0])
    print("\nsparse loadings: standard deviations that a latent moves each column by")
    print(shown.ordered_.round(2).to_string(na_rep="", index_names=False))
    print("\nin words")
    say_meaning(hanging, list(sparse.anchor_columns_.values()), report.latents["verdict"])

    moved = loadings(sparse) != 0
    counts = np.array([like(sparse, fit, wines) != 0 for fit in folds["sparse VAE"]]).sum(axis=0)
    print(f"\nin five fits to parts of the wines, {(counts[moved] == 5).sum()} of these", end=" ")
    print(f"{moved.sum()} loadings are never zero;\nof the {(~moved).sum()} zeros", end=" ")
    print(f"{(counts[~moved] <= 2).sum()} are zero in most, {(counts[~moved] == 0).sum()} in all")

    latents = pd.DataFrame(sparse.transform(wines), wines.index, names)
    named = cultivar.map(lambda c: f"cultivar {c}")
    print("\nmean latents by cultivar, which the model never saw")
    print(by_cultivar(latents, named).round(2).to_string())

    print(f"\n{N_REFITS} refits, each to another 80 % of the wines")
    for name, one in reports.items():
        print(f"  {name}: {one.verdict}")
    print(f"\nagreement between fits, by chance {report.chance_mcc:.2f}, and after linear maps;")
    print(
        f"share of loadings below {NEAR_ZERO} (least and most in five fits), number of columns with"
    )
    print("a single larger one; log-density of held-out wines, in nats a wine")
    print(pd.DataFrame(table).T.to_string())

    holed = clone(sparse).fit(ampute(wines, "mcar", rate=0.1, random_state=0))
    latents_match = match_latents(latents, holed.transform(wines)).mean
    change = np.abs(np.abs(like(sparse, holed, wines)) - np.abs(loadings(sparse)))
    print(
        f"\nfitted with a tenth of the cells hidden: latents correlate {latents_match:.2f} with "
        f"those above,\nloadings differ by {change.mean():.2f} on average"
    )

    if args.out:
        IdentifiabilityDisplay(report).plot(axes[1])
        figure.savefig(args.out, dpi=100)
        print(f"\npicture in {args.out}")


if __name__ == "__main__":
    main()
