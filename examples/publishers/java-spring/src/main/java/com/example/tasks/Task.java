package com.example.tasks;

import java.util.Map;
import java.util.UUID;

import com.fasterxml.jackson.annotation.JsonProperty;

/** The message. What is null is absent to the worker. */
record Task(
        @JsonProperty("task_id") String taskId,
        @JsonProperty("task_type") String taskType,
        @JsonProperty("data") Map<String, Object> data,
        @JsonProperty("max_retry_count") Integer maxRetryCount,
        @JsonProperty("callback_url") String callbackUrl,
        @JsonProperty("callback_data") Map<String, Object> callbackData) {

    static Task greeting(String name) {
        return new Task(UUID.randomUUID().toString(), "greeting", Map.of("name", name), null, null, null);
    }
}
