package com.example.tasks;

import java.util.concurrent.TimeUnit;

import org.springframework.amqp.AmqpException;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitTemplate;

/** Returns only once the broker has the message safe. */
class TaskPublisher {

    private final RabbitTemplate template;
    private final String queue;

    TaskPublisher(RabbitTemplate template, String queue) {
        this.template = template;
        this.queue = queue;
    }

    String send(Task task) throws Exception {
        CorrelationData sent = new CorrelationData(task.taskId());
        // the default exchange: the routing key is the queue's name; Spring's messages are persistent
        template.convertAndSend("", queue, task, sent);
        CorrelationData.Confirm confirm = sent.getFuture().get(30, TimeUnit.SECONDS);
        if (!confirm.isAck()) {
            throw new AmqpException("the broker refused the message: " + confirm.getReason());
        }
        if (sent.getReturned() != null) {
            throw new AmqpException("queue " + queue + " does not exist: start a worker, or run grid-async-task migrate");
        }
        return task.taskId();
    }
}
