"""`shoal bench`: how fast a model runs, in which batches, and where the time goes."""

from shoal.throughput.bench import bench as bench
from shoal.throughput.report import Batch as Batch
from shoal.throughput.report import Series as Series
from shoal.throughput.report import Step as Step
from shoal.throughput.report import Throughput as Throughput
from shoal.throughput.report import best_batch as best_batch
