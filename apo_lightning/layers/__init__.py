"""Layers of a network of 16 bits as single operations, in place of the libraries' own: adapters and norms."""

from apo_lightning.layers.lora_linear import LoraLinear, rounded_once, use_lora_linear
from apo_lightning.layers.norms import use_fused_norms

__all__ = ["LoraLinear", "rounded_once", "use_fused_norms", "use_lora_linear"]
