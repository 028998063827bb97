# The worker's image. A team's own image begins with `FROM` this one, copies its handlers to /app and
# names one: ENV GRID_ASYNC_TASK_HANDLER=my_handlers:ReportHandler
FROM python:3.12-slim AS build

WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# First what seldom changes. Above the line "# tests" stands what runs.
COPY requirements.txt ./
RUN sed '/^# tests/,$d' requirements.txt > runtime.txt \
    && pip install --no-cache-dir -r runtime.txt

COPY pyproject.toml README.md LICENSE ./
COPY alembic ./alembic
COPY grid_async_task ./grid_async_task
# This very folder; pyproject.toml has bounds for what the extras need.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[metrics,otel,recurring]"


FROM python:3.12-slim

# By number, so that Kubernetes can check runAsNonRoot.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin worker \
    && install --directory --owner=worker /app
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1

# Importable by the worker: where handlers go. Log files go to /app/logs unless LOG_DIR says otherwise.
WORKDIR /app
USER 10001

# In the exec form: the worker is process 1 and gets SIGTERM itself.
CMD ["python", "-m", "grid_async_task.cli"]
