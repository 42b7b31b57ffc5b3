"""
Save a model, and use it elsewhere
==================================

How does a fitted model get to where it is needed? Into a file that holds data only: arrays, and
JSON for all else. Whoever loads it runs no code of whoever wrote it, as a pickle would. Another
process fills the same holes from the file, to the last bit.
"""

import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from palmerpenguins import load_penguins

import skvae
from skvae.datasets import ampute

# %%
# A fitted imputer into a file
# ----------------------------

folder = tempfile.TemporaryDirectory()
frame = ampute(load_penguins(), rate=0.2, random_state=0)
imputer = skvae.VAEImputer(max_iter=100, random_state=0).set_output(transform="pandas")
filled = imputer.fit_transform(frame)
path = Path(folder.name) / "imputer.skvae"
start = time.perf_counter()
imputer.save(path)
seconds = {"save": time.perf_counter() - start}
kilobytes = {"file": path.stat().st_size / 1000, "pickle": len(pickle.dumps(imputer)) / 1000}

# %%
# Another process fills the holes
# -------------------------------
# It has the file and the table with its holes, and nothing else.

script = """
import sys
import pandas as pd
import skvae

model = skvae.load(sys.argv[1])
model.transform(pd.read_pickle(sys.argv[2])).to_pickle(sys.argv[3])
"""
given, result = Path(folder.name) / "holes.pkl", Path(folder.name) / "filled.pkl"
frame.to_pickle(given)
subprocess.run([sys.executable, "-c", script, path, given, result], check=True)
print("the same fillings:", pd.read_pickle(result).equals(filled))

start = time.perf_counter()
skvae.VAEImputer.load(path)
seconds["load"] = time.perf_counter() - start

# %%
# Files that are something else, or damaged
# -----------------------------------------
# Each gives one error, which says what is wrong.


def said_of(path: Path, estimator: type) -> str:
    """What is said of a file that cannot be loaded."""
    try:
        estimator.load(path)
    except ValueError as error:
        return str(error).replace(str(path), path.name)
    return "nothing"


content = bytearray(path.read_bytes())
print("as another estimator:", said_of(path, skvae.VAETransformer))
content[len(content) // 2] ^= 1
path.write_bytes(content)
print("with one bit changed:", said_of(path, skvae.VAEImputer))

# %%
# What it costs: about the room of a pickle, and a fraction of a second.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.4), layout="constrained")
left.barh(list(kilobytes), list(kilobytes.values()), color="tab:blue")
left.set_xlabel("size in kB")
right.barh(list(seconds), [1000 * value for value in seconds.values()], color="tab:orange")
right.set_xlabel("time in ms")
plt.show()
folder.cleanup()
