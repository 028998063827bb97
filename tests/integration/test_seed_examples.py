"""The examples of the first README, which people have copied into their programs: they go on working as written.

The examples stand here as they were published; what is replaced in them is said by `Place.fill`:
addresses of servers and of the one who is called back, and the name of the default queue. One bracket was
missing in the batch example.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from sqlalchemy import make_url

from grid_async_task import Settings, Task, TaskClient
from tests.servers.http_receiver import HttpReceiver
from tests.servers.rabbitmq import new_queue_name
from tests.waiting import eventually

ENV_FILE = """\
# ====================================
# Grid异步任务处理插件配置 (必填)
# ====================================

# RabbitMQ AMQP连接URL
GRID_ASYNC_TASK_AMQP_URL=amqp://guest:guest@localhost:5672/

# 任务队列名称
GRID_ASYNC_TASK_QUEUE=task_queue

# MySQL连接URL 
GRID_ASYNC_TASK_MYSQL_URL=mysql+pymysql://root:password@localhost:3306/task_db?charset=utf8mb4

# ====================================
# 可选配置项
# ====================================

# 数据库表配置（避免表名冲突）
GRID_ASYNC_TASK_TABLE_PREFIX=grid_async_task_
GRID_ASYNC_TASK_TABLE_NAME=tasks

# 任务重试配置
GRID_ASYNC_TASK_MAX_RETRY_COUNT=3
GRID_ASYNC_TASK_RETRY_DELAY=60

# 空闲超时配置（秒），0表示永不退出
GRID_ASYNC_TASK_IDLE_TIMEOUT=0

# 日志配置
GRID_ASYNC_TASK_LOG_LEVEL=INFO
GRID_ASYNC_TASK_LOG_DIR=logs

# 飞书通知（可选，任务失败时发送通知）
GRID_ASYNC_TASK_FEISHU_WEBHOOK_URL=https://open.feishu.cn/open-apis/bot/v2/hook/xxx
"""

HANDLER = '''
from grid_async_task import TaskHandler, TaskProcessor

class MyTaskHandler(TaskHandler):
    def execute(self, task_data):
        """执行具体的任务逻辑"""
        # 报告进度
        self.report_progress(20, "开始处理...")
        
        # 执行任务逻辑
        result = self.process_data(task_data)
        
        # 报告进度
        self.report_progress(100, "处理完成")
        
        return result
    
    def process_data(self, data):
        # 你的具体业务逻辑
        return {"status": "success", "result": data}
'''

WORKER = (
    HANDLER
    + """
# 启动任务处理器
processor = TaskProcessor(handler=MyTaskHandler())
processor.start()
"""
)

WORKER_WITH_ALL_OPTIONS = (
    HANDLER
    + """
processor = TaskProcessor(
    handler=MyTaskHandler(),
    max_retry_count=3,           # 最大重试次数
    retry_delay=60,              # 重试延迟（秒）
    progress_interval=10,        # 进度报告间隔（秒）
    enable_auto_ack=True,        # 自动确认消息
    prefetch_count=1             # 预取消息数量
)
processor.start()
"""
)

PRODUCER = """
from grid_async_task import TaskProducer

# 基本使用 - 使用配置文件中的默认队列
producer = TaskProducer()
producer.send_task({
    "task_id": "unique_task_id",
    "task_type": "data_processing",
    "data": {"input": "test_data"},
    "callback_url": "http://your-api.com/callback",
    "retry_count": 3
})
"""

DYNAMIC_QUEUES = """
from grid_async_task import TaskProducer

# 方式1：指定默认队列
producer = TaskProducer(default_queue="my_custom_queue")
task_id = producer.send_task(task_data)  # 发送到 my_custom_queue
SENT.append(task_id)

# 方式2：动态指定队列
producer = TaskProducer()
task_id = producer.send_task(task_data, queue_name="high_priority_queue")
SENT.append(task_id)

# 方式3：使用便捷方法
task_id = producer.send_task_to_queue(task_data, "gpu_queue")
SENT.append(task_id)
"""

BATCHES = """
# 批量发送到指定队列
batch_tasks = [
    {"task_data": {"task_type": "validation", "data": {"file": f"file_{i}"}}}
     for i in range(10)
]
task_ids = producer.batch_send_tasks(batch_tasks, queue_name="validation_queue")
SENT.append(task_ids)

