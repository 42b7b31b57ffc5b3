"""Few labels, many rows: skvae and its peers side by side. See README.md beside this file.

    python benchmarks/semi_supervised.py --data DIR --out semi_supervised.jsonl

`few`: half of the rows as a stratified test set, max(10 per class, 50) class-balanced labels.
`full`: the same split, every training row labelled.
`holes`: as `few`, with 30 % of the entries of every table hidden, in training and test rows.
`hivae`: the labels that HI-VAE's masks hide, from the others.
`mnist`: class-balanced labels among 60,000 images, error on 10,000. The autoencoders do not see
labels: with several numbers of labels those of a seed are fitted once, as each fit would fit them,
and their seconds count in every fit. Error against time: `skvae:m1+m2:max_iter=500` and more.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from _report import stored
from imputation import limit_threads

PROTOCOLS = ("few", "full", "holes", "hivae", "mnist")
SETS = ("breast_cancer", "digits", "letter", "shoppers", "spambase", "wine", "yeast")
TARGETS = {"letter": "letter_1to26", "shoppers": "Revenue", "spambase": "class", "yeast": "class"}
HIVAE_SETS = ("breast", "wine")
KEYS = ("protocol", "data", "seed", "method", "n_labels")
DEFAULT_METHODS = {
    "few": "skvae,logreg,rf,hgb,svc,self_logreg,self_svc,label_spreading",
    "full": "skvae,logreg,rf,hgb,svc",
    "holes": "skvae,imputed_rf,hgb",
    "hivae": "skvae,imputed_logreg,imputed_rf,hgb",
    "mnist": "skvae:m1+m2",
}
MOST_TEST_ROWS, HOLES = 10_000, 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with one folder per data set")
    add("--protocol", choices=PROTOCOLS, default="few")
    add("--sets", help="names, separated by commas (all of the protocol)")
    add("--seeds", default="0,1,2,3,4", help="seeds of splits, labels and methods")
    add("--methods", help="skvae, skvae:MODEL, skvae:KEY=VALUE and peers, separated by commas")
    add("--labels", default="100", help="mnist: numbers of labels")
    add("--threads", type=int, default=1)
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    args = parser.parse_args()
    limit_threads(args.threads)

    import torch
    from classifiers import peers

    torch.set_num_threads(args.threads)
    names = (args.methods or DEFAULT_METHODS[args.protocol]).split(",")
    known = peers()
    methods = {name: known[name] if name in known else variant(name) for name in names}
    done = stored(args.out, KEYS)
    records = []
    if args.protocol == "mnist":
        share_autoencoders()
    for seed in map(int, args.seeds.split(",")):
        for data, n_labels in cells(args):
            split = None
            for name, fit in methods.items():
                cell = (args.protocol, data, seed, name, n_labels)
                if cell not in done:
                    split = split or SPLITS[args.protocol](args.data, data, seed, n_labels)
                    done[cell] = dict(zip(KEYS, cell, strict=True)) | run(fit, *split, seed)
                    print(json.dumps(done[cell]), flush=True)
                    if args.out:
                        with args.out.open("a") as file:
                            file.write(json.dumps(done[cell]) + "\n")
                records.append(done[cell])
    report(records)


def cells(args: argparse.Namespace) -> list[tuple[str, int | None]]:
    """Data sets and numbers of labels, the latter where the protocol has a choice."""
    if args.protocol == "mnist":
        return [("mnist", int(n)) for n in args.labels.split(",")]
    every = HIVAE_SETS if args.protocol == "hivae" else SETS
    return [(name, None) for name in (args.sets.split(",") if args.sets else every)]


def variant(name: str) -> Any:
    """`skvae`, `skvae:MODEL` or `skvae:KEY=VALUE:...` as a method."""
    from classifiers import skvae

    first, *rest = name.split(":")
    if first != "skvae":
        raise SystemExit(f"unknown method {name!r}")
    settings: dict[str, Any] = {}
    for part in rest:
        key, _, value = part.rpartition("=")
        settings[key or "model"] = value if value.isalpha() or not key else json.loads(value)
    return skvae(**settings)


# Data ---------------------------------------------------------------------------------------


def load(data_dir: Path, name: str) -> tuple[Any, Any]:
    """A frame and class numbers."""
    import pandas as pd
    from sklearn import datasets

    makers = {"breast_cancer": "load_breast_cancer", "digits": "load_digits", "wine": "load_wine"}
    if name in makers:
        frame, y = getattr(datasets, makers[name])(return_X_y=True, as_frame=True)
        return frame, y.to_numpy()
    frame = pd.read_csv(data_dir / name / "data.csv")
    y = pd.factorize(frame.pop(TARGETS[name]), sort=True)[0]
    return frame.drop(columns="name", errors="ignore"), y


def choose_labels(y: Any, rows: Any, n_labels: int, random: Any) -> Any:
    """Class-balanced rows, as far as classes have them."""
    import numpy as np

    classes = np.unique(y)
    share = [n_labels // len(classes) + (i < n_labels % len(classes)) for i in range(len(classes))]
    chosen = [
        random.permutation(rows[y[rows] == label])[:n]
        for label, n in zip(classes, share, strict=True)
    ]
    return np.concatenate(chosen)


def split_few(
    data_dir: Path, name: str, seed: int, n_labels: int | None, labels_all: bool = False
) -> tuple[Any, ...]:
    """Training rows, their labels (-1 for none), test rows and theirs."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    X, y = load(data_dir, name)
    n_test = min(len(y) // 2, MOST_TEST_ROWS)
    train, test = train_test_split(
        np.arange(len(y)), test_size=n_test, stratify=y, random_state=seed
    )
    n_classes = len(np.unique(y))
    labelled = train
    if not labels_all:
        random = np.random.default_rng(seed)
        labelled = choose_labels(y, train, n_labels or max(10 * n_classes, 50), random)
    known = np.full(len(y), -1)
    known[labelled] = y[labelled]
    return X.iloc[train], known[train], X.iloc[test], y[test]


def split_full(data_dir: Path, name: str, seed: int, n_labels: int | None) -> tuple[Any, ...]:
    """All training rows labelled."""
    return split_few(data_dir, name, seed, n_labels, labels_all=True)


def split_holes(data_dir: Path, name: str, seed: int, n_labels: int | None) -> tuple[Any, ...]:
    """Entries hidden at random."""
    import numpy as np

    X, known, X_test, y_test = split_few(data_dir, name, seed, n_labels)
    random = np.random.default_rng(seed + 1000)

    def hide(frame: Any) -> Any:
        return frame.mask(random.random(frame.shape) < HOLES)

    return hide(X), known, hide(X_test), y_test


def split_hivae(data_dir: Path, name: str, seed: int, n_labels: int | None) -> tuple[Any, ...]:
    """The target is the last categorical column; mask number `seed` + 1 hides labels."""
    import numpy as np
    import pandas as pd

    folder = data_dir / "hivae" / name
    frame = pd.read_csv(folder / "data.csv", header=None)
    kinds = pd.read_csv(folder / "data_types.csv")["type"].tolist()
    masks = np.load(folder / "masks.npz")
    bits = np.unpackbits(masks[f"Missing050_{seed + 1}"])[: frame.size]
    hidden = bits.reshape(frame.shape).astype(bool)
    target = int(np.flatnonzero(hidden.any(axis=0))[0])
    y = pd.factorize(frame.pop(target), sort=True)[0]
    for j in frame.columns:
        if kinds[j] == "cat":
            frame[j] = frame[j].astype(str)
    frame.columns = [f"x{j}" for j in frame.columns]
    hole = hidden[:, target]
    return frame, np.where(hole, -1, y), frame[hole], y[hole]


def split_mnist(data_dir: Path, name: str, seed: int, n_labels: int | None) -> tuple[Any, ...]:
    """Pixels above half of the range, as two-valued columns."""
    import numpy as np
    import pandas as pd

    with np.load(data_dir / "mnist" / "mnist.npz") as file:
        X, y, X_test, y_test = (
            file[f"{what}_{part}"] for part in ("train", "test") for what in "xy"
        )
    images = [pd.DataFrame(part.reshape(len(part), -1) > 127) for part in (X, X_test)]
    y = y.astype(int)
    known = np.full(len(y), -1)
    labelled = choose_labels(y, np.arange(len(y)), n_labels or 100, np.random.default_rng(seed))
    known[labelled] = y[labelled]
    return images[0], known, images[1], y_test.astype(int)


SPLITS = {
    "few": split_few,
    "full": split_full,
    "holes": split_holes,
    "hivae": split_hivae,
    "mnist": split_mnist,
}


# Running and reporting ----------------------------------------------------------------------


# Seconds of autoencoders that a fit was spared.
SPARED = {"s": 0.0}


def share_autoencoders() -> None:
    """Keep the last autoencoders: fits that differ in labels alone take them, not fit their own."""
    from skvae.estimators._classification import FittedClassifier

    kept: dict[str, Any] = {}

    def shared(name: str) -> Any:
        fit = getattr(FittedClassifier, name)

        def take(self: Any, data: Any, *rest: Any) -> Any:
            random, before = rest[-1], set(vars(self))
            key = (repr(self), random.get_state()[1].tolist())
            if kept.get(name, (None,))[0] != key:
                start = time.perf_counter()
                out = fit(self, data, *rest)
                spent = time.perf_counter() - start
                found = {k: v for k, v in vars(self).items() if k not in before}
                kept[name] = (key, out, found, random.get_state(), spent)
            else:
                SPARED["s"] += kept[name][4]
            _, out, found, state, _ = kept[name]
            vars(self).update(found)
            random.set_state(state)
            return out

        return take

    for name in ("_fit_first_model", "_fit_siblings"):
        setattr(FittedClassifier, name, shared(name))


def run(fit: Any, X: Any, y: Any, X_test: Any, y_test: Any, seed: int) -> dict[str, float]:
    """Accuracy and log-loss on test rows, seconds of fit and prediction."""
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SPARED["s"], start = 0.0, time.perf_counter()
        predict = fit(X, y, seed)
        middle = time.perf_counter()
        p = np.asarray(predict(X_test), dtype=float)
        end = time.perf_counter()
    p = np.where(p.sum(axis=1, keepdims=True) > 0, p, 1.0)  # rows that no label reaches
    p = np.maximum(p / p.sum(axis=1, keepdims=True), 1e-15)
    classes = np.unique(y[y >= 0])
    log_loss = -np.log(p[np.arange(len(p)), np.searchsorted(classes, y_test)]).mean()
    return {
        "accuracy": round(float((classes[p.argmax(axis=1)] == y_test).mean()), 4),
        "log_loss": round(float(log_loss), 4),
        "fit_s": round(middle - start + SPARED["s"], 2),
        "predict_s": round(end - middle, 2),
    }


def report(records: list[dict[str, Any]]) -> None:
    """Accuracy by set, means over sets, average rank by accuracy."""
    import pandas as pd

    table = pd.DataFrame(records)
    table["data"] += table["n_labels"].map(lambda n: "" if pd.isna(n) else f" {int(n)}")
    each = table.pivot_table(index="data", columns="method", values="accuracy")
    print("\n" + each.T.round(3).to_string())
    loss = table.pivot_table(index="data", columns="method", values="log_loss")
    print("\nlog-loss\n" + loss.T.round(3).to_string())
    out = pd.DataFrame(
        {
            "accuracy": each.mean(),
            "log-loss": loss.mean(),
            "rank": each.rank(axis=1, ascending=False).mean(),
            "fit s": table.groupby("method")["fit_s"].mean(),
            "most fit s": table.groupby("method")["fit_s"].max(),
        }
    )
    print("\n" + out.sort_values("accuracy", ascending=False).round(4).to_string(), flush=True)


if __name__ == "__main__":
    main()
