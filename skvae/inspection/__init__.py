"""Diagnostics of fitted `VAETransformer`s: collapse, tightness of the bound, maps of latents.

Every diagnostic has a Display that draws it with matplotlib: `from_estimator` computes and draws,
`plot` draws again.
"""

from skvae.inspection.amortization import AmortizationGapDisplay, amortization_gap
from skvae.inspection.bounds import BoundCurveDisplay, bound_curve
from skvae.inspection.curves import LossCurveDisplay
from skvae.inspection.maps import LatentMapDisplay
from skvae.inspection.report import LatentReport, LatentReportDisplay, latent_report
from skvae.inspection.traversals import TraversalDisplay

__all__ = [
    "AmortizationGapDisplay",
    "BoundCurveDisplay",
    "LatentMapDisplay",
    "LatentReport",
    "LatentReportDisplay",
    "LossCurveDisplay",
    "TraversalDisplay",
    "amortization_gap",
    "bound_curve",
    "latent_report",
]
