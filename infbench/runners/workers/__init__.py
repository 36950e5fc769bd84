"""The worker processes of `ProcessRunner`: how they start, what they are told, and where rows and answers lie.

`crew` is the caller's side of them, `worker` the other one. What is here knows no runner.
"""
