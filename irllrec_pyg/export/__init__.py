"""Models for other tools: tables, an index, a graph of ONNX, the layout of model hubs."""

from .folder import FORMATS, export

__all__ = ["FORMATS", "export"]
