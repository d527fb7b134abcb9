"""A newcomer's first ten minutes, on a Debian on which nothing was done yet."""
