"""Fits side by side in the workers of joblib."""

import joblib
import numpy as np
import torch
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer


def test_parallel_jobs_share_the_threads_out():
    """The workers have their share from joblib, and fits leave it alone there as here."""

    def threads_after_fit(fitted, X, y=None):
        import torch

        return torch.get_num_threads()

    X = np.random.default_rng(0).normal(size=(40, 3))
    model = VAETransformer(1, hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    here = torch.get_num_threads()
    search = GridSearchCV(
        model, {"beta": [0.5, 1.0]}, scoring=threads_after_fit, cv=2, n_jobs=2, refit=False
    ).fit(X)
    share = max(1, joblib.cpu_count() // 2)
    threads = [search.cv_results_[f"split{i}_test_score"] for i in range(2)]
    assert 1 <= np.min(threads) <= np.max(threads) <= share
    assert torch.get_num_threads() == here
    model.fit(X)
    assert torch.get_num_threads() == here
