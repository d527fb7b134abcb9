"""The configuration: read once, validated once, frozen.

Found at the first of ``--config``, ``ORGKEY_CONFIG``, ``./orgkey.toml``, the user's and the host's
file; never merged. Secrets stand in it only as the name of a file or of a command.
"""

from pipeline.config._base import NAME
from pipeline.config.holders import (
    Custodian,
    HolderConfig,
    KmsHolderConfig,
    NeedConfig,
    OpenpgpHolderConfig,
    PaperHolderConfig,
    PathConfig,
    TransitHolderConfig,
)
from pipeline.config.identities import (
    SERVICE_ACCOUNT,
    AwsIdentity,
    IdentityConfig,
    IdentityName,
    VaultIdentity,
    VaultMethod,
)
from pipeline.config.loading import candidates, load, locate, parse
from pipeline.config.places import (
    PROXY,
    AwsPlace,
    BackupPlace,
    DirectoryTargetConfig,
    Party,
    Reached,
    S3TargetConfig,
    TargetConfig,
    VaultPlace,
    VaultTargetConfig,
    ambient_client_pair,
)
from pipeline.config.sections import (
    Certificates,
    Happening,
    Job,
    KeyConfig,
    LedgerSection,
    Notify,
    Ping,
    Policy,
    SourceConfig,
)
from pipeline.config.whole import Config

__all__ = [
    "AwsIdentity",
    "AwsPlace",
    "BackupPlace",
    "Certificates",
    "Config",
    "Custodian",
    "DirectoryTargetConfig",
    "Happening",
    "HolderConfig",
    "IdentityConfig",
    "IdentityName",
    "Job",
    "KeyConfig",
    "KmsHolderConfig",
    "LedgerSection",
    "NAME",
    "NeedConfig",
    "Notify",
    "OpenpgpHolderConfig",
    "PROXY",
    "PaperHolderConfig",
    "Party",
    "PathConfig",
    "Ping",
    "Policy",
    "Reached",
    "S3TargetConfig",
    "SERVICE_ACCOUNT",
    "SourceConfig",
    "TargetConfig",
    "TransitHolderConfig",
    "VaultIdentity",
    "VaultMethod",
    "VaultPlace",
    "VaultTargetConfig",
    "ambient_client_pair",
    "candidates",
    "load",
    "locate",
    "parse",
]
