"""RabbitMQ, by pika: the work queue, the publisher, and the delay ladder between them."""

from grid_async_task.adapters.rabbitmq.publisher import RabbitMessagePublisher
from grid_async_task.adapters.rabbitmq.source import RabbitMessageSource

__all__ = ["RabbitMessagePublisher", "RabbitMessageSource"]
