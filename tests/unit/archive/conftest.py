"""One authentic record that many may look at, made with quick proofs."""

from tests.support.worlds import _quick as _quick
from tests.support.worlds import genuine as genuine
