"""Networks and what they see."""

from skvae.nn.inputs import EncoderInputs, quantile_edges
from skvae.nn.mlp import MemberMLP

__all__ = ["EncoderInputs", "MemberMLP", "quantile_edges"]
