"""The configuration: read once, validated once, frozen.

Found at the first of ``--config``, ``ORGKEY_CONFIG``, ``./orgkey.toml``, the user's and the host's
file; never merged. Secrets stand in it only as the name of a file or of a command.
"""

from pipeline.config._base import NAME
from pipeline.config.holders import (
    Custodian,
    HolderConfig,
    KmsHolder,
    Need,
    OpenpgpHolder,
    PaperHolder,
    PathConfig,
    TransitHolder,
)
from pipeline.config.identities import (
    SERVICE_ACCOUNT,
    AwsIdentity,
    Identity,
    IdentityName,
    VaultIdentity,
    VaultMethod,
)
from pipeline.config.loading import candidates, load, locate, parse
from pipeline.config.places import (
    PROXY,
    AwsPlace,
    BackupPlace,
    DirectoryTarget,
    Party,
    Reached,
    S3Target,
    TargetConfig,
    VaultPlace,
    VaultTarget,
    ambient_client_pair,
)
from pipeline.config.sections import (
    Certificates,
    Happening,
    Job,
    Key,
    LedgerSection,
    Notify,
    Ping,
    Policy,
    Source,
)
from pipeline.config.whole import Config

__all__ = [
    "AwsIdentity",
    "AwsPlace",
    "BackupPlace",
    "Certificates",
    "Config",
    "Custodian",
    "DirectoryTarget",
    "Happening",
    "HolderConfig",
    "Identity",
    "IdentityName",
    "Job",
    "Key",
    "KmsHolder",
    "LedgerSection",
    "NAME",
    "Need",
    "Notify",
    "OpenpgpHolder",
    "PROXY",
    "PaperHolder",
    "Party",
    "PathConfig",
    "Ping",
    "Policy",
    "Reached",
    "S3Target",
    "SERVICE_ACCOUNT",
    "Source",
    "TargetConfig",
    "TransitHolder",
    "VaultIdentity",
    "VaultMethod",
    "VaultPlace",
    "VaultTarget",
    "ambient_client_pair",
    "candidates",
    "load",
    "locate",
    "parse",
]
