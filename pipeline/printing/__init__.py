"""Pages for people: PDFs, QR codes, fingerprints in words."""
