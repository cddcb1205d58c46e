"""Training: labelled structures in, checkpoints out."""

from shoal.training.config import TrainConfig as TrainConfig
from shoal.training.load_config import load_config as load_config
from shoal.training.progress import TrainingProgress as TrainingProgress
from shoal.training.run import TrainResult as TrainResult
from shoal.training.run import train as train
