"""
How many labels do digits need?
===============================

How does accuracy grow with the number of labels, and is the semi-supervised classifier worth its
time? A third of scikit-learn's digits train, with 2, 10 or 20 labels of each class, two thirds
test. The others are logistic regression and a random forest on the labelled digits, and label
spreading on all.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading

from skvae import SemiSupervisedVAEClassifier

# %%
# Hide labels
# -----------
# So many of each class are known; ``-1`` stands for the others, as in scikit-learn's own
# semi-supervised classifiers. Ink is scaled to between 0 and 1.

X, y = load_digits(return_X_y=True)
X, test, y, test_y = train_test_split(X / 16, y, test_size=2 / 3, random_state=0, stratify=y)


def hide_labels(per_class: int) -> np.ndarray:
    """The first labels of each class, -1 for the others."""
    known = np.full(len(y), -1)
    for label in range(10):
        known[np.flatnonzero(y == label)[:per_class]] = label
    return known


# %%
# Fit and compare
# ---------------
# Both classifiers that see all digits need far fewer labels than those that see the labelled ones
# alone. Up to 100 labels plain ``LabelSpreading`` is ahead, and it is quick: pixels of one scale
# are what its distances are made for. With more labels the two are close. ``max_iter`` is there to
# be quick.

accuracy = {}
for per_class in (2, 10, 20):
    known = hide_labels(per_class)
    model = SemiSupervisedVAEClassifier(max_iter=250, random_state=0).fit(X, known)
    spreading = LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that no label reaches
        spreading.fit(X, known)
    scores = {type(m).__name__: m.score(test, test_y) for m in (model, spreading)}
    for peer in (LogisticRegression(max_iter=5000), RandomForestClassifier(300, random_state=0)):
        peer.fit(X[known >= 0], known[known >= 0])
        scores[type(peer).__name__] = peer.score(test, test_y)
    accuracy[10 * per_class] = scores
accuracy = pd.DataFrame(accuracy).T.rename_axis("labels")
print(f"accuracy on {len(test)} test digits; {len(X)} train")
print(accuracy.round(3).to_string())

figure, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
colours = ("tab:blue", "tab:orange", "0.35", "0.6")
for name, marker, colour in zip(accuracy, "os^v", colours, strict=True):
    line = "-" if name in ("SemiSupervisedVAEClassifier", "LabelSpreading") else "--"
    ax.plot(accuracy[name], marker=marker, color=colour, linestyle=line, label=name)
ax.set(xscale="log", xlabel="labels in all", ylabel="accuracy on test digits")
ax.set_xticks(accuracy.index, [str(n) for n in accuracy.index])
ax.minorticks_off()
ax.legend(title="full lines also learn from digits without a label")
plt.show()

# %%
# What it has learnt of a class
# -----------------------------
# The classifier with 200 labels also draws digits: a column for each class.

drawn = model.sample(100, y=np.tile(np.arange(10), 10), random_state=0)
framed = np.pad(drawn.reshape(10, 10, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
ax.imshow(framed.transpose(0, 2, 1, 3).reshape(100, 100), cmap="gray_r", vmin=0, vmax=1)
ax.set_xticks(np.arange(10) * 10 + 4.5, [str(digit) for digit in range(10)])
ax.set(yticks=[], xlabel="class")
plt.show()
