"""
Your own torch modules as encoder and decoder
=============================================

Can the networks be mine? Any ``torch.nn.Module`` that turns features and mask into a vector, or
latents into a vector, is an encoder or a decoder. Here they make a small very deep convolutional
VAE: three stochastic layers live on grids of 4 x 4, 2 x 2 and 1 x 1, and the decoder goes down from
the coarsest: nearest-neighbour upsampling, add the next layer's latents, convolve (Child 2021). The
library adds the heads, the priors between the layers, the bound and scikit-learn's interface.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from skvae import VAETransformer

# %%
# The modules
# -----------
# Plain torch. The encoder is given features and mask, 64 pixels each, the decoder latents of all
# layers side by side, that next to the data first.

GRIDS = ((4, 1), (2, 2), (1, 6))  # side and channels of each
SIZES = tuple(side * side * channels for side, channels in GRIDS)


class Block(nn.Module):
    """Two convolutions around which the input goes on unchanged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class Encoder(nn.Module):
    """Features and mask of 64 pixels each, as two channels, to one vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, 3, padding=1),
            Block(width),
            nn.AvgPool2d(2),
            Block(width),
            nn.AvgPool2d(2),
            Block(width),
            nn.Flatten(),
        )

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        return self.layers(torch.stack([features, mask], dim=1).view(-1, 2, 8, 8))


class Decoder(nn.Module):
    """Latents of all grids to one vector, from the coarsest grid down."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.merge = nn.ModuleList(nn.Conv2d(channels, width, 1) for _, channels in GRIDS)
        self.blocks = nn.ModuleList(Block(width) for _ in GRIDS)
        self.last = Block(width)

    def forward(self, z: Tensor) -> Tensor:
        parts = z.split(SIZES, dim=1)
        x = z.new_zeros(len(z), self.width, 1, 1)
        for level in reversed(range(len(GRIDS))):
            side, channels = GRIDS[level]
            x = F.interpolate(x, size=side, mode="nearest")
            x = x + self.merge[level](parts[level].view(-1, channels, side, side))
            x = self.blocks[level](x)
        x = self.last(F.interpolate(x, scale_factor=2, mode="nearest"))
        return F.gelu(x).flatten(1)


# %%
# Fit them
# --------
# Beside a model with one layer and dense networks, for 700 steps each. On so few and so small
# images the dense networks do no worse, and the finest grid does nearly all of the work: the
# divergences by layer say so.

X, y = load_digits(return_X_y=True)
# Pixels that are always white would be left out, and the grid with them: a trace of noise.
X = X + np.random.default_rng(0).uniform(0, 0.5, X.shape)
train, test = train_test_split(X, test_size=1 / 3, random_state=0, stratify=y)

with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    encoder, decoder = Encoder(16), Decoder(8)
shared = {"max_iter": 700, "n_importance_samples": 2, "random_state": 0}
modules = {"encoder": encoder, "decoder": decoder}
deep = VAETransformer(SIZES, hierarchy="skip", layer_inference="top_down", **modules, **shared)
dense = VAETransformer(16, **shared)
for name, model in {"three layers, convolutions": deep, "one layer, dense": dense}.items():
    model.fit(train)
    print(f"{name}: mean log-density of held-out digits {model.score(test):.1f} nats,", end=" ")
    divergences = np.round(model.layer_divergences_, 1) + 0.0  # no minus before a zero
    print("divergence by layer", divergences.tolist())

# %%
# Held-out digits come back from the latents without their details, and new ones are drawn from the
# coarsest grid down.

figure, axes = plt.subplots(1, 3, figsize=(14, 5.2), layout="constrained")
rows = {
    "held-out digits": test[:100],
    "what the latents keep of them": deep.reconstruct(test[:100]),
    "new digits": deep.sample(100, random_state=0),
}
for ax, (title, images) in zip(axes, rows.items(), strict=True):
    grid = np.pad(images.reshape(10, 10, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    ax.imshow(grid.transpose(0, 2, 1, 3).reshape(100, 100), cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=title, xticks=[], yticks=[])
plt.show()
