"""
Can these fillings be trusted?
==============================

A table is filled; how is one to know whether the fillings are any good, when the truth is not
known? Four pictures: which cells are absent together, what holes are filled with beside what was
observed, hidden entries beside what they were, and whether intervals hold what they promise.
"""

import matplotlib.pyplot as plt
from palmerpenguins import load_penguins

from skvae import VAEImputer
from skvae.datasets import ampute
from skvae.inspection import (
    ImputationDisplay,
    IntervalCalibrationDisplay,
    MissingnessPatternDisplay,
    OverimputationDisplay,
    interval_calibration,
    overimpute,
)

# %%
# Which holes go together?
# ------------------------
# A fifth of the penguins' measurements is hidden, from some species and islands more often than
# from others, so that what is left is not like what is gone. The picture has a row for each pattern
# of holes. Bill length, body mass and sex tend to be absent together, in other birds than those
# without bill depth and flipper length: something about the birds decides, and it is worth asking
# what.

measures = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"]
penguins = load_penguins().drop(columns="year")
kinds = {"species": "category", "island": "category", "sex": "category"}
penguins = penguins.astype({**kinds, "flipper_length_mm": "Int64", "body_mass_g": "Int64"})
frame = ampute(penguins, "mar", rate=0.2, columns=measures, random_state=1)

display = MissingnessPatternDisplay.from_data(frame, max_patterns=12)
n_rows = display.patterns.index.to_numpy()
whole = n_rows[~display.patterns.any(axis=1).to_numpy()].sum()
print(f"{whole} of {len(frame)} penguins have no hole; share missing by column:")
print(display.shares_[measures].round(2).to_string())
plt.show()

# %%
# What are holes filled with?
# ---------------------------
# Fillings need not look like what was observed: here birds of some species lost more than others.
# But where the two differ, it should be by what the other columns say. Gentoos lost fewer weights
# and more flipper lengths, so filled weights are low and filled flippers long.

imputer = VAEImputer(random_state=0).fit(frame)
display = ImputationDisplay.from_estimator(imputer, frame, random_state=0)
print("\nmean of what is observed, and of what holes are filled with")
for column in display.columns:
    if column.levels is None:
        print(f"  {column.name:18} {column.observed.mean():8.1f} {column.imputed.mean():8.1f}")
plt.show()

# %%
# Would known entries be found again?
# -----------------------------------
# ``overimpute`` hides a fifth of the observed entries, fits a copy of the imputer to the rest, and
# compares. Points should follow the diagonal, and nine intervals in ten reach it; of categories,
# the diagonal of the matrix should hold nearly all.

result = overimpute(imputer, frame, columns=measures, share=0.2, random_state=0)
print("\na fifth of the observed entries hidden, filled and compared")
print(result.summary().round(2).to_string())
OverimputationDisplay(result).plot()
plt.show()

# %%
# Do intervals hold what they promise?
# ------------------------------------
# The share of hidden entries within intervals of each nominal coverage. Single columns have some
# fifty entries each and wander by chance; all columns together should stay within the grey band.

calibration = interval_calibration(imputer, frame, share=0.2, random_state=0)
print("\ncoverage of intervals, overall")
print(calibration.overall.round(2).to_string())
print(f"mean distance from the promised one: {calibration.error:.3f}")
IntervalCalibrationDisplay(calibration).plot()
plt.show()
