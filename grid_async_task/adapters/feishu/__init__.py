"""Notices to people, through Feishu (Lark)."""

from grid_async_task.adapters.feishu.notifier import FeishuNotifier

__all__ = ["FeishuNotifier"]
