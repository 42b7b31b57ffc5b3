"""Diagnostics: collapse, tightness of the bound, latents, odd rows, blocks, holes and fillings.

Every diagnostic has a Display that draws it with matplotlib: `from_estimator` computes and draws,
`plot` draws again. Holes need no estimator: `MissingnessPatternDisplay.from_data`.
"""

from skvae.inspection.amortization import AmortizationGapDisplay, amortization_gap
from skvae.inspection.bounds import BoundCurveDisplay, bound_curve
from skvae.inspection.calibration import (
    IntervalCalibration,
    IntervalCalibrationDisplay,
    interval_calibration,
)
from skvae.inspection.curves import LossCurveDisplay
from skvae.inspection.explanation import ExplanationDisplay
from skvae.inspection.imputations import FilledColumn, ImputationDisplay
from skvae.inspection.linear import LinearReport, linear_report
from skvae.inspection.linear_display import LinearReportDisplay
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
from skvae.inspection.overimputation import Overimputation, overimpute
from skvae.inspection.overimputation_display import OverimputationDisplay
from skvae.inspection.patterns import MissingnessPatternDisplay, missingness_patterns
from skvae.inspection.report import LatentReport, LatentReportDisplay, latent_report
from skvae.inspection.traversals import TraversalDisplay

__all__ = [
    "AmortizationGapDisplay",
    "BoundCurveDisplay",
    "CrossPredictionDisplay",
    "ExpertPrecisionDisplay",
    "ExplanationDisplay",
    "FilledColumn",
    "ImputationDisplay",
    "IntervalCalibration",
    "IntervalCalibrationDisplay",
    "LatentMapDisplay",
    "LatentReport",
    "LatentReportDisplay",
    "LinearReport",
    "LinearReportDisplay",
    "LossCurveDisplay",
    "MissingnessPatternDisplay",
    "Overimputation",
    "OverimputationDisplay",
    "PosteriorAgreementDisplay",
    "TraversalDisplay",
    "amortization_gap",
    "bound_curve",
    "cross_prediction",
    "expert_precisions",
    "interval_calibration",
    "latent_report",
    "linear_report",
    "missingness_patterns",
    "overimpute",
    "posterior_agreement",
]
