"""Digits as a picture: a map of the latents, walks, new digits, digits on demand, arithmetic.

Two models are fitted to scikit-learn's digits, one of the images alone and one of the images
given their label. The picture is written to `digits_latents.png`, or where `--out` says.
"""

import argparse

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from skvae import VAETransformer
from skvae.inspection import LatentMapDisplay, latent_report

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FORMS = ("decoder", "prior", "both")


def show(ax: plt.Axes, rows: np.ndarray, n_columns: int, title: str) -> None:
    """Images of 8 x 8 side by side, row after row."""
    images = np.asarray(rows, dtype=float)[:, :64].reshape(-1, n_columns, 8, 8)
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=8)
    whole = np.concatenate([np.concatenate(list(line), axis=1) for line in framed])
    ax.imshow(whole, cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=title, xticks=[], yticks=[])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="digits_latents.png")
    parser.add_argument("--max-iter", type=int, help="steps of each fit, fewer for a quick look")
    args = parser.parse_args()
    steps = args.max_iter or "auto"

    X, y = load_digits(return_X_y=True)
    X, other, y, other_y = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    critic = SVC(C=10).fit(other, other_y)  # never sees what the models are fitted to
    print(f"a classifier of real digits is right on {critic.score(X, y):.1%} of the others")

    model = VAETransformer(16, max_iter=steps, random_state=0).fit(X)
    print(f"\nmean log-density of held-out digits: {model.score(other):.2f} nats")
    print(latent_report(model, other).verdict)

    table = np.column_stack([X, y])  # the label is one more column
    labels = np.repeat(np.arange(10), 100)
    given = {}
    print("\nshare of new digits that the classifier takes for the label they were given")
    for form in FORMS:
        given[form] = VAETransformer(
            24,
            condition_on=[64],
            conditioning=form,
            column_types={64: "categorical"},
            max_iter=steps,
            random_state=0,
        ).fit(table)
        drawn = given[form].sample(1000, condition=labels[:, None], random_state=0)
        print(f"  conditioning={form!r:10} {(critic.predict(drawn[:, :64]) == labels).mean():.1%}")

    figure, axes = plt.subplots(2, 3, figsize=(15, 10), layout="constrained")
    LatentMapDisplay.from_estimator(model, X, y, ax=axes[0, 0], s=8)
    axes[0, 0].set_title("two of the latent dimensions")
    show(axes[0, 1], model.sample(100, random_state=0), 10, "new digits")

    starts = np.array([np.flatnonzero(y == digit)[0] for digit in range(10)])
    path = model.interpolate(X[starts], X[np.roll(starts, -1)], 10, method="spherical")
    show(axes[0, 2], path, 10, "walks from each digit to the next")

    on_demand = given["both"].sample(
        100, condition=np.tile(np.arange(10), 10)[:, None], random_state=0
    )
    show(axes[1, 0], on_demand, 10, "digits on demand, 0 to 9")

    hands = table[starts]
    as_others = [given["decoder"].counterfactual(hands, condition=[[d]]) for d in range(10)]
    columns = np.stack(as_others, axis=1).reshape(-1, 65)
    show(axes[1, 1], columns, 10, "one hand a row, another digit a column")

    ink = X.sum(axis=1)
    boldness = model.attribute_direction(X, ink > np.median(ink))
    strengths = np.linspace(-3, 3, 10)
    bolder = np.stack([model.shift(X[starts], boldness, s) for s in strengths], axis=1)
    show(axes[1, 2], bolder.reshape(-1, 64), 10, "thinner to bolder, along one direction")
    figure.savefig(args.out, dpi=110)
    print(f"\npicture in {args.out}")


if __name__ == "__main__":
    main()
