"""Training with few labels: what may reach whom, and what the bound is."""

import math
from dataclasses import replace

import pytest
import torch

from skvae.models.context import Context
from skvae.models.semi_supervised import Auxiliary, ClassConditionalVAE, LabelNetworks
from skvae.training.labels import Labels, LatentRows, TableRows
from skvae.training.semi_supervised import (
    SemiSupervisedSettings,
    SemiSupervisedTrainer,
)

SETTINGS = SemiSupervisedSettings(
    classifier_weight=1.0,
    beta=1.0,
    n_importance_samples=1,
    max_iter=8,
    batch_size=16,
    learning_rate=5e-3,
    weight_decay=0.1,
    early_stopping=True,
    validation_fraction=0.1,
    n_iter_no_change=8,
    tol=1e-3,
)
CLASSES = 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_labels(n, n_folds=2, n_known=20):
    codes = torch.full((n,), -1)
    codes[:n_known] = torch.arange(n_known) % CLASSES
    fold = torch.full((n,), -1)
    fold[:n_known] = torch.arange(n_known) % n_folds
    even = torch.full((CLASSES,), 1 / CLASSES)
    return Labels(codes, fold, torch.ones(n), even, even, torch.full((n, CLASSES), 1 / CLASSES))


def make_trainer(toys, data=None, labels=None, auxiliary=False, model=True, **settings):
    """On the mixed table, with a class-conditional model whose classes differ a little."""
    data = data or toys.mixed_tensors()
    n, q = data.features.shape
    labels = labels or some_labels(n)
    vectors = data.features.masked_fill(~data.observed.index_select(1, data.feature_columns), 0.0)
    context = Context(CLASSES + 2 * auxiliary, False, None)
    vae = toys.mixed_vae(toys.mixed_tensors(), n_members=1, n_replicas=1, context=context)
    own = Auxiliary(q, vae.n_components, CLASSES, 2, (5,), seeded(), False) if auxiliary else None
    networks = LabelNetworks(
        torch.zeros(4, q, CLASSES), torch.zeros(4, CLASSES), (5,), seeded(), 2 * auxiliary
    )
    return SemiSupervisedTrainer(
        ClassConditionalVAE(vae, own) if model else None,
        networks,
        TableRows(data, vectors.unsqueeze(0)),
        labels,
        replace(SETTINGS, **settings),
        seeded(),
    )


def gradients(trainer):
    trainer.generator.manual_seed(5)
    loss = trainer.loss()
    parameters = [p for module in trainer.modules for p in module.parameters()]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss.detach(), [g for g in found if g is not None]


@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize("garbage", [1e6, math.nan])
def test_hidden_values_reach_neither_loss_nor_gradient(toys, auxiliary, garbage):
    data = toys.mixed_tensors()
    hidden = ~data.observed
    dirty = replace(
        data,
        features=data.features.masked_fill(hidden.index_select(1, data.feature_columns), garbage),
        targets=data.targets.masked_fill(hidden, garbage),
    )
    clean = gradients(make_trainer(toys, data, auxiliary=auxiliary))
    other = gradients(make_trainer(toys, dirty, auxiliary=auxiliary))
    assert torch.isfinite(clean[0])
    assert torch.equal(clean[0], other[0])
    assert all(torch.equal(a, b) for a, b in zip(clean[1], other[1], strict=True))


def test_the_bound_is_tight_where_q_is_the_posterior(toys):
    """``sum_y q (L + log p - log q)`` is ``log sum_y p exp L`` at the best q, else less."""
    trainer = make_trainer(toys)
    rows = torch.arange(30, 46)
    hidden = trainer.source.draw(rows, seeded())
    label = trainer.eye.repeat(len(rows), 1)

    def bounds():
        trainer.generator.manual_seed(1)
        return trainer._bound(hidden.repeated(CLASSES), label, None).view(-1, CLASSES)

    joint = bounds() + trainer.labels.prior.log()
    exact = joint.logsumexp(1).mean()

    def bound(log_q):
        trainer.generator.manual_seed(1)
        # Two members judge and one model follows: three times the bound.
        return trainer._bound_without_labels(
            rows, hidden, (None, torch.zeros(len(rows))), log_q.expand(2, -1, -1)
        )

    best = joint.log_softmax(1)
    entropy = -(best.exp() * best).sum(1).mean()
    prior = (best.exp() * trainer.labels.prior.log()).sum(1).mean()
    assert float(bound(best) + entropy + prior) == pytest.approx(3 * float(exact), rel=1e-4)
    other = torch.randn(len(rows), CLASSES, generator=seeded(2)).log_softmax(1)
    entropy = -(other.exp() * other).sum(1).mean()
    prior = (other.exp() * trainer.labels.prior.log()).sum(1).mean()
    assert float(bound(other) + entropy + prior) < 3 * float(exact)


def test_members_without_the_bound_never_see_their_fold(toys):
    labels = some_labels(60)
    changed = labels.codes.clone()
    apart = labels.fold == 0
    changed[apart] = (changed[apart] + 1) % CLASSES
    settings = {"early_stopping": False, "max_iter": 5}
    one = make_trainer(toys, labels=labels, model=False, **settings)
    two = make_trainer(toys, labels=replace(labels, codes=changed), model=False, **settings)
    one.fit(), two.fit()
    x = torch.randn(10, one.networks.weight.shape[1], generator=seeded(3))
    assert torch.allclose(one.networks(x)[0], two.networks(x)[0], atol=1e-6)
    assert not torch.allclose(one.networks(x)[1], two.networks(x)[1], atol=1e-6)


def test_fit_restores_the_best_state(toys):
    trainer = make_trainer(toys, max_iter=20)
    history = trainer.fit()
    assert history.n_iter == 20
    assert len(history.scores) == 20
    assert all(math.isfinite(score) for pair in history.scores for score in pair)
    apart = (trainer.labels.fold >= 0).nonzero().squeeze(1)
    vectors = trainer.source.draw(apart, seeded()).vectors
    best = max(labels for _, labels in history.scores)
    assert trainer._held_out_labels(apart, vectors) == pytest.approx(best, rel=1e-5)


def test_a_loss_that_is_no_number_ends_the_fit(toys):
    trainer = make_trainer(toys, max_iter=20)
    with torch.no_grad():
        trainer.networks.bias[3] = math.nan
    history = trainer.fit()
    assert history.recovered
    assert history.n_iter == 0


def test_latent_rows_are_drawn_anew():
    source = LatentRows(torch.zeros(4, 3), torch.ones(4, 3), 2)
    generator, rows = seeded(), torch.arange(4)
    one, two = source.draw(rows, generator), source.draw(rows, generator)
    assert not torch.equal(one.features, two.features)
    assert torch.equal(one.features, one.vectors[:, :2])
    assert one.observed.all()
