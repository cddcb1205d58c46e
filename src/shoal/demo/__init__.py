"""The whole path on a small data set that comes with Shoal: from labelled silicon to one batched answer."""

from shoal.demo.pipeline import DemoResult as DemoResult
from shoal.demo.pipeline import run as run