# 批量发送到默认队列
task_ids = producer.batch_send_tasks(batch_tasks)
SENT.append(task_ids)
"""

DECLARED_QUEUES = """
# 检查队列是否已声明
if not producer.is_queue_declared("new_queue"):
    producer.send_task(task_data, queue_name="new_queue")  # 自动声明队列

# 查看已声明的队列
declared_queues = producer.get_declared_queues()
print(f"已声明的队列: {declared_queues}")
"""

PRIORITIES = """
# 按优先级分发任务
high_priority_task = {
    "task_type": "urgent_analysis", 
    "data": {"priority": "high"}
}
producer.send_task(high_priority_task, queue_name="high_priority_queue")

low_priority_task = {
    "task_type": "batch_processing", 
    "data": {"priority": "low"}
}
producer.send_task(low_priority_task, queue_name="low_priority_queue")

# 按资源类型分发任务
gpu_task = {"task_type": "ml_training", "data": {"model": "cnn"}}
producer.send_task(gpu_task, queue_name="gpu_queue")

cpu_task = {"task_type": "data_processing", "data": {"format": "csv"}}
producer.send_task(cpu_task, queue_name="cpu_queue")
"""

PLAIN_PUBLISHER = """
import json
import pika
import uuid

# 连接RabbitMQ
connection = pika.BlockingConnection(
    pika.ConnectionParameters('localhost')
)
channel = connection.channel()

# 发送任务
task = {
    "task_id": str(uuid.uuid4()),
    "task_type": "data_processing",
    "data": {"input": "test_data"},
    "callback_url": "http://your-api.com/callback",
    "max_retry_count": 3
}

