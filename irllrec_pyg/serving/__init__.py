"""A model over HTTP."""

try:
    import fastapi_offline as _fastapi_offline  # noqa: F401
    import prometheus_client as _prometheus_client  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(f"A server needs: pip install 'irllrec_pyg[serve]' ({error}).") from error

from .app import KEY, create_app
from .limits import Limits
from .served import Served, Shelf

__all__ = ["KEY", "Limits", "Served", "Shelf", "create_app"]
