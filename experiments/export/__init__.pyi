from .code import network_code as network_code
from .folder import Exported as Exported
from .folder import load_exported as load_exported
from .folder import write_exported as write_exported
from .formats import fold_batch_norm as fold_batch_norm
from .predicting import predict as predict
