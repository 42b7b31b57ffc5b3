"""Halves of digits: the bottom drawn from the top, though few training digits have both.

One training digit in twenty is whole, of every other only one half, by chance, is there. Uniform
noise on the ink, whole numbers from 0 to 16, makes log-densities comparable and leaves no pixel
constant. The bottoms of test digits are predicted, drawn and scored given their tops; ridge
regression on the whole digits does the same. The picture is written to `digit_halves.png`, or
where `--out` says.
"""

import argparse

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skvae import MultimodalVAE

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TOP, BOTTOM = slice(0, 32), slice(32, 64)
HALVES = {"top": TOP, "bottom": BOTTOM}


def hide_halves(X: np.ndarray, whole: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One half of every digit that is not to stay whole is NaN."""
    lost = np.where(whole, -1, random.integers(2, size=len(X)))
    return np.where(lost[:, None] == np.repeat([0, 1], 32), np.nan, X)


def draw_picture(X: np.ndarray, bottoms: list[np.ndarray], titles: list[str], path: str) -> None:
    """A digit a row; a column each for the truth and for every bottom put under its top."""
    figure, axes = plt.subplots(
        len(X), 1 + len(bottoms), figsize=(7, 9), layout="constrained", squeeze=False
    )
    for place, bottom in enumerate([X[:, BOTTOM], *bottoms]):
        images = np.hstack([X[:, TOP], bottom]).reshape(-1, 8, 8)
        for ax, image in zip(axes[:, place], images, strict=True):
            ax.imshow(image, cmap="gray_r", vmin=0.5, vmax=16.5)
            ax.set(xticks=[], yticks=[])
            if place:
                ax.axhline(3.5, color="tab:red")
        axes[0, place].set_title(titles[place], fontsize=9)
    figure.suptitle("above the red line given, below it predicted", fontsize=10)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="digit_halves.png")
    parser.add_argument("--whole", type=float, default=0.05, help="share of whole training digits")
    args = parser.parse_args()

    random = np.random.default_rng(0)
    X, y = load_digits(return_X_y=True)
    X = X + random.random(X.shape)
    X, test, _, test_y = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    whole = random.random(len(X)) < args.whole
    shown = hide_halves(X, whole, random)
    print(f"{len(X)} training digits, {whole.sum()} of them whole; {len(test)} test digits")

    models = {
        "on all digits": MultimodalVAE(HALVES, random_state=0).fit(shown),
        "on whole ones": MultimodalVAE(HALVES, random_state=0).fit(X[whole]),
    }
    truth = test[:, BOTTOM]
    ridge = RidgeCV(np.logspace(-1, 5, 20)).fit(X[whole, TOP], X[whole, BOTTOM])
    score = r2_score(truth, ridge.predict(test[:, TOP]), multioutput="variance_weighted")
    print(f"\nR2 of bottoms from tops\n  ridge on whole ones: {score:.3f}")
    for name, model in models.items():
        guess = model.predict(test, target="bottom")
        score = r2_score(truth, guess, multioutput="variance_weighted")
        print(f"  MultimodalVAE {name}: {score:.3f}")

    only_bottom = test.copy()
    only_bottom[:, TOP] = np.nan
    print("\nlog-density of a bottom in nats (mean, median): given its top, and by itself")
    for name, model in models.items():
        told = model.score_samples(test, target="bottom", given="top")
        alone = model.score_samples(only_bottom)
        print(
            f"  MultimodalVAE {name}: {told.mean():.1f}, {np.median(told):.1f} and "
            f"{alone.mean():.1f}, {np.median(alone):.1f}"
        )

    model = models["on all digits"]
    draws = np.stack(model.sample_conditional(test, "bottom", 100, random_state=0))
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    covered = ((low < truth) & (truth < high)).mean()
    print(f"\npixels within 90 % intervals of 100 draws: {covered:.1%}")

    picked = np.array([np.flatnonzero(test_y == digit)[0] for digit in range(10)])
    bottoms = [model.predict(test[picked], target="bottom"), *draws[:5, picked]]
    titles = ["true digit", "mean", *[f"draw {n}" for n in range(1, 6)]]
    draw_picture(test[picked], bottoms, titles, args.out)
    print(f"picture: {args.out}")


if __name__ == "__main__":
    main()
