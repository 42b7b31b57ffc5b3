"""Values that are missing because of what they are: incomes, weights, detection limits.

442 patients of a diabetes study. Here, the heavier a patient, the less likely the body mass was
written down; and a laboratory reports cholesterol only above its detection limit. What is assumed
about the holes decides what the filled table says, the fit reports what speaks for it, and a
sensitivity analysis says what would follow if it were wrong.

Run with: python examples/missing_not_at_random.py [FIGURE.png]
"""

import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from skvae import VAEImputer, pool

pd.set_option("display.width", 200, "display.max_columns", 20)


def table_with_holes():
    """The table, and the same with body mass and cholesterol that hide themselves."""
    whole = load_diabetes(as_frame=True, scaled=False)
    whole = whole.data.assign(progression=whole.target)[
        ["age", "bmi", "bp", "s1", "s4", "s5", "progression"]
    ].rename(columns={"s1": "cholesterol", "s4": "ratio", "s5": "triglycerides"})
    random = np.random.default_rng(0)
    holed = whole.copy()
    shy = 1 / (1 + np.exp(-(whole["bmi"] - 28) / 1.5))
    holed.loc[random.random(len(whole)) < shy, "bmi"] = np.nan
    limit = whole["cholesterol"].quantile(0.3)
    holed.loc[whole["cholesterol"] < limit, "cholesterol"] = np.nan
    return whole, holed, limit


def slope(table):
    """Of disease progression on body mass: coefficient, squared standard error."""
    design = np.column_stack([np.ones(len(table)), table["bmi"]])
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ table["progression"].to_numpy()
    left = table["progression"].to_numpy() - design @ found
    return found[1], inverse[1, 1] * (left @ left) / (len(table) - 2)


def pooled_slope(tables):
    """By Rubin's rules: estimate, and ends of a 95 % interval."""
    estimates, variances = zip(*map(slope, tables), strict=True)
    pooled = pool(estimates, variances, df_complete=len(tables[0]) - 2)
    return [np.asarray(part).item() for part in (pooled.estimate, *pooled.interval())]


def main():
    whole, holed, limit = table_with_holes()
    holes = holed.isna()
    print(f"{holes['bmi'].sum()} of {len(whole)} body masses are missing")
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
    print("\nmean body mass of those without one, and progression per unit of body mass")
    print(f"{'truth':20}{whole['bmi'][holes['bmi']].mean():8.1f}{slope(whole)[0]:8.1f}")
    for name, imputer in imputers.items():
        tables = imputer.fit(holed).sample_imputations(holed, 20, random_state=0)
        mean = np.mean([table["bmi"][holes["bmi"]].mean() for table in tables])
        estimate, low, high = pooled_slope(tables)
        print(f"{name:20}{mean:8.1f}{estimate:8.1f}  ({low:.1f} to {high:.1f})")

    fitted = imputers["large values hide"]
    print("\nwhat held-out rows say")
    columns = ["direction", "slope", "threshold", "dependence", "likelihood_ratio", "verdict"]
    print(fitted.missingness_report_[columns].round(2).to_string())

    print("\nhad the missing been heavier, or lighter, than the model has it")
    for scenario in fitted.sensitivity(holed, {"bmi": [-3, 0, 3]}, n_draws=20, random_state=0):
        estimate, low, high = pooled_slope(scenario.tables)
        shift = scenario.shifts["bmi"]
        print(f"  by {shift:+.0f}: {estimate:.1f} ({low:.1f} to {high:.1f}) per unit")

    draw = fitted.sample_imputations(holed, 1, random_state=1)[0]["cholesterol"]
    below, true = draw[holes["cholesterol"]], whole["cholesterol"][holes["cholesterol"]]
    print(f"\ncholesterol below the limit of {limit:.0f}: quartiles of hidden values, of draws,")
    print("and what substitution puts there")
    for name, values in (("hidden", true), ("drawn", below)):
        print(f"  {name:8}", *(f"{q:.0f}" for q in values.quantile([0.25, 0.5, 0.75])))
    print(f"  limit / 2 is {limit / 2:.0f}, limit / sqrt(2) is {limit / 2**0.5:.0f}")
    if len(sys.argv) > 1:
        figure(holed, fitted, sys.argv[1])


def figure(holed, fitted, path):
    """Observed and imputed values side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from skvae.inspection import ImputationDisplay

    display = ImputationDisplay.from_estimator(
        fitted, holed, columns=["bmi", "cholesterol"], random_state=0
    )
    display.figure_.savefig(path, dpi=110)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
