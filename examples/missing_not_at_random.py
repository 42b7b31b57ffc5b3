"""
Values that are missing because of what they are
================================================

Incomes that the rich do not tell, weights that heavy people do not give, readings below a detection
limit: what can be said of holes that depend on the value they hide? Here, the heavier a patient of
a diabetes study, the less likely the body mass was written down; and a laboratory reports
cholesterol only above its detection limit. What is assumed about the holes decides what the filled
table says. The fit reports what speaks for it, and a sensitivity analysis says what would follow if
it were wrong.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from skvae import VAEImputer, pool

# %%
# Holes that hide large values, and small ones
# --------------------------------------------
# Body mass hides by a logistic law of its own value, cholesterol below a limit.

whole = load_diabetes(as_frame=True, scaled=False)
whole = whole.data.assign(progression=whole.target)
whole = whole[["age", "bmi", "bp", "s1", "s4", "s5", "progression"]]
whole = whole.rename(columns={"s1": "cholesterol", "s4": "ratio", "s5": "triglycerides"})

random = np.random.default_rng(0)
holed = whole.copy()
shy = 1 / (1 + np.exp(-(whole["bmi"] - 28) / 1.5))
holed.loc[random.random(len(whole)) < shy, "bmi"] = np.nan
limit = whole["cholesterol"].quantile(0.3)
holed.loc[whole["cholesterol"] < limit, "cholesterol"] = np.nan
holes = holed.isna()
print(f"{holes['bmi'].sum()} of {len(whole)} body masses are missing")

# %%
# Two assumptions
# ---------------
# One imputer takes the holes for ignorable, as all do by default. The other is told what is known:
# large body masses hide, and so does cholesterol below the limit. The analysis is a regression of
# the progression of the disease on body mass, pooled over twenty filled tables.
#
# At random, the hidden body masses come out almost five units too low, and too much progression is
# put down to a unit of body mass. The second imputer is close to the truth.


def slope(table: pd.DataFrame) -> tuple[float, float]:
    """Of disease progression on body mass: coefficient, squared standard error."""
    design = np.column_stack([np.ones(len(table)), table["bmi"]])
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ table["progression"].to_numpy()
    left = table["progression"].to_numpy() - design @ found
    return found[1], inverse[1, 1] * (left @ left) / (len(table) - 2)


def pooled_slope(tables: list[pd.DataFrame]) -> list[float]:
    """By Rubin's rules: estimate, and ends of a 95 % interval."""
    estimates, variances = zip(*map(slope, tables), strict=True)
    pooled = pool(estimates, variances, df_complete=len(tables[0]) - 2)
    return [np.asarray(part).item() for part in (pooled.estimate, *pooled.interval())]


settings = {"random_state": 0, "hidden_layer_sizes": (), "n_estimators": 3}
imputers = {
    "at random": VAEImputer(**settings),
    "large values hide": VAEImputer(
        mechanism="mnar",
        missingness_model={"bmi": "high"},
        censored={"cholesterol": ("below", limit)},
        **settings,
    ),
}
drawn, slopes = {}, {}
print("\nmean body mass of those without one, and progression per unit of body mass")
print(f"{'truth':20}{whole['bmi'][holes['bmi']].mean():8.1f}{slope(whole)[0]:8.1f}")
for name, imputer in imputers.items():
    tables = imputer.fit(holed).sample_imputations(holed, 20, random_state=0)
    drawn[name] = np.stack([table["bmi"][holes["bmi"]] for table in tables])
    slopes[name] = estimate, low, high = pooled_slope(tables)
    print(f"{name:20}{drawn[name].mean():8.1f}{estimate:8.1f}  ({low:.1f} to {high:.1f})")

# %%
# Body masses that were hidden, and what the two imputers draw in their place.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
edges = np.linspace(14, 46, 25)
for ax, (name, values) in zip(axes, drawn.items(), strict=True):
    ax.hist(whole["bmi"][holes["bmi"]], edges, density=True, color="0.75", label="hidden")
    style = {"histtype": "step", "linewidth": 1.8, "color": "tab:blue"}
    ax.hist(values.ravel(), edges, density=True, label="drawn", **style)
    ax.set(title=f"assumed: {name}", xlabel="body mass index, kg/m²")
axes[0].set_ylabel("density")
axes[1].legend()
plt.show()

# %%
# What do the data say?
# ---------------------
# The laws that were fitted. ``likelihood_ratio`` is what held-out rows say for a hole that depends
# on the hidden value, in nats a row: next to nothing. No table can settle the question, and the
# verdict does not pretend to. That large values hide is knowledge that was brought in.

fitted = imputers["large values hide"]
print("\nwhat held-out rows say")
columns = ["direction", "slope", "threshold", "dependence", "likelihood_ratio", "verdict"]
print(fitted.missingness_report_[columns].round(2).to_string())

# %%
# What hangs on it?
# -----------------
# So ask what would follow if hidden body masses were lower, or higher, than the model has them.

print("\nhad the missing been heavier, or lighter, than the model has it")
for scenario in fitted.sensitivity(holed, {"bmi": [-3, 0, 3]}, n_draws=20, random_state=0):
    shift = scenario.shifts["bmi"]
    estimate, low, high = pooled_slope(scenario.tables)
    slopes[f"large values hide, {shift:+.0f}"] = estimate, low, high
    print(f"  by {shift:+.0f}: {estimate:.1f} ({low:.1f} to {high:.1f}) per unit")

# %%
# Estimates and 95 % intervals; the dashed line is what the whole table says. All scenarios agree
# that a heavier patient fares worse. How much worse is a matter of what is assumed.

slopes.pop("large values hide, +0")  # is "large values hide"
figure, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
for place, (estimate, low, high) in enumerate(slopes.values()):
    colour = "tab:orange" if place == 0 else "tab:blue"
    ax.plot([low, high], [place, place], color=colour, linewidth=2)
    ax.plot(estimate, place, "s" if place == 0 else "o", color=colour, markersize=7)
ax.axvline(slope(whole)[0], color="0.3", linestyle="--", linewidth=1)
ax.set_yticks(range(len(slopes)), slopes)
ax.set(ylim=(len(slopes) - 0.5, -0.5), xlabel="progression per kg/m² of body mass index")
plt.show()

# %%
# Below a detection limit
# -----------------------
# Draws stay below the limit and follow the lower end of the distribution. What is often put there
# instead, a fraction of the limit, is far from what was hidden.

draw = fitted.sample_imputations(holed, 1, random_state=1)[0]["cholesterol"]
below, true = draw[holes["cholesterol"]], whole["cholesterol"][holes["cholesterol"]]
print(f"\ncholesterol below the limit of {limit:.0f}: quartiles of hidden values, of draws,")
print("and what substitution puts there")
for name, values in (("hidden", true), ("drawn", below)):
    print(f"  {name:8}", *(f"{q:.0f}" for q in values.quantile([0.25, 0.5, 0.75])))
print(f"  limit / 2 is {limit / 2:.0f}, limit / sqrt(2) is {limit / 2**0.5:.0f}")
