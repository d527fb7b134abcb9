"""The manifests of `infra/schedule/kubernetes` on Kubernetes' own API server and controllers."""
