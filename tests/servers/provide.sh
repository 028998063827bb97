#!/bin/sh
# Sees that the tests find a RabbitMQ and a MariaDB (or MySQL): by URL, as an installed program, or by apt; also npm and
# promtool.
set -eu

missing=""
if [ -z "${GRID_TEST_AMQP_URL:-}" ] && ! command -v rabbitmq-server >/dev/null 2>&1 &&
    [ ! -x /usr/sbin/rabbitmq-server ]; then
    missing="$missing rabbitmq-server"
fi
if [ -z "${GRID_TEST_MYSQL_URL:-}" ] && ! command -v mariadbd >/dev/null 2>&1 &&
    [ ! -x /usr/sbin/mariadbd ] && ! command -v mysqld >/dev/null 2>&1; then
    missing="$missing mariadb-server"
fi
# the Node.js publisher of the examples
command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm"
# promtool, for the alert rules
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
[ -z "$missing" ] && exit 0

if command -v apt-get >/dev/null 2>&1; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    echo "installing$missing for the tests"
    # the packages would start the servers; the tests start their own
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    exit 0
fi

if command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
    docker compose -f tests/servers/compose.yaml up --detach --wait
    mkdir -p .servers
    # read by make test
    {
        echo "GRID_TEST_AMQP_URL=${GRID_TEST_AMQP_URL:-amqp://guest:guest@127.0.0.1:5672/}"
        echo "GRID_TEST_MYSQL_URL=${GRID_TEST_MYSQL_URL:-mysql+pymysql://root:password@127.0.0.1:3306/}"
    } >.servers/urls
    exit 0
fi

echo "The tests need$missing. Install them, for example:" >&2
echo "    brew install rabbitmq mariadb prometheus" >&2
echo "or name running ones with GRID_TEST_AMQP_URL and GRID_TEST_MYSQL_URL." >&2
exit 1
