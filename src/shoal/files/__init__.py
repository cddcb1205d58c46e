"""Reading model files: manifests and metadata are checked before anything is loaded."""

from shoal.files.checkpoint import Checkpoint as Checkpoint
from shoal.files.checkpoint import read_checkpoint as read_checkpoint
from shoal.files.compiled import CompiledMetadata as CompiledMetadata
from shoal.files.compiled import check_runs_here as check_runs_here
from shoal.files.compiled import read_metadata as read_metadata
from shoal.files.describe import describe as describe
from shoal.files.kinds import ENDINGS as ENDINGS
from shoal.files.kinds import model_kind as model_kind
from shoal.files.manifest import ArchitectureSpec as ArchitectureSpec
from shoal.files.manifest import Manifest as Manifest
from shoal.files.nequip import NequIPMetadata as NequIPMetadata
from shoal.files.nequip import check_nequip_runs_here as check_nequip_runs_here
from shoal.files.nequip import read_nequip_metadata as read_nequip_metadata
from shoal.files.package import Package as Package
from shoal.files.package import file_sha256 as file_sha256
from shoal.files.package import read_manifest as read_manifest
from shoal.files.package import read_package as read_package
