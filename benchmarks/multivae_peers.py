"""Peers of the package MultiVae (written for 1.0.3), for multimodal.py.

16 latents, networks of 2 x 128 and 100 epochs. Its default decoder ends in a sigmoid and cannot fit
standardised columns, so that decoders here are Gaussian means (the unit variance is its default).
Absent views are passed through its IncompleteDataset, which JMVAE refuses: that one gets them
mean-filled. MVAE trains without sub-sampling, as its documentation advises for incomplete data.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _views import Fitted, Views
from multivae.data.datasets import IncompleteDataset, MultimodalBaseDataset
from multivae.models import (
    JMVAE,
    MVAE,
    MVTCAE,
    JMVAEConfig,
    MoPoE,
    MoPoEConfig,
    MVAEConfig,
    MVTCAEConfig,
)
from multivae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn.base_architectures import BaseDecoder, BaseEncoder
from torch import nn

N_LATENTS, WIDTH, N_EPOCHS, LEARNING_RATE = 16, 128, 100, 1e-3


def _layers(n_in: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())


class Encoder(BaseEncoder):
    """Mean and log-variance of the latents from one view."""

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.latent_dim = N_LATENTS
        self.layers = _layers(n_columns)
        self.mean, self.log_variance = nn.Linear(WIDTH, N_LATENTS), nn.Linear(WIDTH, N_LATENTS)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        h = self.layers(x)
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))


class Decoder(BaseDecoder):
    """Mean of one view, without bounds."""

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layers(N_LATENTS), nn.Linear(WIDTH, n_columns))

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


def peer(
    model_class: Any, config_class: Any, takes_holes: bool = True, **settings: Any
) -> Callable[[Views, int], Fitted]:
    """One of its models as a method."""

    def fit(views: Views, seed: int) -> Fitted:
        torch.manual_seed(seed)
        widths = {
            name: view.stop - view.start
            for name, view in zip(views.names, views.columns, strict=True)
        }
        config = config_class(
            n_modalities=len(widths),
            latent_dim=N_LATENTS,
            input_dims={name: (width,) for name, width in widths.items()},
            **settings,
        )
        encoders = nn.ModuleDict({name: Encoder(width) for name, width in widths.items()})
        decoders = nn.ModuleDict({name: Decoder(width) for name, width in widths.items()})
        model = model_class(config, encoders, decoders)
        model = train(model, dataset(views, views.X, takes_holes), seed)

        def predict(table: np.ndarray, j: int) -> np.ndarray:
            return decode(model, embed(model, views, table), views.names[j])

        return Fitted(predict, embed=lambda table: embed(model, views, table).numpy())

    return fit


def dataset(views: Views, table: np.ndarray, with_holes: bool) -> MultimodalBaseDataset:
    """Views by name, with masks where some are absent."""
    filled = torch.from_numpy(views.filled(table)).float()
    data = {n: filled[:, view] for n, view in zip(views.names, views.columns, strict=True)}
    present = {
        name: torch.from_numpy(~np.isnan(table[:, view.start]))
        for name, view in zip(views.names, views.columns, strict=True)
    }
    if with_holes and np.isnan(table).any():
        return IncompleteDataset(data, present)
    return MultimodalBaseDataset(data)


def train(model: Any, data: MultimodalBaseDataset, seed: int) -> Any:
    """By its own trainer, which keeps the model of the best epoch and likes to talk."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            open(os.devnull, "w") as sink,
            contextlib.redirect_stderr(sink),
            contextlib.redirect_stdout(sink),
        ):
            config = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=N_EPOCHS,
                learning_rate=LEARNING_RATE,
                seed=seed,
                no_cuda=True,
            )
            trainer = BaseTrainer(model, data, training_config=config)
            trainer.train()
    finally:
        logging.disable(level)
    return trainer._best_model.eval()


@torch.no_grad()
def embed(model: Any, views: Views, table: np.ndarray) -> torch.Tensor:
    """Posterior means; rows with the same views at once, as `encode` wants."""
    starts = [view.start for view in views.columns]
    patterns, which = np.unique(~np.isnan(table[:, starts]), axis=0, return_inverse=True)
    out = torch.empty(len(table), N_LATENTS)
    for k, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == k)
        names = [name for name, there in zip(views.names, pattern, strict=True) if there]
        data = dataset(views, table[rows], with_holes=False)
        out[rows] = model.encode(data, cond_mod=names, return_mean=True).z.reshape(len(rows), -1)
    return out


@torch.no_grad()
def decode(model: Any, latents: torch.Tensor, name: str) -> np.ndarray:
    return model.decoders[name](latents).reconstruction.numpy()


PEERS = {
    "MVAE": peer(MVAE, MVAEConfig, use_subsampling=False),
    "MVTCAE": peer(MVTCAE, MVTCAEConfig),
    "MoPoE": peer(MoPoE, MoPoEConfig),
    "JMVAE": peer(JMVAE, JMVAEConfig, takes_holes=False),
}
