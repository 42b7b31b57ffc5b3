"""Records on disk, and the tables printed at the end."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]
_KEY = ("protocol", "data", "mechanism", "seed", "method")
_NAMES_IN_REFERENCE = {"mice_ridge": "mice"}


def key(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in _KEY)


class Records:
    """Results by cell and method, appended to a file as they come."""

    def __init__(self, path: Path | None, rerun: Iterable[str] = ()) -> None:
        self.path, self._by_key = path, {}
        rerun = set(rerun)
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                record = json.loads(line)
                if record["method"] not in rerun:
                    self._by_key[key(record)] = record

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, record: Record) -> bool:
        return key(record) in self._by_key

    def read_reference(self, path: Path) -> None:
        """Take peers' figures from a table with columns data, mech, seed, method, rmse, sec."""
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                record = {
                    "protocol": "rmse",
                    "data": row["data"],
                    "mechanism": row["mech"],
                    "seed": int(row["seed"]),
                    "method": _NAMES_IN_REFERENCE.get(row["method"], row["method"]),
                    "rmse": float(row["rmse"]),
                    "seconds": float(row["sec"]),
                }
                self._by_key[key(record)] = record

    def add(self, record: Record) -> None:
        self._by_key[key(record)] = record
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")

    def of_cell(self, cell: Record) -> dict[str, Record]:
        """All methods' records of one cell."""
        wanted = tuple(cell[name] for name in _KEY[:-1])
        return {k[-1]: record for k, record in self._by_key.items() if k[:-1] == wanted}


def stored(path: Path | None, keys: tuple[str, ...]) -> dict[tuple[Any, ...], Record]:
    """Results of earlier runs by the values of some of their fields."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {tuple(line[key] for key in keys): line for line in lines}


def geometric_mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _header(methods: list[str], more: list[str]) -> str:
    return f"{'':24}" + "".join(f"{name:>12}" for name in [*methods, *more])


def _label(cell: Record) -> str:
    return f"{cell['data']} {cell['mechanism']} {cell['seed']}"


def _methods(records: Records, cells: list[Record]) -> list[str]:
    found = dict.fromkeys(name for cell in cells for name in records.of_cell(cell))
    return sorted(found, key=lambda name: name != "skvae")


def print_errors(records: Records, cells: list[Record], measure: str) -> None:
    """Errors per cell, the ratio of skvae's to the best peer's, and total seconds."""
    methods, ratios, compared = _methods(records, cells), [], []
    print(f"\n{measure}\n" + _header(methods, ["ratio", "best peer"]))
    for cell in cells:
        found = records.of_cell(cell)
        line = f"{_label(cell):24}" + "".join(
            f"{found[name][measure]:12.4f}" if name in found else f"{'-':>12}" for name in methods
        )
        peers = {name: found[name][measure] for name in found if name != "skvae"}
        if "skvae" in found and peers:
            best = min(peers, key=peers.__getitem__)
            ratio = found["skvae"][measure] / peers[best] if peers[best] > 0 else math.inf
            ratios.append(ratio)
            compared.append(cell)
            line += f"{ratio:12.3f}{best:>12}"
        print(line)
    if ratios:
        worst = max(range(len(ratios)), key=ratios.__getitem__)
        print(
            f"\nratio to the best peer over {len(ratios)} cells: geometric mean "
            f"{geometric_mean(ratios):.3f}, worst {ratios[worst]:.3f} "
            f"({_label(compared[worst])}), {sum(r > 1 for r in ratios)} above 1"
        )
    print_seconds(records, cells, methods)


def print_seconds(records: Records, cells: list[Record], methods: list[str]) -> None:
    print("\nseconds (wall)\n" + _header(methods, ["ms/iter", "n_iter"]))
    for cell in cells:
        found = records.of_cell(cell)
        own = found.get("skvae", {})
        line = f"{_label(cell):24}" + "".join(
            f"{found[name]['seconds']:12.2f}" if name in found else f"{'-':>12}" for name in methods
        )
        if "n_iter" in own:
            line += f"{own['ms_per_iter']:12.3f}{own['n_iter']:12d}"
        print(line)
    complete = [cell for cell in cells if set(records.of_cell(cell)) == set(methods)]
    for field in ("seconds", "cpu_seconds"):
        totals = [
            [records.of_cell(cell)[name].get(field, math.nan) for cell in complete]
            for name in methods
        ]
        label = f"{field}, {len(complete)} cells"
        print(f"{label:24}" + "".join(f"{sum(total):12.1f}" for total in totals))
    print("totals run over the cells that every method has; figures of --reference have no")
    print("cpu_seconds and may stem from another machine")


def print_new_rows(records: Records, cells: list[Record]) -> None:
    """Error on new rows, against the same rows in-sample and against chained regressions."""
    methods = _methods(records, cells)
    print("\nnew rows: rmse, and its ratio to filling the same rows in-sample")
    print(_header([f"{m}{part}" for m in methods for part in ("", " ratio")], ["vs mice"]))
    own, against = {name: [] for name in methods}, []
    for cell in cells:
        found = records.of_cell(cell)
        line = f"{_label(cell):24}"
        for name in methods:
            if name not in found:
                line += f"{'-':>12}{'-':>12}"
                continue
            ratio = found[name]["rmse"] / found[name]["rmse_in_sample"]
            own[name].append(ratio)
            line += f"{found[name]['rmse']:12.4f}{ratio:12.3f}"
        if {"skvae", "mice"} <= set(found):
            against.append(found["skvae"]["rmse"] / found["mice"]["rmse"])
            line += f"{against[-1]:12.3f}"
        print(line)
    line = f"{'geometric mean':24}"
    for name in methods:
        line += f"{'':12}{geometric_mean(own[name]):12.3f}"
    print(line + (f"{geometric_mean(against):12.3f}" if against else ""))


def print_intervals(records: Records, cells: list[Record]) -> None:
    """Coverage of the 90 % intervals and their width in standard deviations."""
    print(f"\n90 % intervals\n{'':24}{'coverage':>12}{'width':>12}{'seconds':>12}")
    found = [records.of_cell(cell).get("skvae") for cell in cells]
    for cell, record in zip(cells, found, strict=True):
        if record:
            values = (record["coverage"], record["width"], record["seconds"])
            print(f"{_label(cell):24}" + "".join(f"{v:12.3f}" for v in values))
    coverages = [record["coverage"] for record in found if record]
    if coverages:
        print(f"{'mean':24}{sum(coverages) / len(coverages):12.3f}")
