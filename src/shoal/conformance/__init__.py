"""Is a model what it claims to be? Every law of the output contract, held against the model from outside."""

from shoal.conformance.base import Check as Check
from shoal.conformance.checks import CHECKS as CHECKS
from shoal.conformance.labels import Fault as Fault
from shoal.conformance.labels import check_labels as check_labels
from shoal.conformance.run import check as check
from shoal.conformance.verdicts import Finding as Finding
from shoal.conformance.verdicts import Report as Report
from shoal.conformance.verdicts import Verdict as Verdict
