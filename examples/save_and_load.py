"""A fitted imputer goes into a file, and another process fills the same holes from it.

The file is a container of safetensors: arrays, and JSON for all else. Reading it executes nothing.
Prints what it weighs beside a pickle, how long saving and loading take, and what is said of a
file that holds something else, or is damaged.
"""

import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from palmerpenguins import load_penguins

import skvae
from skvae.datasets import ampute


def fingerprint(frame: pd.DataFrame) -> str:
    """Differs where any cell does."""
    return f"{pd.util.hash_pandas_object(frame).sum():x}"


def holed_penguins() -> pd.DataFrame:
    return ampute(load_penguins(), rate=0.2, random_state=0)


def in_another_process(path: str) -> None:
    start = time.perf_counter()
    imputer = skvae.VAEImputer.load(path)
    print(f"another process loads it in {1000 * (time.perf_counter() - start):.0f} ms,", end=" ")
    print(f"and fills the table to {fingerprint(imputer.transform(holed_penguins()))}", flush=True)


def message(path: Path, estimator: type) -> str:
    """What is said of a file that cannot be loaded."""
    try:
        estimator.load(path)
    except ValueError as error:
        return str(error).replace(str(path), path.name)
    return "nothing"


def main() -> None:
    imputer = skvae.VAEImputer(max_iter=100, random_state=0).set_output(transform="pandas")
    print(f"one process fills a table to {fingerprint(imputer.fit_transform(holed_penguins()))},")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imputer.skvae"
        start = time.perf_counter()
        imputer.save(path)
        spent = 1000 * (time.perf_counter() - start)
        content = path.read_bytes()
        print(f"and saves the imputer in {spent:.0f} ms: {len(content) / 1000:.0f} kB,", end=" ")
        print(f"a pickle has {len(pickle.dumps(imputer)) / 1000:.0f} kB", flush=True)
        subprocess.run([sys.executable, __file__, str(path)], check=True)

        print("\nas another estimator:", message(path, skvae.VAETransformer))
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        print("with one bit changed:", message(path, skvae.VAEImputer))


if __name__ == "__main__":
    in_another_process(sys.argv[1]) if len(sys.argv) > 1 else main()
