"""The verbs of the store contract, written once over `Tables`: engines find rows, the rules decide.

`work` is one transaction and its bookkeeping; `ends` is what the end of a task means for others; the other files are
one verb each. `store` is the engine-independent half of a `Store`.
"""
