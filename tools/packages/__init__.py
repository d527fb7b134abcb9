"""Making the packages for Debian's and Red Hat's families, and trying them."""
