"""Controls of compliance catalogues, and what a report has for them."""
