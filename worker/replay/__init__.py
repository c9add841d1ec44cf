"""Replay: the fold over any stretch of the log, from Kafka or from files, beside the live worker.

| module | what it is |
|---|---|
| `bounds` | what "from" and "to" mean |
| `files` | archives as logs |
| `plan` | which offsets of which partition are read, and from where |
| `span` | one stretch folded into a lineage of its own, with checkpoints |
| `verdict` | one partition folded again and compared with its checkpoint |
| `takeover` | a lineage catches up with the live one and takes its place |
| `parallel` | partition by partition, in processes |
"""
