"""A report as files: HTML, PDF, CSV and OSCAL."""
