"""
Halves of digits, though few rows have both
===========================================

Can one half of a row be drawn from the other, when hardly any training row has both? One training
digit in twenty is whole; of every other only one half, by chance, is there. The bottoms of test
digits are predicted, drawn and scored given their tops.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skvae import MultimodalVAE

# %%
# Two blocks of 32 pixels
# -----------------------
# Uniform noise on the ink, whole numbers from 0 to 16, makes log-densities comparable and leaves no
# pixel constant.

TOP, BOTTOM = slice(0, 32), slice(32, 64)
HALVES = {"top": TOP, "bottom": BOTTOM}

random = np.random.default_rng(0)
X, y = load_digits(return_X_y=True)
X = X + random.random(X.shape)
X, test, _, test_y = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
whole = random.random(len(X)) < 0.05
lost = np.where(whole, -1, random.integers(2, size=len(X)))  # the half that is hidden
shown = np.where(lost[:, None] == np.repeat([0, 1], 32), np.nan, X)
print(f"{len(X)} training digits, {whole.sum()} of them whole; {len(test)} test digits")

# %%
# What do halves add?
# -------------------
# One model learns from all digits, one from the whole digits alone, as ridge regression must. The
# halves make predictions better: they teach what tops and bottoms look like.

models = {
    "on all digits": MultimodalVAE(HALVES, random_state=0).fit(shown),
    "on whole ones": MultimodalVAE(HALVES, random_state=0).fit(X[whole]),
}
truth = test[:, BOTTOM]
ridge = RidgeCV(np.logspace(-1, 5, 20)).fit(X[whole, TOP], X[whole, BOTTOM])
score = r2_score(truth, ridge.predict(test[:, TOP]), multioutput="variance_weighted")
print(f"\nR2 of bottoms from tops\n  ridge on whole ones: {score:.3f}")
for name, model in models.items():
    guess = model.predict(test, target="bottom")
    score = r2_score(truth, guess, multioutput="variance_weighted")
    print(f"  MultimodalVAE {name}: {score:.3f}")

# %%
# Densities gain less: by its log-density a bottom is as likely by itself as given its top.

only_bottom = test.copy()
only_bottom[:, TOP] = np.nan
print("\nlog-density of a bottom in nats (mean, median): given its top, and by itself")
for name, model in models.items():
    told = model.score_samples(test, target="bottom", given="top")
    alone = model.score_samples(only_bottom)
    print(
        f"  MultimodalVAE {name}: {told.mean():.1f}, {np.median(told):.1f} and "
        f"{alone.mean():.1f}, {np.median(alone):.1f}"
    )

# %%
# Draw the other half
# -------------------
# A hundred bottoms for every top. The ends of what nine in ten draws say should hold nine pixels in
# ten.

model = models["on all digits"]
draws = np.stack(model.sample_conditional(test, "bottom", 100, random_state=0))
low, high = np.quantile(draws, [0.05, 0.95], axis=0)
covered = ((low < truth) & (truth < high)).mean()
print(f"\npixels within 90 % intervals of 100 draws: {covered:.1%}")

# %%
# Above the line the top that is given, below it a bottom: the true one, the mean that is predicted,
# and draws. The mean is blurred where several digits have such a top; draws choose one.

picked = np.array([np.flatnonzero(test_y == digit)[0] for digit in range(10)])
bottoms = [truth[picked], model.predict(test[picked], target="bottom"), *draws[:5, picked]]
titles = ["true", "mean", *[f"draw {n}" for n in range(1, 6)]]
figure, axes = plt.subplots(len(titles), 10, figsize=(9, 7), layout="constrained")
for line, title, bottom in zip(axes, titles, bottoms, strict=True):
    for ax, image in zip(line, np.hstack([test[picked, TOP], bottom]), strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0.5, vmax=16.5)
        ax.axhline(3.5, color="tab:orange", linewidth=1.5)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(title, rotation=0, ha="right", va="center")
plt.show()
