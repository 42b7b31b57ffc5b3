"""Generative models."""

from skvae.models.complete import solve_linear_vae
from skvae.models.linear import LinearVAE, choose_n_components, fit_linear_vae
from skvae.models.posterior import Posterior
from skvae.models.vae import VAE

__all__ = [
    "VAE",
    "LinearVAE",
    "Posterior",
    "choose_n_components",
    "fit_linear_vae",
    "solve_linear_vae",
]
