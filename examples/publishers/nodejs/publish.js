// Send a task to a grid_async_task worker.
//
// AMQP_URL=amqp://guest:guest@localhost:5672/ QUEUE=task_queue node publish.js
'use strict';

const { randomUUID } = require('node:crypto');
const amqp = require('amqplib');

const url = process.env.AMQP_URL || 'amqp://guest:guest@localhost:5672/';
const queue = process.env.QUEUE || 'task_queue';

async function main() {
  const task = { task_id: randomUUID(), task_type: 'greeting', data: { name: 'Node.js' } };
  const connection = await amqp.connect(url);
  try {
    const channel = await connection.createConfirmChannel();
    let returned = false;
    channel.on('return', () => { returned = true; });
    // the default exchange: the routing key is the queue's name
    channel.sendToQueue(queue, Buffer.from(JSON.stringify(task)), {
      contentType: 'application/json',
      persistent: true,
      mandatory: true, // without it a message to a missing queue is lost in silence
    });
    await channel.waitForConfirms(); // the broker has it safe, or has returned it before
    if (returned) {
      throw new Error(`queue ${queue} does not exist: start a worker, or run \`grid-async-task migrate\``);
    }
  } finally {
    await connection.close();
  }
  console.log(task.task_id);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