channel.basic_publish(
    exchange='',
    routing_key='task_queue',
    body=json.dumps(task),
    properties=pika.BasicProperties(delivery_mode=2)
)
"""

QUEUES_OF_THE_EXAMPLES = (
    "my_custom_queue", "high_priority_queue", "low_priority_queue", "gpu_queue", "cpu_queue", "validation_queue",
    "new_queue", "callback_queue",
)  # fmt: skip

WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Place:
    """A directory with a `.env`, in which the examples are run as programs of their own."""

    def __init__(self, directory: Path, receiver: HttpReceiver, amqp_url: str, mysql_url: str) -> None:
        self.directory = directory
        self.receiver = receiver
        self.amqp_url = amqp_url
        self.mysql_url = mysql_url
        self.queue = new_queue_name()
        self._running: list[subprocess.Popen[str]] = []

    def write_env(self) -> None:
        (self.directory / ".env").write_text(self.fill(ENV_FILE), encoding="utf-8")

    def fill(self, example: str) -> str:
        """The example with the addresses of here."""
        for there, here in {
            "amqp://guest:guest@localhost:5672/": self.amqp_url,
            "mysql+pymysql://root:password@localhost:3306/task_db?charset=utf8mb4": self.mysql_url,
            "https://open.feishu.cn/open-apis/bot/v2/hook/xxx": f"{self.receiver.url}-feishu",
            "http://your-api.com/callback": self.receiver.url,
            "pika.ConnectionParameters('localhost')": f"pika.URLParameters({self.amqp_url!r})",
            "=task_queue": f"={self.queue}",
            "'task_queue'": repr(self.queue),
        }.items():
            example = example.replace(there, here)
        return example

    def run(self, example: str, **environment: str) -> str:
        """To its end; what it printed."""
        process = self.start(example, **environment)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output

    def start(self, example: str, **environment: str) -> subprocess.Popen[str]:
        ours = ("GRID_ASYNC_TASK_", "RABBITMQ_", "MYSQL_", "FEISHU_", "LOG_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        program = self.directory / f"program{len(self._running)}.py"
        program.write_text(self.fill(example), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-u", str(program)],
            cwd=self.directory,
            env={**inherited, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUTF8": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._running.append(process)
        return process

    def stop(self, worker: subprocess.Popen[str]) -> None:
        """As Kubernetes does it."""
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0, output

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def take_all(self, queue: str) -> list[dict[str, Any]]:
        taken = []
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            channel = connection.channel()
            while True:
                method, _, body = channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return taken
                taken.append(json.loads(body))

    def delete_queues(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            channel = connection.channel()
            for queue in (*QUEUES_OF_THE_EXAMPLES, self.queue):
                channel.queue_delete(queue)

    def tasks(self) -> list[Task]:
        client = TaskClient(settings=Settings(mysql_url=self.mysql_url))
        try:
            return client.list_tasks()
        finally:
            client.close()

    def callback(self) -> dict[str, Any]:
        """The body of the one callback."""
        (request,) = self.receiver.wait_for(1, timeout=60)
        assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
        body: dict[str, Any] = json.loads(request.body)
        return body


@pytest.fixture
def place(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Place]:
    with HttpReceiver() as receiver:
        place = Place(tmp_path, receiver, amqp_url, mysql_url)
        place.delete_queues()
        yield place
        place.end()
        place.delete_queues()


# -- the quick start ------------------------------------------------------------------------------------------


def test_the_quick_start(place: Place) -> None:
    place.write_env()
    place.run(PRODUCER)
    worker = place.start(WORKER)
    callback = place.callback()
    place.stop(worker)

    assert WIRE_TIME.fullmatch(callback.pop("timestamp"))
    assert callback == {
        "task_id": "unique_task_id",
        "status": "success",
        "result": {"status": "success", "result": {"input": "test_data"}},
        "callback_data": {},
    }
    (task,) = place.tasks()
    assert (task.status, task.task_type, task.max_retry_count, task.queue) == (
        "success", "data_processing", 3, place.queue,
    )  # fmt: skip
    assert (task.progress.percent, task.progress.message) == (100, "处理完成")


def test_the_configuration_may_come_from_the_environment(place: Place) -> None:
    exported = {
        "GRID_ASYNC_TASK_AMQP_URL": place.amqp_url,
        "GRID_ASYNC_TASK_QUEUE": place.queue,
        "GRID_ASYNC_TASK_MYSQL_URL": place.mysql_url,
    }
    place.run(PRODUCER, **exported)
    worker = place.start(WORKER_WITH_ALL_OPTIONS, **exported)
    assert place.callback()["status"] == "success"
    place.stop(worker)


def test_the_older_variables(place: Place) -> None:
    broker, database = make_url(place.amqp_url.replace("amqp:", "http:")), make_url(place.mysql_url)
    older = {
        "RABBITMQ_HOST": str(broker.host),
        "RABBITMQ_PORT": str(broker.port or 5672),
        "RABBITMQ_USERNAME": str(broker.username or "guest"),
        "RABBITMQ_PASSWORD": str(broker.password or "guest"),
        "RABBITMQ_QUEUE": place.queue,
        "MYSQL_HOST": str(database.host),
        "MYSQL_PORT": str(database.port or 3306),
        "MYSQL_DATABASE": str(database.database),
        "MYSQL_USERNAME": str(database.username),
        "MYSQL_PASSWORD": str(database.password),
        "LOG_LEVEL": "info",
        "LOG_DIR": "logs",
    }
    (place.directory / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in older.items()))
    place.run(PRODUCER)
    worker = place.start(WORKER)
    assert place.callback()["task_id"] == "unique_task_id"
    place.stop(worker)


def test_a_message_of_a_plain_client(place: Place) -> None:
    place.write_env()
    worker = place.start(WORKER)

    def published() -> bool:
        # without confirms the example can't know whether the queue is there, and the worker makes it
        place.run(PLAIN_PUBLISHER)
        return bool(place.receiver.requests)

    eventually(published)
    callback = json.loads(place.receiver.requests[0].body)
    place.stop(worker)
    assert callback["result"] == {"status": "success", "result": {"input": "test_data"}}
    assert callback["task_id"] in {task.id for task in place.tasks()}


# -- producers ------------------------------------------------------------------------------------------------

BEFORE = 'SENT = []\ntask_data = {"task_type": "any", "data": {"a": 1}}\n'
AFTER = "\nimport json\nprint(json.dumps(SENT))\n"


def test_queues_by_name(place: Place) -> None:
    place.write_env()
    sent = json.loads(place.run(BEFORE + DYNAMIC_QUEUES + AFTER).splitlines()[-1])
    for queue, task_id in zip(("my_custom_queue", "high_priority_queue", "gpu_queue"), sent, strict=True):
        assert place.take_all(queue) == [{"task_id": task_id, "task_type": "any", "data": {"a": 1}}]
    assert {task.id: task.queue for task in place.tasks()} == dict(
        zip(sent, ("my_custom_queue", "high_priority_queue", "gpu_queue"), strict=True)
    )


def test_batches(place: Place) -> None:
    place.write_env()
    said = place.run(BEFORE + "from grid_async_task import TaskProducer\nproducer = TaskProducer()\n" + BATCHES + AFTER)
    for queue, task_ids in zip(("validation_queue", place.queue), json.loads(said.splitlines()[-1]), strict=True):
        assert place.take_all(queue) == [
            {"task_id": task_id, "task_type": "validation", "data": {"file": f"file_{number}"}}
            for number, task_id in enumerate(task_ids)
        ]
    assert len(place.tasks()) == 20


def test_declared_queues(place: Place) -> None:
    place.write_env()
    said = place.run(BEFORE + "from grid_async_task import TaskProducer\nproducer = TaskProducer()\n" + DECLARED_QUEUES)
    assert said.splitlines()[-1] == "已声明的队列: {'new_queue'}"
    assert len(place.take_all("new_queue")) == 1


def test_a_queue_for_each_priority_and_kind_of_machine(place: Place) -> None:
    place.write_env()
    place.run("from grid_async_task import TaskProducer\nproducer = TaskProducer()\n" + PRIORITIES)
    assert {queue: [body["data"] for body in place.take_all(queue)] for queue in QUEUES_OF_THE_EXAMPLES[1:5]} == {
        "high_priority_queue": [{"priority": "high"}],
        "low_priority_queue": [{"priority": "low"}],
        "gpu_queue": [{"model": "cnn"}],
        "cpu_queue": [{"format": "csv"}],
    }


# -- formats --------------------------------------------------------------------------------------------------

HANDLER_OF_ERRORS = """
from grid_async_task import TaskHandler, TaskProcessor, ValidationError

