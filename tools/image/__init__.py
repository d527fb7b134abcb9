"""The image of `infra/container`, built without a container engine's daemon and run as its users run it."""
