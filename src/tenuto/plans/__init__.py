"""Goals as people write them: built in Python with `goal`, or read from a plan in JSON with `read_plan`.

Both give a `GoalBuilder`. Nothing here talks to a store.
"""

from tenuto.plans.builder import GoalBuilder, Node, goal, tree_of
from tenuto.plans.document import LARGEST_PLAN, read_plan

__all__ = ["LARGEST_PLAN", "GoalBuilder", "Node", "goal", "read_plan", "tree_of"]
