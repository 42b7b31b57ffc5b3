"""Diagnostics of fitted estimators: collapse, tightness of the bound, latents, odd rows, blocks.

Every diagnostic has a Display that draws it with matplotlib: `from_estimator` computes and draws,
`plot` draws again.
"""

from skvae.inspection.amortization import AmortizationGapDisplay, amortization_gap
from skvae.inspection.bounds import BoundCurveDisplay, bound_curve
from skvae.inspection.curves import LossCurveDisplay
from skvae.inspection.explanation import ExplanationDisplay
from skvae.inspection.maps import LatentMapDisplay
from skvae.inspection.modalities import (
    cross_prediction,
    expert_precisions,
    posterior_agreement,
)
from skvae.inspection.modality_displays import (
    CrossPredictionDisplay,
    ExpertPrecisionDisplay,
    PosteriorAgreementDisplay,
)
from skvae.inspection.report import LatentReport, LatentReportDisplay, latent_report
from skvae.inspection.traversals import TraversalDisplay

__all__ = [
    "AmortizationGapDisplay",
    "BoundCurveDisplay",
    "CrossPredictionDisplay",
    "ExpertPrecisionDisplay",
    "ExplanationDisplay",
    "LatentMapDisplay",
    "LatentReport",
    "LatentReportDisplay",
    "LossCurveDisplay",
    "PosteriorAgreementDisplay",
    "TraversalDisplay",
    "amortization_gap",
    "bound_curve",
    "cross_prediction",
    "expert_precisions",
    "latent_report",
    "posterior_agreement",
]
