"""Plans whose holders live in memory."""

from tests.support.plans import plans as plans
