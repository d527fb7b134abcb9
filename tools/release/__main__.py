"""Make a release, or try one (``make release``, ``make release-check``): ``python -m tools.release [check]``.

What is released is the last commit, built from two fresh clones; where they do not give the same bytes,
nothing is released. ``RELEASE_KEY`` names the key of gpg that signs, ``RELEASE_BUILDER`` is a URI of whoever
or whatever builds, for the statement of provenance.
"""

from __future__ import annotations

import sys

from tools.packages.build import Failed
from tools.release import check, make


def main() -> int:
    """Do what the arguments say; the exit code."""
    try:
        folder = make.release() if sys.argv[1:] != ["check"] else None
        return check.check() if folder is None else 0
    except Failed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