class Failing(TaskHandler):
    def execute(self, task_data):
        if task_data["how"] == "invalid":
            raise ValidationError("错误描述")
        raise RuntimeError("错误描述")

TaskProcessor(handler=Failing(), idle_timeout=2).start()
"""


@pytest.mark.parametrize(
    ("how", "result"),
    [
        ("invalid", {"error": "错误描述", "error_type": "ValidationError"}),
        ("broken", {"error": "错误描述", "error_type": "RuntimeError"}),
    ],
)
def test_the_callback_of_an_error(place: Place, how: str, result: dict[str, str]) -> None:
    place.write_env()
    message = {"task_id": "t", "data": {"how": how}, "callback_url": place.receiver.url, "max_retry_count": 0}
    place.run(f"from grid_async_task import TaskProducer\nTaskProducer().send_task({message!r})")
    place.run(HANDLER_OF_ERRORS)
    requests = place.receiver.wait_for(2)
    (callback,) = [json.loads(request.body) for request in requests if not request.path.endswith("-feishu")]
    assert WIRE_TIME.fullmatch(callback.pop("timestamp"))
    assert callback == {"task_id": "t", "status": "failed", "result": result, "callback_data": {}}
    # people are told more than callers are
    (card,) = [request.body for request in requests if request.path.endswith("-feishu")]
    assert b"Traceback" in card


def test_a_callback_over_rabbitmq_goes_to_its_default_queue(place: Place) -> None:
    place.write_env()
    message = {"task_id": "t", "data": {"a": 1}, "callback_type": "rabbitmq"}
    place.run(f"from grid_async_task import TaskProducer\nTaskProducer().send_task({message!r})")
    place.run(HANDLER + "\nTaskProcessor(handler=MyTaskHandler(), idle_timeout=2).start()\n")
    (callback,) = place.take_all("callback_queue")
    assert WIRE_TIME.fullmatch(callback.pop("timestamp"))
    assert callback == {
        "task_id": "t",
        "status": "success",
        "result": {"status": "success", "result": {"a": 1}},
        "callback_data": {},
    }


HANDLER_WITH_PROGRESS = """
import time
from pathlib import Path
from grid_async_task import TaskHandler, TaskProcessor

