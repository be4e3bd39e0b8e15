"""Runs and studies side by side, on one page or as tables for a paper."""

from .boards import Board, Report, build
from .formats import FORMATS, render
from .reading import Row, Source, Value, read

__all__ = ["FORMATS", "Board", "Report", "Row", "Source", "Value", "build", "read", "render"]
