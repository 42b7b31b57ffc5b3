"""Kernel ridge regression: its closed forms, and what it chooses by leaving rows out."""

import pytest
import torch

from skvae.inference import kernel
from skvae.inference.kernel import KernelRegression, fit_kernel_regression, squares


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ones(n):
    return torch.ones(n, dtype=torch.float64)


@pytest.fixture
def one_setting(monkeypatch):
    """No choice of width and penalty."""
    monkeypatch.setattr(kernel, "WIDTHS", (1.0,))
    monkeypatch.setattr(kernel, "PENALTIES", (0.1,))


def test_squared_distances():
    a, b = normal(4, 3), normal(5, 3, seed=1)
    assert torch.allclose(squares(a, b), torch.cdist(a, b).square(), atol=1e-10)


def test_the_prediction_is_that_of_kernel_ridge_regression(one_setting):
    from sklearn.kernel_ridge import KernelRidge

    x, new = normal(40, 3), normal(7, 3, seed=1)
    y = normal(40, 2, seed=2)
    found = fit_kernel_regression(x, y, ones(40))
    peer = KernelRidge(alpha=0.1, kernel="rbf", gamma=1 / found.width)
    mean = y.mean(0).numpy()
    expected = peer.fit(x.numpy(), y.numpy() - mean).predict(new.numpy()) + mean
    assert torch.allclose(found.predict(new), torch.from_numpy(expected), atol=1e-8)


@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_the_choice_is_that_of_leaving_every_row_out(noise):
    x = normal(30, 2)
    y = (x[:, :1] * 2).sin() + noise * normal(30, 1, seed=1)
    centred, root = y - y.mean(0), ones(30).unsqueeze(1)
    away = squares(x, x)
    unit = float(away[away > 1e-9].median())
    errors = {}
    for width in kernel.WIDTHS:
        gram = (-away / (width * unit)).exp()
        for penalty in kernel.PENALTIES:
            total = 0.0
            for i in range(30):
                rest = torch.arange(30) != i
                some = gram[rest][:, rest] + penalty * torch.eye(29, dtype=torch.float64)
                guess = gram[i, rest] @ torch.linalg.solve(some, centred[rest])
                total += float((guess - centred[i]).square().sum())
            errors[width * unit, penalty] = total
    width, penalty = kernel._choose(x, centred, root)
    best = min(errors, key=errors.get)
    assert (width, penalty) == pytest.approx(best)


def test_a_weight_of_two_is_a_row_twice(one_setting):
    x, y, new = normal(30, 2), normal(30, 1, seed=1), normal(5, 2, seed=2)
    heavy = fit_kernel_regression(x, y, 2 * ones(30))
    twice = fit_kernel_regression(torch.cat([x, x]), torch.cat([y, y]), ones(60))
    assert torch.allclose(heavy.predict(new), twice.predict(new), atol=1e-8)


def test_a_weight_of_nothing_is_no_row(one_setting):
    x, y, new = normal(30, 2), normal(30, 1, seed=1), normal(5, 2, seed=2)
    weight = ones(30)
    weight[20:] = 0.0
    found = fit_kernel_regression(x, y, weight)
    other = y.clone()
    other[20:] = 1e3
    assert torch.allclose(found.predict(new), fit_kernel_regression(x, other, weight).predict(new))


def test_parts_of_many_rows_are_put_together(monkeypatch):
    found = fit_kernel_regression(normal(30, 2), normal(30, 1, seed=1), ones(30))
    new = normal(11, 2, seed=2)
    whole = found.predict(new)
    monkeypatch.setattr(kernel, "ROWS_AT_ONCE", 4)
    assert torch.allclose(found.predict(new), whole)


def test_points_that_are_all_the_same_give_the_mean():
    y = normal(15, 2)
    found = fit_kernel_regression(torch.zeros(15, 3, dtype=torch.float64), y, ones(15))
    assert isinstance(found, KernelRegression)
    assert torch.allclose(
        found.predict(torch.zeros(2, 3, dtype=torch.float64)), y.mean(0), atol=0.1
    )