class Slow(TaskHandler):
    def execute(self, task_data):
        self.report_progress(75, "处理中...")
        while not Path("finish").exists():
            time.sleep(0.02)
        return {"id": self.get_task_id()}

TaskProcessor(handler=Slow(), idle_timeout=1).start()
"""


def test_progress_while_a_task_runs(place: Place) -> None:
    place.write_env()
    place.run(PRODUCER)
    worker = place.start(HANDLER_WITH_PROGRESS)
    client = TaskClient(settings=Settings(mysql_url=place.mysql_url))

    def progress() -> dict[str, Any] | None:
        found = client.get_progress("unique_task_id")
        return found if found and found["progress"] else None

    reported = eventually(progress)
    client.close()
    (place.directory / "finish").touch()
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, output
    assert reported is not None
    assert WIRE_TIME.fullmatch(reported.pop("updated_at"))
    assert reported == {
        "task_id": "unique_task_id",
        "progress": 75,
        "progress_message": "处理中...",
        "status": "running",
    }
    assert place.callback()["result"] == {"id": "unique_task_id"}


# -- configuration errors -------------------------------------------------------------------------------------

CATCH = """
from grid_async_task import ConfigurationError
try:
    TaskProcessor(handler=MyTaskHandler())
except ConfigurationError as error:
    print(error)
"""


def test_the_text_of_a_configuration_error(place: Place) -> None:
    said = place.run(HANDLER + CATCH).splitlines()
    assert said[0] == "Grid异步任务插件配置错误：缺少必需的环境变量配置"
    assert said[1] == "缺少的配置项：amqp_url, rabbitmq_queue, mysql_url"
    for name in ("AMQP_URL", "QUEUE", "MYSQL_URL"):
        assert f"GRID_ASYNC_TASK_{name}" in "\n".join(said[2:])
    only_one = place.run(
        HANDLER + CATCH, GRID_ASYNC_TASK_AMQP_URL=place.amqp_url, GRID_ASYNC_TASK_MYSQL_URL=place.mysql_url
    )
    assert only_one.splitlines()[1] == "缺少的配置项：rabbitmq_queue"


# -- without servers ------------------------------------------------------------------------------------------


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Place]:
    """The same with a file in place of both servers."""
    url = f"sqlite:///{tmp_path}/tasks.db"
    with HttpReceiver() as receiver:
        place = Place(tmp_path, receiver, url, url)
        yield place
        place.end()


def test_the_quick_start_without_servers(embedded: Place) -> None:
    embedded.write_env()
    embedded.run(PRODUCER)
    worker = embedded.start(WORKER)
    callback = embedded.callback()
    embedded.stop(worker)
    assert callback["result"] == {"status": "success", "result": {"input": "test_data"}}
    (task,) = embedded.tasks()
    assert (task.id, task.status, task.max_retry_count) == ("unique_task_id", "success", 3)


def test_the_producers_examples_without_servers(embedded: Place) -> None:
    embedded.write_env()
    embedded.run(BEFORE + DYNAMIC_QUEUES + BATCHES + DECLARED_QUEUES + PRIORITIES)
    queues = [task.queue for task in embedded.tasks()]
    assert {queue: queues.count(queue) for queue in sorted(set(queues))} == {
        "cpu_queue": 1,
        "gpu_queue": 2,
        "high_priority_queue": 2,
        "low_priority_queue": 1,
        "my_custom_queue": 1,
        "new_queue": 1,
        embedded.queue: 10,
        "validation_queue": 10,
    }


def test_the_quick_start_within_one_process(embedded: Place) -> None:
    memory = {
        "GRID_ASYNC_TASK_AMQP_URL": "memory://",
        "GRID_ASYNC_TASK_QUEUE": "q",
        "GRID_ASYNC_TASK_MYSQL_URL": "memory://",
        "GRID_ASYNC_TASK_IDLE_TIMEOUT": "0.5",
    }
    ask = "\nfrom grid_async_task import TaskClient\nprint(TaskClient().get_task('unique_task_id').status.value)\n"
    said = embedded.run(PRODUCER + WORKER + ask, **memory)
    assert said.splitlines()[-1] == "success"
    assert embedded.callback()["task_id"] == "unique_task_id"
