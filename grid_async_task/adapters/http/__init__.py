"""Callbacks over HTTP."""

from grid_async_task.adapters.http.callback_sender import HttpCallbackSender

__all__ = ["HttpCallbackSender"]
