"""The gamma sampler draws gamma variables."""

import numpy as np
import pytest
import torch
from scipy import stats

from skvae.distributions.sampling import standard_gamma


@pytest.mark.parametrize("shape", [0.05, 0.7, 1.0, 3.0, 500.0])
def test_gamma_draws_pass_kolmogorov_smirnov(shape):
    alpha = torch.full((5000,), shape, dtype=torch.float64)
    draws = standard_gamma(alpha, torch.Generator().manual_seed(0))
    assert stats.kstest(draws.numpy(), stats.gamma(shape).cdf).pvalue > 1e-3


def test_gamma_lets_nan_through_and_keeps_order():
    shape = torch.tensor([[1e6, float("nan")], [1e-3, 2.0]])
    draws = standard_gamma(shape, torch.Generator().manual_seed(0))
    assert np.isclose(draws[0, 0], 1e6, rtol=1e-2)
    assert torch.isnan(draws).tolist() == [[False, True], [False, False]]
    assert draws[1, 0] < 1
