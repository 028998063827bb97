<?php

// Send a task to a grid_async_task worker.
//
// AMQP_HOST=localhost QUEUE=task_queue php publish.php

declare(strict_types=1);

require __DIR__ . '/vendor/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;

$queue = getenv('QUEUE') ?: 'task_queue';
$task = [
    'task_id' => bin2hex(random_bytes(16)),
    'task_type' => 'greeting',
    'data' => ['name' => 'PHP'],
    'callback_data' => [], // json_encode makes [] of it; the worker takes an empty array for {}
];

$connection = new AMQPStreamConnection(
    getenv('AMQP_HOST') ?: 'localhost',
    (int) (getenv('AMQP_PORT') ?: 5672),
    getenv('AMQP_USER') ?: 'guest',
    getenv('AMQP_PASSWORD') ?: 'guest',
    getenv('AMQP_VHOST') ?: '/'
);
$channel = $connection->channel();
$channel->confirm_select();
$problem = null;
$channel->set_return_listener(function () use (&$problem, $queue): void {
    $problem = "queue $queue does not exist: start a worker, or run `grid-async-task migrate`";
});
$channel->set_nack_handler(function () use (&$problem): void {
    $problem = 'the broker refused the message';
});

$message = new AMQPMessage(json_encode($task, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE), [
    'content_type' => 'application/json',
    'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
]);
// The default exchange: the routing key is the queue's name. Mandatory (the fourth argument), since
// without it a message to a missing queue is lost in silence.
$channel->basic_publish($message, '', $queue, true);
$channel->wait_for_pending_acks_returns(30.0); // the broker has it safe, or has returned it before

$channel->close();
$connection->close();

if ($problem !== null) {
    fwrite(STDERR, $problem . PHP_EOL);
    exit(1);
}
echo $task['task_id'], PHP_EOL;
