"""
A map of the latents, and walks through them
============================================

Where do rows lie in latent space, and what lies between them? Of images the answer is a picture.
Three models are fitted to scikit-learn's digits, 8 x 8 pixels each: one with two latents, to be
drawn as a map; one with sixteen, to walk through; and one that is told the label. All learn for few
steps, to be quick; without ``max_iter`` they go on while held-out digits become more likely.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from skvae import VAETransformer
from skvae.inspection import LatentMapDisplay, TraversalDisplay, latent_report


def show(ax: plt.Axes, rows: np.ndarray, n_columns: int, title: str) -> None:
    """Images side by side, row after row."""
    images = np.asarray(rows, dtype=float)[:, :64].reshape(-1, n_columns, 8, 8)
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=8)
    whole = np.concatenate([np.concatenate(list(line), axis=1) for line in framed])
    ax.imshow(whole, cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=title, xticks=[], yticks=[])


X, y = load_digits(return_X_y=True)
X, other, y, other_y = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)

# %%
# A map
# -----
# On the left, the images where two latents place them. The model is not told what digit an image
# is, yet many digits have a country of their own. On the right, what the decoder makes of points on
# a grid over the same map: countries border on what looks alike.

flat = VAETransformer(2, n_importance_samples=1, max_iter=3000, random_state=0).fit(X)
figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
display = LatentMapDisplay.from_estimator(flat, X, y, components=(0, 1), s=12, ax=axes[0])
axes[0].get_legend().remove()
box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.4"}
for digit in range(10):  # colours alone do not tell ten groups apart
    middle = np.median(display.latents[y == digit], axis=0)
    axes[0].text(*middle, str(digit), weight="bold", ha="center", va="center", bbox=box)
axes[0].set_title("each number in the middle of its images")

reach = np.linspace(-2.4, 2.4, 15)
grid = np.stack(np.meshgrid(reach, reach[::-1]), axis=-1).reshape(-1, 2)
show(axes[1], flat.inverse_transform(grid), 15, "what lies where, from -2.4 to 2.4")
axes[1].set(xlabel="latent dimension 0", ylabel="latent dimension 1")
plt.show()

# %%
# Walks
# -----
# Sixteen latents keep more of an image. The report says whether all of them are in use. The picture
# walks along five, one at a time, from the mean of all digits to two standard deviations on either
# side.

model = VAETransformer(16, max_iter=2000, random_state=0).fit(X)
print(latent_report(model, other).verdict)

TraversalDisplay.from_estimator(model, X, image_shape=(8, 8), cmap="gray_r", vmin=0, vmax=16)
plt.show()

# %%
# Other walks lead from one row to another, or along an attribute: here from images with little ink
# to images with much, and the digit stays what it is. What lies on the way looks like digits, too,
# and so do most points that are drawn from the prior.

starts = np.array([np.flatnonzero(y == digit)[0] for digit in range(10)])
path = model.interpolate(X[starts], X[np.roll(starts, -1)], 10, method="spherical")
ink = X.sum(axis=1)
boldness = model.attribute_direction(X, ink > np.median(ink))
bolder = np.stack([model.shift(X[starts], boldness, s) for s in np.linspace(-3, 3, 10)], axis=1)

figure, axes = plt.subplots(1, 3, figsize=(14, 5.2), layout="constrained")
show(axes[0], path, 10, "from each digit to the next")
show(axes[1], bolder.reshape(-1, 64), 10, "thinner to bolder, along one direction")
show(axes[2], model.sample(100, random_state=0), 10, "new digits")
plt.show()

# %%
# Digits on demand
# ----------------
# The last model is given the label and draws the digit that it is asked for. A classifier that
# knows real digits only is asked what it takes the drawn ones for.

table = np.column_stack([X, y])  # the label is one more column
given = VAETransformer(
    24, condition_on=[64], column_types={64: "categorical"}, max_iter=2000, random_state=0
).fit(table)

critic = SVC(C=10).fit(other, other_y)
labels = np.tile(np.arange(10), 100)
drawn = given.sample(1000, condition=labels[:, None], random_state=0)[:, :64]
print(f"\na classifier is right on {critic.score(X, y):.1%} of real digits,")
print(f"and on {critic.score(drawn, labels):.1%} of digits drawn on demand")

figure, ax = plt.subplots(figsize=(5, 5.2), layout="constrained")
show(ax, drawn[:100], 10, "digits on demand, 0 to 9")
plt.show()
