"""All targets as one: catalog, writing, journal, and the scope of a run."""
