"""What follows from evaluating many structures."""

from shoal.properties.accuracy import Accuracy as Accuracy
from shoal.properties.accuracy import measure_accuracy as measure_accuracy
