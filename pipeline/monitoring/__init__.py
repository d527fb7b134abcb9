"""Status, gate, doctor, metrics."""
