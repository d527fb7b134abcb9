"""A world for each test, and proofs that are made in this process unless a test asks otherwise."""

from tests.support.worlds import _quick as _quick
from tests.support.worlds import full_stretching as full_stretching
from tests.support.worlds import genuine as genuine
from tests.support.worlds import make_world as make_world
from tests.support.worlds import real_provers as real_provers
from tests.support.worlds import world as world
