"""What layers compute, channels last, exactly as PyTorch does: shared by the zoo's networks and by imported ones."""

from jaxlens._kernels._activation import gelu as gelu
from jaxlens._kernels._activation import hardsigmoid as hardsigmoid
from jaxlens._kernels._activation import hardswish as hardswish
from jaxlens._kernels._activation import softmax as softmax
from jaxlens._kernels._attention import Windows as Windows
from jaxlens._kernels._attention import attention_weights as attention_weights
from jaxlens._kernels._attention import join_heads as join_heads
from jaxlens._kernels._attention import linear as linear
from jaxlens._kernels._attention import multihead_attention as multihead_attention
from jaxlens._kernels._attention import relative_positions as relative_positions
from jaxlens._kernels._attention import split_heads as split_heads
from jaxlens._kernels._attention import window_attention as window_attention
from jaxlens._kernels._attention import window_weights as window_weights
from jaxlens._kernels._conv import conv as conv
from jaxlens._kernels._conv import conv_transpose as conv_transpose
from jaxlens._kernels._norm import batch_norm as batch_norm
from jaxlens._kernels._norm import group_norm as group_norm
from jaxlens._kernels._norm import layer_norm as layer_norm
from jaxlens._kernels._norm import local_response_norm as local_response_norm
from jaxlens._kernels._norm import per_channel as per_channel
from jaxlens._kernels._pool import adaptive_avg_pool as adaptive_avg_pool
from jaxlens._kernels._pool import avg_pool as avg_pool
from jaxlens._kernels._pool import max_pool as max_pool
from jaxlens._kernels._pool import pooled_pads as pooled_pads
from jaxlens._kernels._pool import same_pads as same_pads
