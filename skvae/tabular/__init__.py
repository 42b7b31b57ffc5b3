"""Tables to numbers plus an observed mask, and exactly back."""

from skvae.tabular.codec import TableCodec
from skvae.tabular.schema import KINDS, Column

__all__ = ["KINDS", "Column", "TableCodec"]
