"""Networks and what they see."""

from skvae.nn.inputs import EncoderInputs, quantile_edges
from skvae.nn.mlp import MemberMLP
from skvae.nn.user import UserNetwork

__all__ = ["EncoderInputs", "MemberMLP", "UserNetwork", "quantile_edges"]
