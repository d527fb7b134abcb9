# Raft with one node: OpenBao 2.7 has no file storage. Nobody calls the node at its cluster address, so it
# listens at any free port, and its name in raft's list stays the same. The multiplier's lowest value makes it
# leader after one second.
ui = false
log_level = "warn"
api_addr = "http://127.0.0.1:$PORT"
cluster_addr = "https://127.0.0.1:1"

storage "raft" {
  path = $DATA
  node_id = "stack"
  performance_multiplier = 1
}

listener "tcp" {
  address = "127.0.0.1:$PORT"
  cluster_address = "127.0.0.1:0"
  tls_disable = true
}
