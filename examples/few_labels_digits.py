"""Few labels on digits: accuracy against their number, and digits drawn for each class.

Half of scikit-learn's digits train, with 2 to 40 labels of each class, half test. The others are
logistic regression and a random forest on the labelled digits, and label spreading on all. The
picture is written to `few_labels_digits.png`, or where `--out` says.
"""

import argparse
import warnings

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading

from skvae import SemiSupervisedVAEClassifier

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def hide_labels(y: np.ndarray, per_class: int) -> np.ndarray:
    """So many labels of each class, -1 for the others."""
    known = np.full(len(y), -1)
    for label in range(10):
        rows = np.flatnonzero(y == label)[:per_class]
        known[rows] = label
    return known


def accuracies(X: np.ndarray, known: np.ndarray, test: np.ndarray, y: np.ndarray) -> dict:
    """Of every classifier on test digits, and the semi-supervised one itself."""
    labelled = known >= 0
    model = SemiSupervisedVAEClassifier(random_state=0).fit(X, known)
    spreading = LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that no label reaches
        spreading.fit(X, known)
    scores = {
        "SemiSupervisedVAEClassifier": model.score(test, y),
        "LabelSpreading": spreading.score(test, y),
    }
    for peer in (LogisticRegression(max_iter=5000), RandomForestClassifier(300, random_state=0)):
        scores[type(peer).__name__] = peer.fit(X[labelled] / 16, known[labelled]).score(
            test / 16, y
        )
    return {"model": model, "scores": scores}


def draw_picture(found: dict[int, dict], path: str) -> None:
    """Accuracy against labels, and digits drawn for each class by the last model."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    counts = [10 * n for n in found]
    for name in next(iter(found.values()))["scores"]:
        line = [found[n]["scores"][name] for n in found]
        axes[0].plot(counts, line, marker="o", label=name)
    axes[0].set(xscale="log", xlabel="labels in all", ylabel="accuracy on test digits")
    axes[0].set_xticks(counts, [str(n) for n in counts])
    axes[0].minorticks_off()
    axes[0].legend()
    model = found[max(found)]["model"]
    drawn = model.sample(100, y=np.repeat(np.arange(10), 10), random_state=0)
    framed = np.pad(drawn.reshape(10, 10, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    axes[1].imshow(framed.transpose(0, 2, 1, 3).reshape(100, 100), cmap="gray_r")
    axes[1].set(title="ten digits drawn for each class", xticks=[], yticks=[])
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="few_labels_digits.png")
    parser.add_argument("--per-class", default="2,5,10,20,40", help="labels of each class")
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X, test, y, test_y = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
    found = {}
    for n in map(int, args.per_class.split(",")):
        found[n] = accuracies(X, hide_labels(y, n), test, test_y)
        scores = "  ".join(f"{name} {score:.3f}" for name, score in found[n]["scores"].items())
        print(f"{10 * n:4d} labels: {scores}", flush=True)
    draw_picture(found, args.out)
    print(f"picture: {args.out}")


if __name__ == "__main__":
    main()
