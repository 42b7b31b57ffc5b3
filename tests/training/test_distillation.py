"""Students: they learn their own teacher, from the rows that count."""

import pytest
import torch

from skvae.models.semi_supervised import LabelNetworks
from skvae.training.distillation import Lessons, distil
from skvae.training.labels import LatentRows

N, WIDTH, CLASSES = 400, 3, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def taught(teachers, weight=None, learning_rate=0.01):
    """Students of teachers (n_members, N, CLASSES), and the rows that they read."""
    mean = torch.randn(N, WIDTH, generator=seeded(1))
    n_members = len(teachers(mean))
    students = LabelNetworks(
        torch.zeros(n_members, WIDTH, CLASSES), torch.zeros(n_members, CLASSES), (16,), seeded()
    )
    lessons = Lessons(
        torch.arange(N), teachers(mean), torch.ones(N) if weight is None else weight(mean)
    )
    source = LatentRows(mean, torch.full((N, WIDTH), 0.01), WIDTH)
    finite = distil(students, source, lessons, 400, 64, learning_rate, seeded(2))
    return finite, students, mean


def one_hot(first):
    return torch.stack([first, ~first], dim=-1).float()


def test_students_learn_their_own_teacher():
    """One is told about a circle, which no linear start can draw, the other about a sign."""

    def teachers(x):
        return torch.stack([one_hot(x.square().sum(1) < 2.4), one_hot(x[:, 0] > 0)])

    finite, students, mean = taught(teachers)
    assert finite
    agree = (students(mean).argmax(-1) == teachers(mean).argmax(-1)).float().mean(1)
    assert agree.min() > 0.85
    assert agree[1] > 0.9


def test_noise_makes_students_unsure_near_borders_alone():
    def teachers(x):
        return one_hot(x[:, 0] > 0)[None]

    _, students, _ = taught(teachers)
    places = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 0.0]])
    p = students(places).exp()[0, :, 0]
    assert p[0] > 0.97
    assert p[1] == pytest.approx(0.5, abs=0.15)
    assert p[2] < 0.03


def test_rows_without_weight_teach_nothing():
    def teachers(x):  # says the opposite where x1 > 0
        return one_hot((x[:, 0] > 0) ^ (x[:, 1] > 0))[None]

    _, students, mean = taught(teachers, weight=lambda x: (x[:, 1] < 0).float())
    mine = mean[:, 1] < 0
    wrong = students(mean)[0].argmax(-1) != teachers(mean)[0].argmax(-1)
    assert wrong[mine].float().mean() < 0.12
    assert wrong[~mine].float().mean() > 0.7


def test_divergence_is_told():
    finite, _, _ = taught(lambda x: one_hot(x[:, 0] > 0)[None], learning_rate=1e30)
    assert not finite
