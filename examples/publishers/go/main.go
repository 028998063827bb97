// Send a task to a grid_async_task worker.
//
//	AMQP_URL=amqp://guest:guest@localhost:5672/ QUEUE=task_queue go run .
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Task is the message. The zero values of strings and maps ("" and null) mean "absent" to the worker.
// MaxRetryCount is a pointer, since 0 is no zero value to the worker: it means "no retries",
// while absent means "as the worker is configured".
type Task struct {
	TaskID        string         `json:"task_id"`
	TaskType      string         `json:"task_type"`
	Data          map[string]any `json:"data"`
	MaxRetryCount *int           `json:"max_retry_count"`
	CallbackURL   string         `json:"callback_url"`
	CallbackType  string         `json:"callback_type"`
	CallbackData  map[string]any `json:"callback_data"`
}

func main() {
	task := Task{TaskID: newID(), Data: map[string]any{"name": "Go"}}
	if err := publish(env("AMQP_URL", "amqp://guest:guest@localhost:5672/"), env("QUEUE", "task_queue"), task); err != nil {
		log.Fatal(err)
	}
	fmt.Println(task.TaskID)
}

func publish(url, queue string, task Task) error {
	body, err := json.Marshal(task)
	if err != nil {
		return err
	}
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	// The default exchange: the routing key is the queue's name. Mandatory, since without it a
	// message to a missing queue is lost in silence.
	confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, amqp.Publishing{
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		Body:         body,
	})
	if err != nil {
		return err
	}
	accepted, err := confirm.WaitContext(ctx)
	if err != nil {
		return fmt.Errorf("no confirm from the broker, send again with the same id: %w", err)
	}
	if !accepted {
		return fmt.Errorf("the broker refused the message")
	}
	select {
	case <-returned: // comes before the confirm
		return fmt.Errorf("queue %s does not exist: start a worker, or run `grid-async-task migrate`", queue)
	default:
		return nil
	}
}

func newID() string {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintf("%x", id)
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
