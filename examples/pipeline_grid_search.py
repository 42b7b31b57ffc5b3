"""
Tune an imputer and a classifier together
=========================================

Which imputer, and which of its settings, serve a classifier best? Each imputer sits in a pipeline
in front of the same classifier; a grid search chooses the settings of both by cross-validated
log-loss, and test rows, which have holes too, are filled without refitting.
"""

import tempfile
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAEImputer
from skvae.datasets import ampute

# %%
# A table with holes
# ------------------
# Thirty measures of 569 breast tumours, two entries in five of them hidden.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = ampute(X, mechanism="mcar", rate=0.4, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Search
# ------
# ``VAEImputer`` is asked whether networks on top of its linear start pay here; without any it is
# factor analysis, fitted in a moment. Fits of a pipeline's imputer are remembered in a folder, or
# every setting of the classifier would have the same imputer fitted again.
#
# ``VAEImputer`` and chained regressions are about as good, and better than means. Networks do not
# pay for this classifier, and the search says so.

candidates = {
    "SimpleImputer": (SimpleImputer(), {"imputer__strategy": ["mean", "median"]}),
    "IterativeImputer": (
        IterativeImputer(random_state=0),
        {"imputer__n_nearest_features": [None, 10]},
    ),
    "VAEImputer": (VAEImputer(random_state=0), {"imputer__hidden_layer_sizes": [(), "auto"]}),
}
# IterativeImputer's ten rounds are its default; that they are few changes little here.
warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn.impute")


def search(imputer: object, grid: dict[str, list], folder: str) -> GridSearchCV:
    """A grid search over one imputer's settings and the classifier's penalty."""
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),  # holes pass through
            ("imputer", imputer),
            ("classify", LogisticRegression(max_iter=2000)),
        ],
        memory=folder,
    )
    return GridSearchCV(
        pipeline,
        {**grid, "classify__C": [0.1, 1.0]},
        scoring="neg_log_loss",
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        error_score="raise",
    )


results = []
print(f"{'':18}{'log-loss':>9}{'log-loss':>10}{'accuracy':>10}{'seconds':>9}")
print(f"{'':18}{'(cv)':>9}{'(test)':>10}{'(test)':>10}{'':9}   chosen")
for name, (imputer, grid) in candidates.items():
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tuned = search(imputer, grid, folder).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    results.append(pd.DataFrame(tuned.cv_results_).assign(imputer=name))
    loss = log_loss(y_test, tuned.predict_proba(X_test))
    right = accuracy_score(y_test, tuned.predict(X_test))
    chosen = {key.split("__")[1]: value for key, value in tuned.best_params_.items()}
    print(f"{name:18}{-tuned.best_score_:9.3f}{loss:10.3f}{right:10.3f}{seconds:9.1f}   {chosen}")

# %%
# All settings: the mean over the folds, and small, each fold. Between folds the log-loss differs
# more than between the better imputers.

table = pd.concat(results)
folds = -table.filter(regex="^split").to_numpy()
penalty = np.array([setting["classify__C"] for setting in table["params"]])
names = [
    f"{imputer}\n" + ", ".join(f"{k.split('__')[1]}={v}" for k, v in setting.items() if "imp" in k)
    for imputer, setting in zip(table["imputer"], table["params"], strict=True)
]
places = pd.factorize(np.array(names))[0]

figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
marks = {0.1: ("s", "tab:orange", 0.15), 1.0: ("o", "tab:blue", -0.15)}
for C, (marker, colour, shift) in marks.items():
    at, style = penalty == C, {"linestyle": "none", "marker": marker, "color": colour}
    ax.plot(folds[at].mean(axis=1), places[at] + shift, markersize=9, label=f"C={C}", **style)
    for fold in folds[at].T:
        ax.plot(fold, places[at] + shift, markersize=4, alpha=0.5, **style)
ax.set_yticks(range(len(set(names))), dict.fromkeys(names))
ax.invert_yaxis()
ax.set(xlabel="log-loss in nats a row, cross-validated; less is better")
ax.legend(title="classifier", loc="lower right")
plt.show()
