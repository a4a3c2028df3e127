from .recipe import TrainConfig as TrainConfig
from .schema import DataConfig as DataConfig
from .schema import SearchConfig as SearchConfig
