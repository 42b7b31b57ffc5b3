"""Diagnostics of fitted estimators: collapse, tightness of the bound, latents, odd rows.

Every diagnostic has a Display that draws it with matplotlib: `from_estimator` computes and draws,
`plot` draws again.
"""

from skvae.inspection.amortization import AmortizationGapDisplay, amortization_gap
from skvae.inspection.bounds import BoundCurveDisplay, bound_curve
from skvae.inspection.curves import LossCurveDisplay
from skvae.inspection.explanation import ExplanationDisplay
from skvae.inspection.maps import LatentMapDisplay
from skvae.inspection.report import LatentReport, LatentReportDisplay, latent_report
from skvae.inspection.traversals import TraversalDisplay

__all__ = [
    "AmortizationGapDisplay",
    "BoundCurveDisplay",
    "ExplanationDisplay",
    "LatentMapDisplay",
    "LatentReport",
    "LatentReportDisplay",
    "LossCurveDisplay",
    "TraversalDisplay",
    "amortization_gap",
    "bound_curve",
    "latent_report",
]
