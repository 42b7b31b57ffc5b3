"""Generative models."""

from skvae.models.linear import LinearVAE, choose_n_components, fit_linear_vae
from skvae.models.vae import VAE, Posterior

__all__ = ["VAE", "LinearVAE", "Posterior", "choose_n_components", "fit_linear_vae"]
