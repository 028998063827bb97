"""What every `TaskRepository` must do, as tests: derive a test class, and say how to make a repository and time pass.

    class TestMyRepository(TaskRepositoryContract):
        @pytest.fixture
        def repository(self):
            repository = MyRepository(...)
            repository.prepare()
            yield repository
            repository.close()

        def let_time_pass(self, seconds): ...

pytest makes a new instance of the class for every test, so a fixture may leave on `self` what `let_time_pass` needs.
What a row has to look like is never written down here: it is what the pure methods of `Task` say.
"""

from grid_async_task.testing.contracts.task_repository.callbacks import Callbacks
from grid_async_task.testing.contracts.task_repository.claims import Claims
from grid_async_task.testing.contracts.task_repository.new_tasks import NewTasks
from grid_async_task.testing.contracts.task_repository.orders import Orders
from grid_async_task.testing.contracts.task_repository.outcomes import Outcomes
from grid_async_task.testing.contracts.task_repository.questions import Questions
from grid_async_task.testing.contracts.task_repository.sweeps import Sweeps


class TaskRepositoryContract(NewTasks, Claims, Outcomes, Orders, Callbacks, Sweeps, Questions):
    """Derive from this, override `repository` and `let_time_pass`."""
