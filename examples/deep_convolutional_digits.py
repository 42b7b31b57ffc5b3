"""A small very deep convolutional VAE of digits, from your own torch modules.

Three stochastic layers live on grids of 4 x 4, 2 x 2 and 1 x 1. The decoder goes down from the
coarsest: nearest-neighbour upsampling, add the next layer's latents, convolve (Child 2021). The
library adds the heads, the priors between the layers, the bound and scikit-learn's interface.

On so few and so small images the finest grid does nearly all of the work and dense networks do as
well: the divergences that are printed by layer say so.
"""

import argparse

import matplotlib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from skvae import VAETransformer

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Channels of each grid, the one next to the data first.
GRIDS = ((4, 1), (2, 2), (1, 6))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="deep_convolutional_digits.png")
    parser.add_argument("--max-iter", type=int, default=2500)
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    # Pixels that are always white would be left out, and the grid with them: a trace of noise.
    X = X + np.random.default_rng(0).uniform(0, 0.5, X.shape)
    train, test = train_test_split(X, test_size=1 / 3, random_state=0, stratify=y)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder, decoder = Encoder(16), Decoder(8)
    shared = {"max_iter": args.max_iter, "n_importance_samples": 2, "random_state": 0}
    models = {
        "three convolutional layers": VAETransformer(
            SIZES,
            hierarchy="skip",
            layer_inference="top_down",
            encoder=encoder,
            decoder=decoder,
            **shared,
        ),
        "one layer, dense networks": VAETransformer(16, **shared),
    }
    for name, model in models.items():
        model.fit(train)
        print(f"{name}: mean log-density of held-out digits {model.score(test):.1f} nats,", end=" ")
        print("divergence by layer", np.round(model.layer_divergences_, 1).tolist())

    deep = models["three convolutional layers"]
    figure, axes = plt.subplots(1, 3, figsize=(15, 5), layout="constrained")
    rows = {
        "held-out digits": test[:100],
        "what the latents keep of them": deep.reconstruct(test[:100]),
        "new digits": deep.sample(100, random_state=0),
    }
    for ax, (title, images) in zip(axes, rows.items(), strict=True):
        grid = np.pad(images.reshape(10, 10, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
        ax.imshow(grid.transpose(0, 2, 1, 3).reshape(100, 100), cmap="gray_r", vmin=0, vmax=16)
        ax.set(title=title, xticks=[], yticks=[])
    figure.savefig(args.out, dpi=110)
    print(f"picture in {args.out}")


if __name__ == "__main__":
    main()
