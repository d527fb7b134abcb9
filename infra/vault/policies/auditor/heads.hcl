# The ledger's heads: number and digest of its last entry. "+" is the key's fingerprint.
path "${mount}/data/${prefix}+/ledger/*" {
  capabilities = ["read"]
}

# The same for places that lie one level below this prefix.
path "${mount}/data/${prefix}+/+/ledger/*" {
  capabilities = ["read"]
}
