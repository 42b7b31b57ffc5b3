"""Tune an imputer and a classifier together, and compare with scikit-learn's imputers.

Breast cancer data with 40 % of the entries hidden. Each imputer sits in a pipeline in front of
the same classifier; a grid search chooses the imputer's and the classifier's settings by
cross-validated log-loss, and the test rows, which have holes too, are filled without refitting.
"""

import time
import warnings

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

CANDIDATES = {
    "SimpleImputer": (SimpleImputer(), {"imputer__strategy": ["mean", "median"]}),
    "IterativeImputer": (
        IterativeImputer(random_state=0),
        {"imputer__n_nearest_features": [None, 10]},
    ),
    "VAEImputer": (VAEImputer(random_state=0), {"imputer__n_components": [4, 8]}),
}


def search(imputer, grid) -> GridSearchCV:
    """A grid search over one imputer's settings and the classifier's penalty."""
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),  # holes pass through
            ("imputer", imputer),
            ("classify", LogisticRegression(max_iter=2000)),
        ]
    )
    return GridSearchCV(
        pipeline,
        {**grid, "classify__C": [0.1, 1.0]},
        scoring="neg_log_loss",
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        error_score="raise",
    )


def main() -> None:
    # IterativeImputer's ten rounds are its default; that they are few changes little here.
    warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn.impute")
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = ampute(X, mechanism="mcar", rate=0.4, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

    print(f"{'':18}{'log-loss':>9}{'log-loss':>10}{'accuracy':>10}{'seconds':>9}")
    print(f"{'':18}{'(cv)':>9}{'(test)':>10}{'(test)':>10}{'':9}   chosen")
    for name, (imputer, grid) in CANDIDATES.items():
        start = time.perf_counter()
        tuned = search(imputer, grid).fit(X_train, y_train)
        seconds = time.perf_counter() - start
        probability = tuned.predict_proba(X_test)
        chosen = {key.split("__")[1]: value for key, value in tuned.best_params_.items()}
        print(
            f"{name:18}{-tuned.best_score_:9.3f}{log_loss(y_test, probability):10.3f}"
            f"{accuracy_score(y_test, tuned.predict(X_test)):10.3f}{seconds:9.1f}   {chosen}"
        )


if __name__ == "__main__":
    main()
