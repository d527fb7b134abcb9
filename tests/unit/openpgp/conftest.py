"""The committed keys, and a moment at which they are valid."""

from tests.support.committed_keys import export as export
from tests.support.committed_keys import now as now
from tests.support.committed_keys import packets as packets
from tests.support.committed_keys import passphrase as passphrase
