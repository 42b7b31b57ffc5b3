"""Diagnostics: collapse, bounds, latents, loadings, refits, odd rows, blocks, holes, fillings.

Every diagnostic has a Display that draws it with matplotlib: `from_estimator` computes and draws,
`plot` draws again. Holes need no estimator: `MissingnessPatternDisplay.from_data`. Neither do
latents that are compared with each other or with a truth: `match_latents`,
`mean_correlation_coefficient`, `disentanglement`.
"""

from skvae.inspection.agreement import (
    LatentMatching,
    match_latents,
    mean_correlation_coefficient,
)
from skvae.inspection.amortization import AmortizationGapDisplay, amortization_gap
from skvae.inspection.bounds import BoundCurveDisplay, bound_curve
from skvae.inspection.calibration import (
    IntervalCalibration,
    IntervalCalibrationDisplay,
    interval_calibration,
)
from skvae.inspection.curves import LossCurveDisplay
from skvae.inspection.explanation import ExplanationDisplay
from skvae.inspection.factors import DCI, disentanglement
from skvae.inspection.identification import IdentifiabilityReport, identifiability
from skvae.inspection.identification_display import IdentifiabilityDisplay
from skvae.inspection.imputations import FilledColumn, ImputationDisplay
from skvae.inspection.linear import LinearReport, linear_report
from skvae.inspection.linear_display import LinearReportDisplay
from skvae.inspection.loadings import LoadingsDisplay
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
    "DCI",
    "AmortizationGapDisplay",
    "BoundCurveDisplay",
    "CrossPredictionDisplay",
    "ExpertPrecisionDisplay",
    "ExplanationDisplay",
    "FilledColumn",
    "IdentifiabilityDisplay",
    "IdentifiabilityReport",
    "ImputationDisplay",
    "IntervalCalibration",
    "IntervalCalibrationDisplay",
    "LatentMapDisplay",
    "LatentMatching",
    "LatentReport",
    "LatentReportDisplay",
    "LinearReport",
    "LinearReportDisplay",
    "LoadingsDisplay",
    "LossCurveDisplay",
    "MissingnessPatternDisplay",
    "Overimputation",
    "OverimputationDisplay",
    "PosteriorAgreementDisplay",
    "TraversalDisplay",
    "amortization_gap",
    "bound_curve",
    "cross_prediction",
    "disentanglement",
    "expert_precisions",
    "identifiability",
    "interval_calibration",
    "latent_report",
    "linear_report",
    "match_latents",
    "mean_correlation_coefficient",
    "missingness_patterns",
    "overimpute",
    "posterior_agreement",
]
