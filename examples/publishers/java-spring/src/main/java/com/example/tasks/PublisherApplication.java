package com.example.tasks;

import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.support.converter.Jackson2JsonMessageConverter;
import org.springframework.amqp.support.converter.MessageConverter;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;

/** Sends one task to a grid_async_task worker, and ends. */
@SpringBootApplication
public class PublisherApplication {

    public static void main(String[] args) {
        SpringApplication.run(PublisherApplication.class, args).close();
    }

    /**
     * Without this bean Spring sends a serialised Java object, which no other language can read: the
     * worker puts such a message on the dead letter queue. Under Spring Boot 4 the class is
     * JacksonJsonMessageConverter.
     */
    @Bean
    MessageConverter jsonMessageConverter() {
        return new Jackson2JsonMessageConverter();
    }

    @Bean
    CommandLineRunner publish(RabbitTemplate template, @Value("${tasks.queue}") String queue) {
        return args -> System.out.println(new TaskPublisher(template, queue).send(Task.greeting("Java")));
    }
}
