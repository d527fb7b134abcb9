"""What `orgkey init` asks and writes."""
