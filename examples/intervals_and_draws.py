"""
How sure is a filled value?
===========================

How far may the truth be from what was filled in, and does the imputer know? A filling is one
number; behind it stands a distribution. This example draws from it, asks for intervals, looks at
what makes them narrow, and counts on hidden entries whether they hold.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from skvae import VAEImputer
from skvae.datasets import ampute
from skvae.inspection import IntervalCalibrationDisplay, interval_calibration

# %%
# Blood serum of 442 patients, cholesterol in mg/dl. The imputer is fitted to all but ten of them,
# with a fifth of the entries hidden.

names = {"s1": "cholesterol", "s2": "LDL", "s3": "HDL", "s5": "log triglycerides", "s6": "glucose"}
patients = load_diabetes(as_frame=True, scaled=False).data.drop(columns=["sex", "s4"])
patients = patients.rename(columns=names)
new = patients.sample(10, random_state=0)
frame = ampute(patients.drop(new.index), rate=0.2, random_state=0)
imputer = VAEImputer(random_state=0).set_output(transform="pandas").fit(frame)

# %%
# Draws
# -----
# Of a new patient, cholesterol and LDL are not known. Each draw fills both together, and a draw
# with much LDL has much cholesterol: the draws lie along the table's slope, where intervals of one
# column at a time would allow every corner of a rectangle. What hangs on several holes of a row is
# therefore asked of draws.

patient = new.loc[[435]]
pair = ["cholesterol", "LDL"]
asked = patient.assign(**dict.fromkeys(pair, np.nan))
draws = pd.concat(imputer.sample_imputations(asked, 100, random_state=0))
filled = imputer.transform(asked)
print(patient.to_string(index=False))
print("filled:", filled[pair].iloc[0].round(1).to_dict())
print("standard deviation of 100 draws:", draws[pair].std().round(1).to_dict())
print(f"correlation of the draws: {draws[pair].corr().iloc[0, 1]:.2f}")

figure, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
ax.scatter(*patients[pair].to_numpy().T, s=10, color="0.75", linewidths=0, label="patients")
style = {"s": 18, "color": "tab:blue", "alpha": 0.7, "linewidths": 0}
ax.scatter(*draws[pair].to_numpy().T, label="draws for one of them", **style)
point = {"color": "black", "linestyle": "none", "markeredgecolor": "white"}
ax.plot(*filled[pair].to_numpy().T, marker="X", markersize=11, label="filling", **point)
ax.plot(*patient[pair].to_numpy().T, marker="*", markersize=16, label="truth", **point)
ax.set(xlabel="cholesterol, mg/dl", ylabel="LDL, mg/dl")
ax.legend(loc="upper left")
plt.show()

# %%
# What makes intervals narrow
# ---------------------------
# LDL of the same patient, of whom one column after the other becomes known. Age, body mass and
# blood pressure say little. Cholesterol says most, and with HDL and triglycerides, the other parts
# that it is the sum of, the interval shrinks to a seventh of its width.

order = ["age", "bmi", "bp", "glucose", "cholesterol", "HDL", "log triglycerides"]
steps = [patient.where(patient.columns.isin(order[:n])[None]) for n in range(len(order) + 1)]
told = pd.concat(steps, ignore_index=True)
guess = imputer.transform(told)["LDL"]
lower, upper = (end["LDL"] for end in imputer.predict_interval(told, coverage=0.9))

figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
places = np.arange(len(told))
ax.hlines(places, lower, upper, color="tab:blue", linewidth=4, alpha=0.5, label="90 % interval")
ax.plot(guess, places, "o", color="tab:blue", label="filling")
ax.axvline(patient["LDL"].iloc[0], color="black", linestyle="--", label="truth")
ax.set_yticks(places, ["nothing", *[f"and {name}" for name in order]])
ax.invert_yaxis()
ax.set(xlabel="LDL, mg/dl", ylabel="what is known")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
# Do they hold?
# -------------
# Intervals can be narrow and wrong. A fifth of the known entries is hidden, a copy of the imputer
# is fitted to the rest, and the hidden entries within their intervals are counted: half of them
# should lie within 50 % intervals. Within the grey band, chance alone explains a difference; here
# intervals of 60 and 70 % hold a little more than they promise.

calibration = interval_calibration(imputer, frame, share=0.2, random_state=0)
print("\nshare of hidden entries within their intervals, by nominal coverage")
print(calibration.overall.round(2).to_string())
print(f"mean distance from the nominal one: {calibration.error:.3f}")

IntervalCalibrationDisplay(calibration).plot()
plt.show()
