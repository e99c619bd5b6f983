"""Floor 11: modules, layers, losses and models, written with the array functions alone.

Purpose: a module is a pytree of arrays and constants; calling it is a pure function.
May import: everything from base to api.
Read first: `module.Module`, `layers.Linear`, `gpt.GPT`.
"""

from ..api.namespace import (
    attention,
    avg_pool,
    conv2d,
    gelu,
    layer_norm,
    log_softmax,
    max_pool,
    relu,
    silu,
    softmax,
)
from . import losses
from .convolution import (
    AvgPool,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Flatten,
    MaxPool,
)
from .gpt import GPT, Block
from .heads import MultiHeadAttention
from .layers import MLP, Dropout, Embedding, Function, Linear, Sequential, dropout
from .module import Module, parameter_count
from .normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from .recurrent import GRU, LSTM, RNN

__all__ = ["GPT", "GRU", "LSTM", "MLP", "RNN", "AvgPool", "BatchNorm", "Block", "Conv1d", "Conv2d",
           "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Dropout",
           "Embedding", "Flatten", "Function", "GroupNorm", "InstanceNorm", "LayerNorm", "Linear",
           "MaxPool", "Module", "MultiHeadAttention", "RMSNorm", "Sequential", "attention",
           "avg_pool", "conv2d", "dropout", "gelu", "layer_norm", "log_softmax", "losses",
           "max_pool", "parameter_count", "relu", "silu", "softmax"]
