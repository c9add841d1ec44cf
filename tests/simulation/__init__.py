"""One seed is one world: many workers on a broker and a Redis that fail, in virtual time, and what they learn is exact.

    python -m tests.simulation --seeds 1..500     run worlds; a failure prints its seed, its command and its last lines
    python -m tests.simulation --seed 17 --trace  run one, and print all that happens in it

The project's own code runs: worker, consumer, partitions, checkpoints, publisher, shards, Lua scripts. Replaced is only
what lies outside: the clock (`clock`), aiokafka's client (`client`), the brokers behind it (`kafka`), and the wire to a
Redis in memory (`wire`). `plan` draws a world from its seed, `telemetry` its log, `faults` brings on what the plan
says, `oracle` knows what must come out, `checks` compares, and `world` puts all of it together.
"""
