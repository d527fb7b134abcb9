"""The page with which an auditor checks a bundle in a browser: its scripts, style and licences."""
