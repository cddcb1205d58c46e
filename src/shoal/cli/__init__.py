"""The command line: one file per verb; what is heavy is imported when its verb runs."""

from shoal.cli._app import app as app
from shoal.cli._app import main as main
