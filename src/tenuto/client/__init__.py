"""The task verbs in Python: submit, read, wait, direct, answer, follow, schedule. Knows stores and tasks, no agent.

    async with Client("sqlite:///.tenuto/tenuto.db") as client:
        task_id = await client.enqueue_task("summarizer", summarizer.create_task(payload={"path": "a.txt"}))
        print(await client.get_task_result(task_id, timeout=60))

Every verb is a coroutine, and one client serves any number of event loops and threads. The store is opened by the
first verb that needs it. What goes wrong is raised as one of `tenuto.errors`.
"""

from __future__ import annotations

from tenuto.client.answering import Answering
from tenuto.client.asking import Asking
from tenuto.client.batches import Batches, BatchProgress
from tenuto.client.connection import Connection
from tenuto.client.conversing import Conversing
from tenuto.client.operating import Operating
from tenuto.client.reading import Reading
from tenuto.client.spending import Spending
from tenuto.client.submitting import Submitting
from tenuto.client.views import Page, TaskView

__all__ = ["BatchProgress", "Client", "Page", "TaskView"]


class Client(Conversing, Asking, Submitting, Reading, Batches, Answering, Spending, Operating, Connection):
    """All task verbs over one store.

    store: a URL such as `sqlite:///path` or `memory://`, or a `Store` that you opened and will close yourself.
    """
