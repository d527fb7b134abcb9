#!/bin/sh
# Lets IAM roles log in to Vault or OpenBao as this program's identities; run by the server's administrator, safe to
# repeat. The policies are those that `orgkey infra apply` makes.
#
#   ACCOUNT=123456789012 REGION=eu-central-1 SERVER_ID=vault.example.com sh aws-login.sh
set -eu
: "${ACCOUNT:?the number of the AWS account with the roles}" "${REGION:?the region whose STS is asked}"
: "${SERVER_ID:?what server_id is in the configuration: a name of this server}"
PARTITION=${PARTITION:-aws} MOUNT=${MOUNT:-aws} RESOLVE=${RESOLVE:-false}
STS=${STS:-https://sts.$REGION.amazonaws.com}
BAO=$(command -v bao || command -v vault) || { echo "neither bao nor vault is on the PATH" >&2; exit 4; }

"$BAO" auth list | grep -q "^$MOUNT/ " || "$BAO" auth enable "-path=$MOUNT" aws
"$BAO" write "auth/$MOUNT/config/client" "sts_endpoint=$STS" "sts_region=$REGION" \
  "iam_server_id_header_value=$SERVER_ID"
for identity in writer driller auditor; do
  "$BAO" write "auth/$MOUNT/role/orgkey-$identity" auth_type=iam "resolve_aws_unique_ids=$RESOLVE" \
    "bound_iam_principal_arn=arn:$PARTITION:iam::$ACCOUNT:role/orgkey-$identity" \
    "token_policies=orgkey-$identity" token_no_default_policy=true token_ttl=20m token_max_ttl=1h
done
