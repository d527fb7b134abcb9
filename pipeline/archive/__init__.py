"""All targets as one: catalog, writing, journal, and the context of a run."""
