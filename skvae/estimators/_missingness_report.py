"""What a fit found out about the holes of a table, as a frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from skvae.models.missingness import SelfMasking
from skvae.tabular import Column
from skvae.tabular.scaling import LINKS, TableScaler
from skvae.training.missingness import CLEAR
from skvae.training.nonignorable import MaskReport

CANNOT_SETTLE = (
    "No data can settle whether values are missing because of what they are: every model of such "
    "holes has a twin with ignorable holes that fits what was observed as well. Ask how the table "
    "came about, and see `sensitivity`."
)
REPORT = (
    "assumed",
    "direction",
    "slope",
    "threshold",
    "dependence",
    "dependence_error",
    "mask_ratio",
    "mask_ratio_error",
    "likelihood_ratio",
    "likelihood_ratio_error",
    "used",
    "verdict",
)


def report_frame(
    report: MaskReport | None, columns: list[Column], scaler: TableScaler | None = None
) -> pd.DataFrame:
    """A row per column that was asked about; see `VAEImputer.missingness_report_`."""
    if report is None or scaler is None:
        frame = pd.DataFrame(columns=list(REPORT))
        frame.attrs["note"] = CANNOT_SETTLE
        return frame
    evidence, rows = report.evidence, {}
    slope, threshold = _law(report, scaler)
    for j in np.flatnonzero(report.plan.selected.numpy()):
        high = float(report.plan.direction[j]) > 0
        nominal = columns[j].kind == "categorical"
        numbers = [
            float(value[j])
            for part in (evidence.dependence, evidence.mask, evidence.joint)
            for value in (part.mean, part.error)
        ]
        rows[columns[j].name] = (
            _assumed(report, j),
            "" if slope is None else _direction(columns[j], high),
            np.nan if slope is None or nominal else slope[j],
            np.nan if threshold is None or nominal else threshold[j],
            *numbers,
            bool(report.used[j]),
            _verdict(report, j),
        )
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(REPORT))
    frame.attrs["note"] = CANNOT_SETTLE
    return frame


def has_order(column: Column) -> bool:
    """Whether high and low mean something."""
    text = column.kind == "binary" and any(isinstance(level, str) for level in column.categories)
    return column.kind != "categorical" and not text


def _direction(column: Column, high: bool) -> str:
    """What hides; of two words, which."""
    if column.kind == "binary" and not has_order(column):
        return str(column.categories[int(high)])
    return "" if not has_order(column) else "high" if high else "low"


def _assumed(report: MaskReport, j: int) -> str:
    if bool(report.plan.censored[j]):
        return "censored"
    if report.plan.model != "self_masking":
        return report.plan.model
    return "self_masking" if bool(report.found[j]) else "direction known"


def _law(report: MaskReport, scaler: TableScaler) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Log-odds per standard deviation and threshold in the columns' units, means over members."""
    model, mask = report.model, report.model.mask_model
    if not isinstance(mask, SelfMasking):
        return None, None
    members = mask.selected.any(1)
    slope = (mask.slope[members] * mask.scale).mean(0).numpy()
    numeric = model.columns.numeric
    threshold = mask.threshold[members].clone()
    at = torch.zeros(model.n_members, 1, 1, len(numeric))
    at[members] = mask.threshold[members][:, None, None, numeric]
    threshold[:, numeric] = model.untransform(at)[members, 0, 0]
    middle = threshold.mean(0)
    limit = torch.where(report.plan.censored, report.plan.limit, middle).numpy()
    slope[report.plan.censored.numpy()] = np.inf * np.sign(slope[report.plan.censored.numpy()])
    return slope, np.array([as_number(scaler, j, float(x)) for j, x in enumerate(limit)])


def _verdict(report: MaskReport, j: int) -> str:
    evidence = report.evidence
    if bool(evidence.clear[j]):
        return "hidden values explain the holes, and better than the other columns do"
    if bool(evidence.tenable[j]):
        return "hidden values explain the holes about as well as the other columns do"
    if float(evidence.dependence.errors[j]) > CLEAR:
        return "the other columns explain the holes better than hidden values do"
    return "held-out rows do not tell"


def as_feature(scaler: TableScaler, j: int, value: float) -> float:
    """A column's number as the models have it."""
    spec, kind = scaler.specs[j], scaler.kinds[j]
    return float((LINKS.get(kind, float)(value) - spec.location) / spec.scale)


def as_number(scaler: TableScaler, j: int, feature: float) -> float:
    """The inverse; a code for columns with levels."""
    spec, kind = scaler.specs[j], scaler.kinds[j]
    linked = spec.location + spec.scale * feature
    with np.errstate(over="ignore"):
        return float({"positive": np.exp, "count": np.expm1}.get(kind, float)(linked))
