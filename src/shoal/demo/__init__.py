"""The whole path on a small data set that comes with Shoal: from labelled silicon to one batched answer."""

from shoal.demo.run import DemoResult as DemoResult
from shoal.demo.run import run as run
